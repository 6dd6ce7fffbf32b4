"""The arithmetic of majorities.

Invariant: any two majorities of one set of voters share a voter. All of Raft's safety rests on it.

>>> agreed([9, 3, 7])
7
>>> tally(("a", "b", "c"), {"a": True, "b": True})
<Outcome.WON: 'won'>
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum


class Outcome(StrEnum):
    """The result of an election so far."""

    WON = "won"
    LOST = "lost"
    OPEN = "open"


def majority(size: int) -> int:
    """Returns the smallest number of voters such that any two groups of that size overlap."""
    return size // 2 + 1


def agreed(values: Collection[int]) -> int:
    """Returns the largest value that a majority has reached: a commit index, or when a majority was last heard."""
    assert values, "a majority of nobody"
    return sorted(values, reverse=True)[majority(len(values)) - 1]


def tally(voters: Collection[str], votes: Mapping[str, bool]) -> Outcome:
    """Counts the votes of voters only; an election is lost once the remaining voters can't win it."""
    needed = majority(len(voters))
    granted = sum(votes.get(voter) is True for voter in voters)
    refused = sum(votes.get(voter) is False for voter in voters)
    if granted >= needed:
        return Outcome.WON
    return Outcome.LOST if len(voters) - refused < needed else Outcome.OPEN
