"""The log: a snapshot, the entries behind it, and which changes have yet to be persisted.

Source: thesis 3.5 (log matching) and 5.1 (compaction). ::

    | snapshot ...... 7 | 8  9  10 | 11  12 |
                          ^first      ^commit is the machine's, not the log's
                                         ^last

Invariants: indexes are contiguous from ``snapshot.index + 1``; terms never fall; the configuration in force is that of
the last entry that has one, or else the snapshot's. Entries never change in place: a conflicting tail is truncated and
replaced, and the log remembers both for the next ``Persist``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from consensus.configuration import Configuration
from consensus.effects import Persist
from consensus.stored import Entry, HardState, Snapshot


class Log:
    """Positions are log indexes throughout; only ``term_at`` accepts one that may be compacted or beyond the end."""

    def __init__(self, snapshot: Snapshot, entries: Sequence[Entry] = ()) -> None:
        self.snapshot = snapshot
        self._entries: list[Entry] = []
        self._configurations: list[tuple[int, Configuration]] = [(snapshot.index, snapshot.configuration)]
        self._snapshot_is_new = False
        self._truncated_from: int | None = None
        self._saved_index = snapshot.index
        for entry in entries:
            self.append(entry)
        self._saved_index = self.last_index

    @property
    def last_index(self) -> int:
        """The index of the last entry, or the snapshot's if no entry follows it."""
        return self.snapshot.index + len(self._entries)

    @property
    def last_term(self) -> int:
        """The term of the last entry; elections compare (last_term, last_index) (3.6.1)."""
        return self._entries[-1].term if self._entries else self.snapshot.term

    @property
    def configuration(self) -> Configuration:
        """The configuration in force: the newest in the log, committed or not (4.1)."""
        return self._configurations[-1][1]

    @property
    def configuration_index(self) -> int:
        """The index of the configuration in force; if it is beyond the commit index, a change is pending."""
        return self._configurations[-1][0]

    def configurations_from(self, index: int) -> list[Configuration]:
        """Returns the configuration that was in force at ``index`` and all later ones, oldest first."""
        earlier = [pair for pair in self._configurations if pair[0] <= index]
        return [pair[1] for pair in earlier[-1:] + self._configurations[len(earlier) :]]

    def term_at(self, index: int) -> int | None:
        """Returns the term of the entry at ``index``; None if compacted or beyond the end. Index 0 has term 0."""
        if index == self.snapshot.index:
            return self.snapshot.term
        if index == 0:
            return 0
        if self.snapshot.index < index <= self.last_index:
            return self._entries[index - self.snapshot.index - 1].term
        return None

    def entry(self, index: int) -> Entry:
        """Returns the entry at an index that the log is known to hold."""
        assert self.snapshot.index < index <= self.last_index, (index, self.snapshot.index, self.last_index)
        return self._entries[index - self.snapshot.index - 1]

    def span(self, first: int, last: int) -> tuple[Entry, ...]:
        """Returns the entries from ``first`` to ``last``, inclusive."""
        assert first > self.snapshot.index, (first, self.snapshot.index)
        offset = self.snapshot.index + 1
        return tuple(self._entries[first - offset : last + 1 - offset])

    def batch(self, first: int, entries_max: int, bytes_max: int) -> tuple[Entry, ...]:
        """Returns the entries from ``first`` on that fit into one message; a single entry always fits."""
        batch = self.span(first, min(self.last_index, first + entries_max - 1))
        size = 0
        for count, entry in enumerate(batch):
            size += len(entry.data)
            if count and size > bytes_max:
                return batch[:count]
        return batch

    def first_index_of_term(self, index: int) -> int:
        """Returns the first index, as far as the entries reach back, with the same term as ``index``."""
        term = self.term_at(index)
        while index - 1 > self.snapshot.index and self.term_at(index - 1) == term:
            index -= 1
        return index

    def last_index_up_to_term(self, term: int, index: int) -> int | None:
        """Returns the last index of exactly ``term`` at or below ``index``; None if the log holds none."""
        index = min(index, self.last_index)
        while (found := self.term_at(index)) is not None and found >= term:
            if found == term:
                return index
            index -= 1
        return None

    def append(self, entry: Entry) -> None:
        """Appends one entry."""
        assert entry.index == self.last_index + 1, (entry, self.last_index)
        assert entry.term >= self.last_term, (entry, self.last_term)
        self._entries.append(entry)
        if entry.configuration is not None:
            self._configurations.append((entry.index, entry.configuration))

    def merge(self, entries: Iterable[Entry]) -> None:
        """Skips the entries that the log holds, truncates at the first conflict, appends the rest (figure 3.1,
        AppendEntries 3 and 4).

        Keeps entries beyond the last given one: the message may be an old one that arrives late.
        """
        for entry in entries:
            if entry.index <= self.last_index:
                if self.term_at(entry.index) == entry.term:
                    continue
                self._truncate(entry.index)
            self.append(entry)

    def compact(self, index: int, chunks: tuple[bytes, ...]) -> None:
        """Replaces everything up to ``index`` by a snapshot of the host's state there (5.1)."""
        term = self.term_at(index)
        assert term is not None, index
        assert index > self.snapshot.index, (index, self.snapshot.index)
        configuration = self.configurations_from(index)[0]
        self._entries = list(self.span(index + 1, self.last_index))
        self._configurations = [(index, configuration), *(c for c in self._configurations if c[0] > index)]
        self.snapshot = Snapshot(index, term, configuration, chunks)
        self._snapshot_is_new = True

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces a log that does not hold the last entry of a leader's snapshot by that snapshot."""
        assert self.term_at(snapshot.index) != snapshot.term, (snapshot.index, snapshot.term)
        # Nothing of the old log may stay, not even entries beyond the snapshot: they conflict with it.
        if self._entries:
            self._truncated_from = min(self._truncated_from or self.snapshot.index + 1, self.snapshot.index + 1)
        self.snapshot = snapshot
        self._snapshot_is_new = True
        self._entries = []
        self._configurations = [(snapshot.index, snapshot.configuration)]
        self._saved_index = snapshot.index

    def take_unsaved(self, hard_state: HardState | None) -> Persist | None:
        """Returns the changes since the last call as one transaction; None if there are none."""
        is_saved = max(self._saved_index, self.snapshot.index) == self.last_index
        if is_saved and hard_state is None and not self._snapshot_is_new and self._truncated_from is None:
            return None
        persist = Persist(
            hard_state,
            self.snapshot if self._snapshot_is_new else None,
            self._truncated_from,
            self.span(max(self._saved_index, self.snapshot.index) + 1, self.last_index),
        )
        self._snapshot_is_new = False
        self._truncated_from = None
        self._saved_index = self.last_index
        return persist

    def _truncate(self, index: int) -> None:
        """Drops the entries from ``index`` on; a configuration among them is rolled back with them (4.1)."""
        del self._entries[index - self.snapshot.index - 1 :]
        while self._configurations[-1][0] >= index:
            self._configurations.pop()
        if index <= self._saved_index:
            self._truncated_from = index
            self._saved_index = index - 1

    def validate(self) -> None:
        """Checks the invariants of the whole log, in linear time; for tests and the simulator."""
        index, term = self.snapshot.index, self.snapshot.term
        in_force = [(index, self.snapshot.configuration)]
        for entry in self._entries:
            assert entry.index == index + 1, (entry, index)
            assert entry.term >= term, (entry, term)
            index, term = entry.index, entry.term
            if entry.configuration is not None:
                in_force.append((index, entry.configuration))
        assert self._configurations == in_force, (self._configurations, in_force)
        assert self._saved_index <= self.last_index, (self._saved_index, self.last_index)
