"""The contract of commands, and what else the library and the daemon agree on: errors, texts and ranges of numbers."""
