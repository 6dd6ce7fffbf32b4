"""Voters, learners, and how the configuration changes: one server at a time.

Purpose: the set of servers is itself an entry of the log, and a server uses the newest configuration in its
log from the moment it is appended, committed or not (Ongaro, "Consensus: Bridging Theory and Practice",
section 4.1). If the entry is truncated, the configuration before it is in force again.

Intuition: between two configurations that differ by one voter, every majority of one shares a server with
every majority of the other, so no two leaders can be elected side by side and no joint phase is needed::

    3 voters, majority 2        4 voters, majority 3        2 + 3 > 4: they overlap

The correction of 2015 applies (Ongaro, raft-dev, "bug in single-server membership changes"): a leader must have
committed an entry of its own term before it appends a configuration. The state machine (raft.py) enforces that, and
one change at a time; this file only computes the neighbours of a configuration.

Left out: joint consensus (section 4.3). The cost is that replacing k voters takes 2k changes.

>>> three = Configuration.of(voters=["c", "a", "b"])
>>> three.with_server("d", voter=False)
Configuration(voters=('a', 'b', 'c'), learners=('d',))
>>> three.with_server("d", voter=False).with_server("d", voter=True).voters
('a', 'b', 'c', 'd')
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from consensus.struct import Struct

SERVERS_MAX: Final = 4096


class Configuration(Struct):
    """Voters and learners, both sorted; a learner receives the log but neither counts in a quorum nor campaigns."""

    voters: tuple[str, ...] = ()
    learners: tuple[str, ...] = ()

    @classmethod
    def of(cls, voters: Iterable[str], learners: Iterable[str] = ()) -> Configuration:
        """Sorts and removes duplicates: equal sets give equal bytes."""
        return cls(tuple(sorted(set(voters))), tuple(sorted(set(learners))))

    @property
    def members(self) -> tuple[str, ...]:
        """Every server that the leader replicates to, in order of name."""
        return tuple(sorted(self.voters + self.learners))

    @property
    def is_empty(self) -> bool:
        """A server with an empty configuration is passive until a leader's snapshot brings it one."""
        return not self.voters

    @property
    def is_sound(self) -> bool:
        """Whether a configuration from outside may enter the log: sorted, disjoint, with a voter."""
        everyone = self.members
        return (
            bool(self.voters)
            and len(everyone) <= SERVERS_MAX
            and len(set(everyone)) == len(everyone)
            and "" not in everyone
            and self == Configuration.of(self.voters, self.learners)
        )

    def with_server(self, name: str, voter: bool) -> Configuration:
        """Adds a server, promotes a learner or demotes a voter: at most one voter differs."""
        rest = self.without(name)
        if voter:
            return Configuration.of((*rest.voters, name), rest.learners)
        return Configuration.of(rest.voters, (*rest.learners, name))

    def without(self, name: str) -> Configuration:
        """Removes a server, voter or learner."""
        return Configuration.of(
            (voter for voter in self.voters if voter != name),
            (learner for learner in self.learners if learner != name),
        )


NOBODY = Configuration()
