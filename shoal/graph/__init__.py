"""Graphs: reading, numbering, cutting into partitions, storing, and the parts that shards hold.

sources/ --> table --> assembly --> graph_data      a whole graph, in canonical order ring, partitions, partition_checks
who holds which partition, and what is kept of it shard_graph, building                               one shard's piece,
as programs see it ids, columns, arrow                                 what all of these are made of
"""
