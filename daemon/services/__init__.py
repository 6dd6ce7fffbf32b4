"""What a daemon does with its graphs, runs and results, one folder a feature."""
