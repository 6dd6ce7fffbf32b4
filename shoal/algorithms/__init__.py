"""The programs that come with Shoal, one per file; found through the entry point group `shoal.programs`."""
