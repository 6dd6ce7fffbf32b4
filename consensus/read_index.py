"""The leader's side of reads that see everything committed before they were asked.

Source: thesis 6.4, ReadIndex. ::

    asked -> noted with the commit index -> a round of heartbeats that begins after that
          -> a majority has answered that round: nobody led a later term when the read was asked -> its index

Any server that has applied the log up to that index may answer, the leader or not. One round is in flight at a time,
and readers that ask meanwhile share the next: any number of readers cost one message each way per round trip. If a
round is lost, the next periodic heartbeat begins another one.

The asker may state that it follows this leader in this term. That counts as its answer to a round, given after the read
was asked; with up to three voters, it and the leader are already a majority, and no round is needed.

One step differs from the thesis. There, a leader that has not yet committed an entry of its own term delays reads,
because it does not know how far the log is committed. Here the read index is never below that of the leader's first
entry, which follows everything committed before (3.6.3); so the reader waits until it has applied that index.

Left out: leases (6.4.1), which save the round but trust clocks.

Invariant: a read waits for a round above all that had begun when it was asked, and at most one above.

>>> reads = Reads(first_index=5)
>>> reads.ask("b", "x", commit_index=4, is_followed=False)
>>> reads.begins(), reads.take(0), reads.take(1)
(True, [], [Readable(asker='b', request='x', index=5)])
"""

from __future__ import annotations

from dataclasses import dataclass

from consensus.effects import Readable


@dataclass(frozen=True, slots=True)
class Read:
    """A read that waits until a majority has answered a round."""

    readable: Readable
    round: int


class Reads:
    """One leader's reads in one term; its messages carry `round`."""

    def __init__(self, first_index: int) -> None:
        self.round = 0
        self._first_index = first_index
        self._answered = 0
        self._waiting: dict[tuple[str, str], Read] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, asker: str, request: str, commit_index: int, is_followed: bool) -> None:
        """Notes a read; asking again changes nothing. If a majority follows already, the next ``take`` returns it."""
        key, readable = (asker, request), Readable(asker, request, max(commit_index, self._first_index))
        if is_followed:
            self._waiting[key] = Read(readable, self._answered)
        elif key not in self._waiting:
            self._waiting[key] = Read(readable, self.round + 1)

    def begins(self, again: bool = False) -> bool:
        """Whether to send the heartbeats of a new round now; `again` even if one is in flight, since it may be lost."""
        if not self._waiting or (self.round > self._answered and not again):
            return False
        self.round += 1
        return True

    def take(self, answered: int) -> list[Readable]:
        """Returns the reads that waited for this round or an earlier one, which a majority has answered."""
        self._answered = max(self._answered, answered)
        done = [key for key, read in self._waiting.items() if read.round <= self._answered]
        return [self._waiting.pop(key).readable for key in done]

    def validate(self) -> None:
        """Checks the invariant at the top."""
        assert self._answered <= self.round, (self._answered, self.round)
        for read in self._waiting.values():
            assert self._answered < read.round <= self.round + 1, (read, self.round)
