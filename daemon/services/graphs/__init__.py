"""Graphs: loads, repairs, and the parts that this shard holds."""
