"""Bulk data between shards on the tick plane, as pure state machines: pieces of graphs, and states at checkpoints."""
