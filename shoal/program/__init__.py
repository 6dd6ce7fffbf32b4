"""What the author of a program writes against.

program, declarations, params      what a program declares, and what it does in each phase
workspace, gathers, ragged         what the program of one shard works on
randomness, kept_values            numbers and values that do not depend on where a node lives
installed, deployed                where programs come from
failures, naming                   errors and node names as an author or operator reads them
"""
