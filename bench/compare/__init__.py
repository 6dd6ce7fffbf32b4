"""Shoal beside its rivals: the same algorithms on the same graphs, in one run on one machine.

    python -m bench.compare --graph rmat-18 --algorithm pagerank

Ours are real daemons, encrypted, with R = 2 copies on disk, as a user has them. `seconds` of a run is from the moment
at which it is asked for to that at which its result is on the disks of all holders; a rival's is until its result is in
its own memory (`bench.rivals` has the rules). Loading is from the Parquet file to ready, for both.
"""
