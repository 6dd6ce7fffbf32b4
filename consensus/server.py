"""The readable state of one server: its term and vote, its log, its role.

Any caller may read attributes without an underscore. Only `raft.Raft` changes them, when its doors are called.
"""

from __future__ import annotations

from consensus.configuration import Configuration
from consensus.election import Role
from consensus.leadership import Leadership
from consensus.limits import Limits
from consensus.log import Log
from consensus.outbox import EffectOutbox
from consensus.promises import Promises
from consensus.stored import Stored


class Server:
    """The state of figure 3.1, with queries on it."""

    def __init__(self, name: str, stored: Stored, limits: Limits) -> None:
        self.name = name
        self.term = stored.hard_state.term
        self.vote = stored.hard_state.vote
        self.log = Log(stored.snapshot, stored.entries)
        self.commit_index = stored.snapshot.index
        self.role = Role.FOLLOWER
        self.leader: str | None = None
        self.dropped = 0
        self.promises = Promises()
        self._limits = limits
        self._leadership: Leadership | None = None
        self._outbox = EffectOutbox(stored.hard_state, stored.snapshot.index)

    @property
    def configuration(self) -> Configuration:
        """The servers in force: the newest configuration in the log (4.1)."""
        return self.log.configuration

    @property
    def last_index(self) -> int:
        """The index of the newest entry: right after ``propose``, that of the proposal."""
        return self.log.last_index

    @property
    def is_leader(self) -> bool:
        """Whether this server believes that it leads; another server may already lead a later term."""
        return self.role is Role.LEADER

    @property
    def is_saving(self) -> bool:
        """Leader only: whether entries wait for its own disk. Callers had best gather proposals until these are
        durable: then they share the next write.
        """
        return self._leadership is not None and self._leadership.is_saving

    @property
    def room(self) -> int:
        """How many commands ``propose`` accepts now."""
        if self._leadership is None or self._leadership.transfer_target is not None:
            return 0
        return max(0, self._limits.uncommitted_max - (self.last_index - self.commit_index))

    def is_caught_up(self, name: str) -> bool:
        """Leader only: whether a server holds all committed entries. Promote a learner once it does (4.2.1)."""
        return self._leadership is not None and self._leadership.followers.match_index(name) >= self.commit_index

    def is_sending_snapshot(self, now: int) -> bool:
        """Leader only: whether a follower is receiving a snapshot. Compacting the log would make it start over."""
        return self._leadership is not None and self._leadership.followers.is_sending_snapshot(now)

    def validate(self) -> None:
        """Checks the invariants that one server can check alone; those of a cluster need its history."""
        self.log.validate()
        assert self.log.snapshot.index <= self.commit_index <= self.last_index, (self.commit_index, self.last_index)
        assert self._outbox.applied_index == self.commit_index, (self._outbox.applied_index, self.commit_index)
        assert self.log.last_term <= self.term, (self.log.last_term, self.term)
        assert (self.role is Role.LEADER) == (self._leadership is not None), self.role
        assert (self.role is Role.LEADER) == (self.leader == self.name), (self.role, self.leader)
        assert self.role not in (Role.LEADER, Role.CANDIDATE) or self.vote == self.name, (self.role, self.vote)
        if self._leadership is not None:
            self._leadership.followers.validate()
