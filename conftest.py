"""Import the four packages before pytest collects their doctests.

With ``--import-mode=importlib`` a module that is collected before anything has imported its package is loaded once by
pytest and once more by whoever imports it: two classes of one name, and `isinstance` says no.
"""

import consensus
import crdt
import daemon
import shoal

__all__ = ["consensus", "crdt", "daemon", "shoal"]
