"""What must hold at every step of every cluster, whatever happens to it.

    consensus     figure 3.2 of the thesis (`raft_safety`), fed with what is committed as hosts apply it
    registry      two members that have applied the log up to the same entry hold the same registry
    lockstep      no shard starts a phase before every member has finished the one before it
    agreement     all shards that say that a run is over name the same tick and the same end
    machines      every machine's own `validate`

Lockstep is judged by what the engines did and when, not by what any barrier thinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

from consensus import Entry, Persist, Raft, Stored
from daemon.protocol.registry import RunRecord, View
from daemon.protocol.tick_effects import RunOver, RunPhase
from daemon.shard import Shard
from shoal.phase import Phase
from tests.simulator.raft_safety import RaftSafety


class Journal:
    """What one server has been told to persist: its disk, and all entries that it ever held, compacted or not."""

    def __init__(self, raft: Raft) -> None:
        log = raft.log
        entries = tuple(log.entry(i) for i in range(log.snapshot.index + 1, log.last_index + 1))
        self.stored = Stored(snapshot=log.snapshot, entries=entries)
        self.entries: dict[int, Entry] = {entry.index: entry for entry in entries}
        self.committed = log.snapshot.index

    def persist(self, effect: Persist) -> None:
        """In the order of a transaction's parts: see `Persist`."""
        self.stored = effect.onto(self.stored)
        if effect.truncate_from is not None:
            self.entries = {i: entry for i, entry in self.entries.items() if i < effect.truncate_from}
        self.entries.update((entry.index, entry) for entry in effect.entries)


@dataclass
class RunWatch:
    """One run: who takes part, which phases a tick has, and how many of them each has finished."""

    members: tuple[str, ...]
    phases: tuple[Phase, ...]
    finished: dict[str, int] = field(default_factory=dict)
    over: dict[str, RunOver] = field(default_factory=dict)
    results: dict[str, dict[int, tuple[int, ...]]] = field(default_factory=dict)

    def place(self, effect: RunPhase) -> int:
        """The phase's place in the row of all used phases of the run; the start (Advance of tick 0) is the first."""
        if effect.tick == 0:
            return 0
        return 1 + (effect.tick - 1) * len(self.phases) + self.phases.index(effect.phase)


class Invariants:
    """Feed it everything; it raises AssertionError at the first violation."""

    def __init__(self) -> None:
        self.safety = RaftSafety()
        self.runs: dict[int, RunWatch] = {}
        self._journals: dict[str, Journal] = {}
        self._registries: dict[int, bytes] = {}
        self._frozen_at: dict[str, int] = {}

    # -- consensus and registry ------------------------------------------------------------------------------------

    def persisted(self, shard: Shard, effects: Sequence[object]) -> None:
        """After each door of a shard, with what it returned."""
        shard.validate()
        raft = shard.raft
        if raft is None:
            return
        name = str(shard.identity)
        journal = self._journals.get(name)
        if journal is None:
            journal = self._journals[name] = Journal(raft)
            self.safety.restored(name, journal.committed)
        for effect in effects:
            if isinstance(effect, Persist):
                journal.persist(effect)
        self._match_disk(name, journal, raft)
        self.safety.observe(name, raft)
        self._commit(name, journal, raft)
        self._match_registry(name, shard)

    def _match_disk(self, name: str, journal: Journal, raft: Raft) -> None:
        disk, log = journal.stored, raft.log
        assert (disk.hard_state.term, disk.hard_state.vote) in ((raft.term, raft.vote), (0, None)), name
        assert disk.snapshot == log.snapshot, f"{name}: the disk's snapshot is not the log's"
        assert len(disk.entries) == log.last_index - log.snapshot.index, f"{name}: the disk's log is not the log"

    def _commit(self, name: str, journal: Journal, raft: Raft) -> None:
        news = range(journal.committed + 1, raft.commit_index + 1)
        if news and all(index in journal.entries for index in news):
            self.safety.committed(name, [journal.entries[index] for index in news])
        elif news:  # a leader's snapshot stands for some of them
            assert raft.log.snapshot.index > journal.committed, f"{name} has committed entries that it never held"
            self.safety.restored(name, raft.commit_index)
        journal.committed = raft.commit_index

    def _match_registry(self, name: str, shard: Shard) -> None:
        if self._frozen_at.get(name) == shard.applied_index:
            return
        self._frozen_at[name] = shard.applied_index
        frozen = blake2b(shard.registry.freeze(), digest_size=8).digest()
        first = self._registries.setdefault(shard.applied_index, frozen)
        assert first == frozen, f"{name}: another registry than a peer's after entry {shard.applied_index}"

    # -- runs ------------------------------------------------------------------------------------------------------

    def begun(self, run: RunRecord, view: View) -> None:
        """A shard begins a run."""
        watch = self.runs.setdefault(run.number, RunWatch(view.names, run.phases))
        assert (watch.members, watch.phases) == (view.names, run.phases), f"run {run.number} is not one run"

    def started(self, shard: str, effect: RunPhase) -> None:
        """A shard begins a phase."""
        watch = self.runs[effect.run]
        place = watch.place(effect)
        assert watch.finished.get(shard, 0) == place, f"{shard} skips from {watch.finished.get(shard, 0)} to {place}"
        early = [member for member in watch.members if watch.finished.get(member, 0) < place]
        told = f"{effect.phase.word} of tick {effect.tick} of run {effect.run}"
        assert not early, f"{shard} starts {told}, and {', '.join(early)} has not come so far"

    def finished(self, shard: str, effect: RunPhase) -> None:
        """A shard has finished a phase."""
        watch = self.runs[effect.run]
        watch.finished[shard] = watch.place(effect) + 1

    def over(self, shard: str, effect: RunOver, result: dict[int, tuple[int, ...]]) -> None:
        """A run has ended on a shard by itself, not because the log said so."""
        watch = self.runs[effect.run]
        assert shard not in watch.over, f"run {effect.run} is over twice at {shard}"
        for other, said in watch.over.items():
            agreed = (said.tick, said.outcome) == (effect.tick, effect.outcome)
            assert agreed, f"run {effect.run}: {shard} ends {effect.outcome} after tick {effect.tick}, {other}: {said}"
        watch.over[shard] = effect
        if effect.outcome != "failed":
            watch.results[shard] = result
