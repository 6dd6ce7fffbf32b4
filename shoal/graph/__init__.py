"""The graph: read, numbered, cut into partitions, kept as slices, and held as parts.

sources/ --> table --> assembly --> graph_data      a whole graph, in canonical order
ring, slices, slice_checks                          who holds which partition, and what is kept of it
part, building                                      one shard's piece, as programs see it
ids, columns, arrow, grouping                       what all of these are made of
"""
