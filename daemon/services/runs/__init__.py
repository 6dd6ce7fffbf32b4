"""Runs: begun, checkpointed and ended."""
