"""How each kind of thing that a program declares crosses shards, and how it is kept.

The engine puts a share together from *carriers*, in the order in which a program declares them; each packs its frames
for every peer, checks those that came, takes them in, and turns what it must not lose into bytes and back. Columns with
ghosts and aggregates, which every tick has, are the engine's own.
"""
