"""Graphs: reading, numbering, cutting into partitions, storing, and the parts that shards hold.

sources/ --> table --> assembly --> graph_data      a whole graph, in canonical order
ring, partitions, partition_checks                  placement of partitions, and their stored form
shard_graph, building                               one shard's part, as programs see it
ids, columns, arrow                                 the building blocks of these
"""
