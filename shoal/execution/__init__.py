"""Programs and what executes them: the same code in `shoal.local`, in a daemon and in the simulator.

declarations, params, program      what an author writes
workspace, gathers                 what the program of one shard works on
engine, exchange/                  a phase of it, and what crosses shards
installed, deployed                where programs come from
"""
