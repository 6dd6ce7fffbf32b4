"""Loops over edges, in C (`shoal/native`): reductions a row, searches to their end within a shard, cores, triangles."""
