"""Import the packages before pytest collects their doctests, and let tests interrupt what they start.

With ``--import-mode=importlib`` a module that is collected before anything has imported its package is loaded once by
pytest and once more by whoever imports it: two classes of one name, and `isinstance` says no.

A process that is started in the background by a shell ignores SIGINT, one started by nohup SIGHUP, and so does whatever
they start: a daemon or demo under test would not hear those signals. Both get their defaults back.
"""

import signal

import chaos
import consensus
import crdt
import daemon
import shoal

__all__ = ["chaos", "consensus", "crdt", "daemon", "shoal"]

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
