"""Runs a program's phases on one shard, and turns what crosses shards into buffers and back.

The same engine serves `shoal.local`, the daemon and the simulator.
"""
