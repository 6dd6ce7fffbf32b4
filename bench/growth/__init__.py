"""How cost grows with shards and edges: measured with real daemons, and modelled for many more shards.

python -m bench.growth --out docs/growth        # measures, writes figures.json and the plots
"""
