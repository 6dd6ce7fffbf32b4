"""The admin socket: requests in two formats (JSON lines, plain words), one list of commands, and their handlers."""
