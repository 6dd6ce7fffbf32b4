"""Runs a program's phases on one shard, and packs and unpacks the data that crosses shards.

A workspace holds what a program's methods read and write. `shoal.local`, the daemon and the simulator use the same
engine.
"""
