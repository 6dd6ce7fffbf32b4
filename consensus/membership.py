"""Whether a change of the configuration may be appended now: the rules that make one server at a time safe. And who
may be handed the lead.

Source: thesis 4.1 and 4.2; the correction is Ongaro's message "bug in single-server membership changes" of
2015. Its story: two leaders in turn append each a change, to the same old configuration, and neither commits
it before the other is elected. The two new configurations differ by two voters, so their majorities need not
overlap, and both can commit. With an entry of its own term committed first, a leader knows that no earlier
change can still come alive.
"""

from __future__ import annotations

from consensus.configuration import Configuration
from consensus.limits import Limits
from consensus.log import Log
from consensus.refusal import Reason


def reason_against(changed: Configuration, log: Log, commit: int, term: int, limits: Limits) -> Reason | None:
    """Why a leader must not append ``changed``; None if it may."""
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
    """Why leadership can't be handed to a server; None if it can (3.10)."""
    if to == leader:
        return Reason.ALREADY_LEADER
    if to not in configuration.members:
        return Reason.UNKNOWN_SERVER
    return None if to in configuration.voters else Reason.NOT_VOTER
