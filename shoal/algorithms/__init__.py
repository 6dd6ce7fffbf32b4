"""The programs that come with Shoal, one a file; found like anyone's through the entry point group `shoal.programs`."""
