"""shoalctl: the command line of operators. See `daemon.cli.session` for its manners; one file a family of commands."""

import signal
import threading

# Half of what a short command takes is this import. Ctrl-C ends it in the middle, without a traceback.
if _here := threading.current_thread() is threading.main_thread():
    _before = signal.signal(signal.SIGINT, signal.SIG_DFL)

from daemon.cli.main import main

if _here:
    signal.signal(signal.SIGINT, _before)

__all__ = ["main"]
