"""The rules that make changes of one server at a time safe: whether the leader may append a configuration now, and who
may become its heir.

Source: thesis 4.1 and 4.2, with the correction in Ongaro's message of 2015, "bug in single-server membership changes".
There, two leaders in turn each append a change to the same old configuration, and neither commits its change before the
other is elected. The two new configurations differ by two voters, so their majorities need not overlap, and both can
commit. Once a leader has committed an entry of its own term, no earlier change can commit any more.
"""

from __future__ import annotations

from consensus.configuration import Configuration
from consensus.limits import Limits
from consensus.log import Log
from consensus.refusal import Reason


def reason_against(changed: Configuration, log: Log, commit: int, term: int, limits: Limits) -> Reason | None:
    """Returns why a leader must not append ``changed``; None if it may."""
    if changed == log.configuration:
        return Reason.UNCHANGED
    if not changed.voters:
        return Reason.LAST_VOTER
    if not changed.is_sound:
        return Reason.UNNAMED
    if len(changed.voters) > max(limits.voters_max, len(log.configuration.voters)):
        return Reason.TOO_MANY_VOTERS
    if log.configuration_index > commit:
        return Reason.CHANGE_PENDING
    if log.term_at(commit) != term:
        return Reason.NOT_READY
    return None


def reason_against_heir(to: str, leader: str, configuration: Configuration) -> Reason | None:
    """Returns why leadership can't be handed to a server; None if it can (3.10)."""
    if to == leader:
        return Reason.ALREADY_LEADER
    if to not in configuration.members:
        return Reason.UNKNOWN_SERVER
    return None if to in configuration.voters else Reason.NOT_VOTER
