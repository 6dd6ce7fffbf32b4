"""Reading runs: columns, tables and searches at a tick, a stretch after the other, and the digests that pin them."""
