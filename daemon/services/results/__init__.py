"""Results: read at a tick, put together from all shards."""
