"""Checks the safety properties of Raft while a cluster runs: figure 3.2 of Ongaro's thesis.

    Election Safety        at most one leader can be elected in a given term
    Leader Append-Only     a leader never overwrites or deletes entries in its log; it only appends new entries
    Log Matching           if two logs hold an entry with the same index and term, they are identical up to there
    Leader Completeness    an entry committed in a term is in the logs of the leaders of all higher terms
    State Machine Safety   no two servers apply different entries at one index

and two of section 3.8 on which these rest: a server's term never falls, and it votes once per term, despite crashes.

It is cheap enough for every step: it reads a log backwards from its end to the first entry seen there before. By
induction, Log Matching needs no comparison of logs, only that (index, term) always identifies one entry with one
predecessor.
"""

from __future__ import annotations

from collections.abc import Sequence

from consensus import Entry, Raft


class RaftSafety:
    """Receives every observation of every server; raises AssertionError at the first violation."""

    def __init__(self) -> None:
        self.leaders: dict[int, str] = {}
        self.committed_entries: dict[int, Entry] = {}
        self.applied_index = 0
        """The last index that any server has ever applied."""
        self._committed_in: dict[int, int] = {}
        self._entries: dict[tuple[int, int], tuple[Entry, int | None]] = {}
        self._logs: dict[str, dict[int, Entry]] = {}
        self._terms: dict[str, int] = {}
        self._votes: dict[tuple[str, int], str] = {}
        self._applied: dict[str, int] = {}
        self._leading: dict[str, tuple[int, int]] = {}

    def observe(self, name: str, raft: Raft) -> None:
        """Call when all of a server's state is on its disk: the rest may be lost at any time."""
        assert raft.term >= self._terms.get(name, 0), f"{name} fell from term {self._terms[name]} to {raft.term}"
        self._terms[name] = raft.term
        if raft.vote is not None:
            vote = self._votes.setdefault((name, raft.term), raft.vote)
            assert vote == raft.vote, f"{name} voted for {vote} and {raft.vote} in term {raft.term}"
        self._match_log(name, raft)
        if raft.is_leader:
            self._check_leader(name, raft)
        else:
            self._leading.pop(name, None)

    def committed(self, name: str, term: int, entries: Sequence[Entry]) -> None:
        """Call for every ``Committed`` that a server's host carries out, with the server's term."""
        for entry in entries:
            applied = self._applied.get(name, 0)
            assert entry.index == applied + 1, f"{name} applies {entry.index} after {applied}"
            self._applied[name] = entry.index
            self.applied_index = max(self.applied_index, entry.index)
            first = self.committed_entries.setdefault(entry.index, entry)
            assert first == entry, f"{name} applies {entry}, another applied {first}"
            # The applying server may know a later term than that of the commit: the check of leaders is then weaker,
            # but never wrong.
            self._committed_in.setdefault(entry.index, term)

    def restored(self, name: str, index: int) -> None:
        """Call for every ``Restored``, and for the stored snapshot at every start and restart."""
        self._applied[name] = index
        self.applied_index = max(self.applied_index, index)

    def went_back(self, name: str) -> None:
        """A server's disk is in an earlier state: the server may have forgotten anything that it said before."""
        for known in (self._terms, self._logs, self._applied, self._leading):
            known.pop(name, None)  # type: ignore[attr-defined]
        self._votes = {key: vote for key, vote in self._votes.items() if key[0] != name}

    def _match_log(self, name: str, raft: Raft) -> None:
        log, seen = raft.log, self._logs.setdefault(name, {})
        for index in [index for index in seen if index > log.last_index]:
            del seen[index]
        for index in range(log.last_index, log.snapshot.index, -1):
            entry = log.entry(index)
            if seen.get(index) is entry:
                break
            seen[index] = entry
            before = log.term_at(index - 1)
            known, known_before = self._entries.setdefault((index, entry.term), (entry, before))
            assert known == entry, f"{name} holds {entry}, another held {known}"
            assert before == known_before, f"{name} has term {before} before {entry}, another had {known_before}"

    def _check_leader(self, name: str, raft: Raft) -> None:
        leader = self.leaders.setdefault(raft.term, name)
        assert leader == name, f"{leader} and {name} both lead term {raft.term}"
        term, last_index = self._leading.get(name, (0, 0))
        if term == raft.term:
            assert raft.last_index >= last_index, f"leader {name} lost entries of its own term {term}"
        else:
            self._check_completeness(name, raft)
        self._leading[name] = (raft.term, raft.last_index)

    def _check_completeness(self, name: str, raft: Raft) -> None:
        """Checks, once per leadership, that everything committed in an earlier term is here."""
        for index, entry in self.committed_entries.items():
            if self._committed_in[index] < raft.term and index >= raft.log.snapshot.index:
                held = raft.log.term_at(index)
                assert held == entry.term, f"leader {name} of {raft.term} has term {held} at committed {entry}"
