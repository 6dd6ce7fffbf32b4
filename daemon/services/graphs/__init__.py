"""Graphs: loads, repairs, and this shard's parts."""
