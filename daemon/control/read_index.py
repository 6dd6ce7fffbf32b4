"""Linearizable reads at any shard: they see all that the log had decided when the read was requested.

The shard asks the tick leader how far the log is committed (`consensus/read_index`), and answers the read once it has
applied the log that far. One request is in flight at a time, resent while no reply comes, and at once to a new leader.
Reads that arrive meanwhile share the next request, because the current one may be older than what they must see.

Without a leader a read fails after its timeout. Until there is a leader, later reads fail immediately: a shard on the
minority side of a partition receives many requests, and answers at once with what it knows.

Invariant: a read uses the index of a request that was first sent after the read came, and of no other.
"""

from __future__ import annotations

from dataclasses import dataclass

RESEND_INTERVAL_NS = 250_000_000


@dataclass(slots=True)
class _Read:
    """A read that waits for its request to be sent, then for the reply, then for the log to be applied to its index."""

    give_up_ns: int
    question: str = ""
    index: int | None = None


class Reads:
    """This shard's own reads. A request has the name of one of the reads that share it."""

    def __init__(self, waiting_max: int = 1024) -> None:
        self._waiting: dict[str, _Read] = {}
        self._waiting_max = waiting_max
        self._question = ""
        self._sent_ns: int | None = None
        self._has_leader = self._is_in_vain = False

    def add(self, request: str, give_up_ns: int) -> bool:
        """Keeps a read until it can be answered; returns False if no leader is in sight or too many reads wait."""
        if self._is_in_vain or len(self._waiting) >= self._waiting_max:
            return False
        self._waiting[request] = _Read(give_up_ns)
        return True

    def leader_changed(self, has_leader: bool) -> None:
        """Asks the new leader: the previous one may not answer any more."""
        self._has_leader, self._sent_ns = has_leader, None
        self._is_in_vain = self._is_in_vain and not has_leader

    def due(self, now: int) -> str | None:
        """Returns the question to send to the leader now, first or again; None if nothing is due or nobody leads."""
        if not self._has_leader:
            return None
        if not self._question:
            unasked = [request for request, read in self._waiting.items() if not read.question]
            if not unasked:
                return None
            self._question, self._sent_ns = unasked[0], None
            for request in unasked:
                self._waiting[request].question = self._question
        if self._sent_ns is not None and now < self._sent_ns + RESEND_INTERVAL_NS:
            return None
        self._sent_ns = now
        return self._question

    def told(self, question: str, index: int) -> None:
        """Takes the leader's answer; ignores any but that to the question in flight."""
        if not self._question or question != self._question:
            return
        self._question = ""
        for read in self._waiting.values():
            if read.question == question:
                read.index = index

    def applied(self, index: int) -> list[str]:
        """Removes and returns the reads that can be answered, with the log applied up to `index`."""
        done = [request for request, read in self._waiting.items() if read.index is not None and read.index <= index]
        for request in done:
            del self._waiting[request]
        return done

    def given_up(self, now: int) -> list[str]:
        """Removes and returns the reads that have timed out."""
        over = [request for request, read in self._waiting.items() if now >= read.give_up_ns]
        for request in over:
            del self._waiting[request]
        if over and not self._has_leader:
            self._is_in_vain = True
        if not any(read.question == self._question for read in self._waiting.values()):
            self._question = ""
        return over

    @property
    def deadline(self) -> int | None:
        """When the next request is due, to be resent, or to be given up."""
        times = [read.give_up_ns for read in self._waiting.values()]
        if self._has_leader and self._question and self._sent_ns is not None:
            times.append(self._sent_ns + RESEND_INTERVAL_NS)
        elif self._has_leader and any(read.index is None for read in self._waiting.values()):
            times.append(0)
        return min(times, default=None)

    def validate(self) -> None:
        """Asserts that a waiting read has the question in flight, and that one with an index has an answered one."""
        shared = {read.question for read in self._waiting.values() if read.index is None}
        assert not self._question or self._question in shared, self._question
        assert shared <= {"", self._question}, (shared, self._question)
