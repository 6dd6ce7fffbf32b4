"""Reads runs: columns, tables and searches at a tick, in stretches, and the digests that identify them."""
