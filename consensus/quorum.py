"""The arithmetic of majorities, and nothing else.

Invariant: any two majorities of one set of voters share a voter. Everything in Raft that is safe is safe
because of it.

>>> agreed([9, 3, 7])
7
>>> tally(("a", "b", "c"), {"a": True, "b": True})
<Outcome.WON: 'won'>
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum


class Outcome(StrEnum):
    """How an election stands."""

    WON = "won"
    LOST = "lost"
    OPEN = "open"


def majority(size: int) -> int:
    """The smallest number of voters of which any two groups overlap."""
    return size // 2 + 1


def agreed(values: Collection[int]) -> int:
    """The largest value that a majority has reached: a commit index, or the time when a majority was last heard."""
    assert values, "a majority of nobody"
    return sorted(values, reverse=True)[majority(len(values)) - 1]


def tally(voters: Collection[str], votes: Mapping[str, bool]) -> Outcome:
    """Count the votes of voters only; an election is lost when those left can't win it any more."""
    needed = majority(len(voters))
    granted = sum(votes.get(voter) is True for voter in voters)
    refused = sum(votes.get(voter) is False for voter in voters)
    if granted >= needed:
        return Outcome.WON
    return Outcome.LOST if len(voters) - refused < needed else Outcome.OPEN
