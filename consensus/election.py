"""Elections: counts one ballot, compares logs, and draws the timeouts.

Source: thesis 3.4 (randomized timeouts), 3.6.1 (the restriction), 9.6 (pre-vote). ::

    follower --timeout--> pre-candidate --majority--> candidate --majority--> leader
       ^                       |  would you?              |  vote for me          |
       +-----------------------+--------- a leader, a higher term, no quorum -----+

A pre-candidate has changed no term, neither its own nor another server's, so a server that was cut off comes
back without deposing the leader. Only a server that a majority would vote for raises its term.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from random import Random

from consensus.configuration import Configuration
from consensus.log import Log
from consensus.quorum import Outcome, tally


class Role(StrEnum):
    """A server's role in its term."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre-candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(slots=True)
class Ballot:
    """The answers to one round of vote requests for ``term``."""

    term: int
    votes: dict[str, bool] = field(default_factory=dict)

    def record(self, voter: str, granted: bool) -> None:
        """Records a voter's first answer; repeated messages change nothing."""
        self.votes.setdefault(voter, granted)

    def outcome(self, configuration: Configuration) -> Outcome:
        """Returns the result so far among the voters of the configuration in force."""
        return tally(configuration.voters, self.votes)


def is_up_to_date(log: Log, last_term: int, last_index: int) -> bool:
    """Thesis 3.6.1: the later last term wins, and with the same last term the longer log."""
    return (last_term, last_index) >= (log.last_term, log.last_index)


def may_campaign(name: str, log: Log, commit: int) -> bool:
    """Whether a server is a voter, or was one until a change that it does not know to be committed.

    Thesis 4.2.2: a server that is no longer part of its own newest configuration must still start elections, "as it
    might still be needed until the Cnew entry is committed": it may be the only one that holds the entry.
    """
    return any(name in configuration.voters for configuration in log.configurations_from(commit))


def election_deadline(random: Random, now: int, timeout_ns: int) -> int:
    """Returns a time between one and two timeouts from now, so that split votes are rare and short (3.4)."""
    return now + timeout_ns + random.randrange(timeout_ns)
