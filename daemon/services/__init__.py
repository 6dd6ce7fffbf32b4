"""A daemon's features for graphs, runs and results, one folder each."""
