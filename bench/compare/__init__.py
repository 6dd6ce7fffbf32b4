"""Shoal beside its rivals: the same algorithms on the same graphs, in one run on one machine.

    python -m bench.compare --graph rmat-18 --algorithm pagerank

Shoal runs as real daemons, encrypted, with R = 2 copies on disk, as for users. `seconds` of a run is the time from the
request until its result is on the disks of all holders; for a rival, until the result is in its memory (`bench.rivals`
has the rules). Loading is the time from the Parquet file to ready, for both.
"""
