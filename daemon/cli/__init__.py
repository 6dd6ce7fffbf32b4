"""shoalctl: the command line of operators. See `daemon.cli.session` for its manners; one file a family of commands."""

from daemon.cli.main import main

__all__ = ["main"]
