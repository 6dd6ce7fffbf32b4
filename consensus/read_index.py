"""Reads that see all that was committed before they were asked: the leader's side of it.

Source: thesis 6.4, ReadIndex. ::

    asked -> noted with the commit index -> a round of heartbeats that begins after that
          -> a majority has answered that round: nobody led a later term when the read was asked -> its index

Whoever has applied the log up to that index may answer, the leader or not. One round is under way at a time, and those
who ask meanwhile share the next: any number of readers cost a message each way a round trip. A round that is lost is
made good by the next periodic heartbeat, which begins another one.

Whoever asks may say that it follows this leader in this term. That is its answer to the round, given after the read was
asked; and of up to three voters, it and the leader are a majority already: no round is begun at all.

One step is not as the thesis has it. There, a leader that has committed nothing of its own term yet lets readers wait,
for it does not know how far the log is committed. Here the index is never below that of its first entry, which stands
behind all that was ever committed before (3.6.3); so it is the reader that waits, as for any other index.

Left out: leases (6.4.1), which save the round and trust in clocks.

Invariants: a read waits for a round above all that had begun when it was asked, and at most one above.

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
    """One that waits until a majority has answered a round."""

    readable: Readable
    round: int


class Reads:
    """Of one leader, for one term; `round` is what its messages carry now."""

    def __init__(self, first_index: int) -> None:
        self.round = 0
        self._first_index = first_index
        self._answered = 0
        self._waiting: dict[tuple[str, str], Read] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def ask(self, asker: str, request: str, commit_index: int, is_followed: bool) -> None:
        """Note a read; one that is asked again has been asked once. If a majority follows already, it waits no more."""
        key, readable = (asker, request), Readable(asker, request, max(commit_index, self._first_index))
        if is_followed:
            self._waiting[key] = Read(readable, self._answered)
        elif key not in self._waiting:
            self._waiting[key] = Read(readable, self.round + 1)

    def begins(self, again: bool = False) -> bool:
        """Whether to send the heartbeats of a new round now; `again` even if one is under way, for it may be lost."""
        if not self._waiting or (self.round > self._answered and not again):
            return False
        self.round += 1
        return True

    def take(self, answered: int) -> list[Readable]:
        """A majority has answered this round: the reads that have waited for it, or for one before."""
        self._answered = max(self._answered, answered)
        done = [key for key, read in self._waiting.items() if read.round <= self._answered]
        return [self._waiting.pop(key).readable for key in done]

    def validate(self) -> None:
        """The invariant at the top."""
        assert self._answered <= self.round, (self._answered, self.round)
        for read in self._waiting.values():
            assert self._answered < read.round <= self.round + 1, (read, self.round)
