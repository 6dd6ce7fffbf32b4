"""Runs a program's phases on one shard, and turns what crosses shards into buffers and back.

A workspace is what a program reads and writes in its methods. The same engine serves `shoal.local`, the daemon and the
simulator.
"""
