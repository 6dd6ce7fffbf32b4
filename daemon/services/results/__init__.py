"""Results: read at a tick, collected from all shards."""
