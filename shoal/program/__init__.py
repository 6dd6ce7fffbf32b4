"""The interface between a program and Shoal.

program, declarations, params      the declarations of a program and its methods for each phase
phase, ragged                      the phases of a tick; a list of values per node
randomness, kept_values            random numbers and saved values that do not depend on the placement
installed, deployed                sources of programs
failures, naming                   errors and node names as an author or operator reads them
"""
