"""How each kind of data that a program declares crosses shards, and how it is kept.

The engine builds a share from *carriers*, in the order in which a program declares them. Each carrier packs its frames
for every peer, checks and settles the ones that arrive, and converts what must not be lost to bytes and back. The
engine itself handles columns with ghosts and aggregates, which every tick has.
"""
