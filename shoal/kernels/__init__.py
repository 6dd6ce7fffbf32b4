"""Loops over edges, in C (`shoal/native`): reductions by row, searches within a shard, core numbers, triangles."""
