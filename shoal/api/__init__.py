"""What the library and the daemon agree on: errors, text that can be encoded, and ranges of numbers."""
