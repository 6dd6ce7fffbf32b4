"""How cost grows: with the shards and with the edges, on real daemons; and with many more shards in a model.

python -m bench.growth --out docs/growth        # measures, writes figures.json and the plots
"""
