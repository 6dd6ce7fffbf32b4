"""The admin socket: requests in two dresses (JSON lines, plain words), one list of commands, and who answers them."""
