"""Invariants that hold at every step of every cluster, whatever happens to it.

    consensus     figure 3.2 of the thesis (`raft_safety`), over all lives of a server, checked on durable state
    reads         a shard that has caught up has applied everything that any shard had applied at the request
    one cluster   a cluster is founded only once
    queue         no run waits for its turn while there is room for it
    graphs        a run is known as long as the load of its graph is, and only under that load
    registry      two members that have applied the log up to the same entry hold the same registry
    views         an epoch has one membership and one placement, and a run one tick to begin from in it
    lockstep      no shard starts a phase before every member has finished the one before it
    bits          a tick's states, stored or fetched anywhere, equal those of a single engine
    checkpoints   one that any shard saw committed is on the disks of all holders, and no run resumes before it while,
                  for each partition, a member of its view has such a disk
    agreement     all shards that report a run's end report the same tick and the same end
    machines      every machine's own `validate`

Lockstep is checked by what the engines did and when, not by any barrier; checkpoints by what is on disks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any

from consensus import Entry, Persist, Raft
from daemon.control.log_time import ANSWER_NS_MAX
from daemon.control.plane import ControlPlane
from daemon.state.placement import Placed
from daemon.state.records import FAILED, RunRecord, View, with_its_graph
from shoal.engine.engine import Engine
from shoal.lockstep.effects import RunOver, RunPhase
from shoal.lockstep.machine import TickMachine
from shoal.program.phase import Phase
from tests.simulator.programs import Twin
from tests.simulator.raft_safety import RaftSafety
from tests.simulator.world import UNIX_EPOCH_NS

if TYPE_CHECKING:
    from tests.simulator.host import Host


class Journal:
    """All entries that one server has held in this life, compacted or not, and how far they are committed."""

    def __init__(self, raft: Raft) -> None:
        log = raft.log
        entries = (log.entry(i) for i in range(log.snapshot.index + 1, log.last_index + 1))
        self.entries: dict[int, Entry] = {entry.index: entry for entry in entries}
        self.committed = log.snapshot.index

    def persist(self, effect: Persist) -> None:
        """Applies the parts in a transaction's order: see `Persist`."""
        if effect.truncate_from is not None:
            self.entries = {i: entry for i, entry in self.entries.items() if i < effect.truncate_from}
        self.entries.update((entry.index, entry) for entry in effect.entries)


@dataclass
class RunWatch:
    """One run in one epoch: its members, where it begins, and how many of a tick's phases each has finished."""

    members: tuple[str, ...]
    phases: tuple[Phase, ...]
    resumed: int
    placed: Placed
    disks: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """For each member, the identity of its disk when the run began here."""
    finished: dict[str, int] = field(default_factory=dict)
    over: dict[str, RunOver] = field(default_factory=dict)

    def place(self, effect: RunPhase) -> int:
        """Returns the phase's position among all used phases of the run; its first Advance is the first."""
        if effect.tick == self.resumed:
            return 0
        return 1 + (effect.tick - self.resumed - 1) * len(self.phases) + self.phases.index(effect.phase)

    def own(self, shard: str) -> list[int]:
        """Returns the partitions of which a shard is primary."""
        return [partition for partition, holders in enumerate(self.placed) if holders[0] == shard]


class Invariants:
    """Receives every observation; raises AssertionError at the first violation."""

    def __init__(self, twin: Twin) -> None:
        self.safety = RaftSafety()
        self.counts: Counter[str] = Counter()
        self.hosts: Mapping[str, Host] = {}
        self.runs: dict[tuple[int, int], RunWatch] = {}
        self.records: dict[int, RunRecord] = {}
        self.checkpoints: dict[int, dict[int, dict[int, frozenset[tuple[str, tuple[int, int]]]]]] = {}
        """By run and committed tick: for each partition the disks that hold its state."""
        self._twin = twin
        self._held: set[tuple[str, int, int, int]] = set()
        self._views: dict[int, tuple[View, dict[str, Placed]]] = {}
        self._journals: dict[str, Journal] = {}
        self._registries: dict[int, bytes] = {}
        self._frozen_at: dict[str, int] = {}
        self._floors: dict[str, int] = {}
        self._clusters: set[str] = set()

    # -- consensus and registry ------------------------------------------------------------------------------------

    def seen(self, shard: ControlPlane) -> None:
        """Checks after each call of a shard's methods."""
        shard.validate()
        if shard.registry.cluster:
            self._clusters.add(shard.registry.cluster)
            assert len(self._clusters) == 1, f"{shard.identity} belongs to another cluster than others: two are founded"

    def given(self, shard: ControlPlane, effects: Sequence[object]) -> None:
        """Checks the effects of a call before they are carried out: what is committed then stays so."""
        raft = shard.raft
        if raft is None:
            return
        name = str(shard.identity)
        journal = self._journals.get(name)
        if journal is None:
            journal = self._journals[name] = Journal(raft)
            self.safety.restored(raft.name, journal.committed)
        for effect in effects:
            if isinstance(effect, Persist):
                journal.persist(effect)
                self.counts["batches"] += len(effect.entries) > 1
        self._commit(name, journal, raft)
        self._match_registry(name, shard)

    def persisted(self, host: Host, shard: ControlPlane) -> None:
        """All effects have been carried out: what must be durable is durable."""
        if shard.raft is not None:
            self._match_disk(str(shard.identity), host, shard.raft)
            self.safety.observe(shard.raft.name, shard.raft)

    def asked(self, request: str) -> None:
        """A reader must not see less than what any shard may have answered before."""
        self._floors[request] = self.safety.applied_index

    def answered(self, request: str, error: str, shard: ControlPlane) -> None:
        """A request is answered; an answer to a read, unless it was given up, must have caught up."""
        if request in self._floors and not error:
            told = f"{shard.identity} reads at {shard.applied_index}, and {self._floors[request]} was applied before"
            assert shard.applied_index >= self._floors[request], told
            self.counts["reads"] += 1

    def _match_disk(self, name: str, host: Host, raft: Raft) -> None:
        disk, log = host.disk.stored, raft.log
        assert disk is not None, name
        assert (disk.hard_state.term, disk.hard_state.vote) in ((raft.term, raft.vote), (0, None)), name
        assert disk.snapshot == log.snapshot, f"{name}: the disk's snapshot is not the log's"
        assert len(disk.entries) == log.last_index - log.snapshot.index, f"{name}: the disk's log is not the log"

    def _commit(self, name: str, journal: Journal, raft: Raft) -> None:
        news = range(journal.committed + 1, raft.commit_index + 1)
        if news and all(index in journal.entries for index in news):
            self.safety.committed(raft.name, raft.term, [journal.entries[index] for index in news])
        elif news:  # a leader's snapshot replaces some of them
            assert raft.log.snapshot.index > journal.committed, f"{name} has committed entries that it never held"
            self.safety.restored(raft.name, raft.commit_index)
        journal.committed = raft.commit_index

    def _match_registry(self, name: str, shard: ControlPlane) -> None:
        if self._frozen_at.get(name) == shard.applied_index:
            return
        self._frozen_at[name] = shard.applied_index
        frozen = blake2b(b"".join(shard.state.freeze()), digest_size=8).digest()
        ahead_ns = shard.state.time_ns - UNIX_EPOCH_NS - self.hosts[shard.identity.name].world.now
        assert ahead_ns <= ANSWER_NS_MAX // 2, f"{name}: the log is {ahead_ns / 1e9} s ahead of all right clocks"
        first = self._registries.setdefault(shard.applied_index, frozen)
        assert first == frozen, f"{name}: another registry than a peer's after entry {shard.applied_index}"
        queued = shard.registry.queued_runs()
        if queued:
            self.counts["queued"] += 1
            assert len(shard.registry.active_runs()) >= queued[0].runs_max, f"{name}: {queued[0].name} could begin"
        for run in shard.registry.runs.values():
            graph = shard.registry.graphs.get(run.graph)
            assert graph is not None, f"{name}: run {run.name} is on no graph"
            assert graph.load == run.load, f"{name}: run {run.name} belongs to load {run.load}, not to {graph.load}"

    # -- views and runs --------------------------------------------------------------------------------------------

    def entered(self, view: View, placements: Mapping[str, Placed]) -> None:
        """A shard learns of a view, as a member of it or not."""
        first, placed = self._views.setdefault(view.epoch, (view, {}))
        assert first == view, f"epoch {view.epoch} has two memberships: {first} and {view}"
        for load, found in placements.items():
            assert placed.setdefault(load, found) == found, f"load {load} has two placements in epoch {view.epoch}"

    def begun(self, run: RunRecord, view: View, placed: Placed) -> None:
        """The log makes a shard begin a run."""
        self.entered(view, {run.load: placed})
        self.records[run.number] = run
        key = (run.number, view.epoch)
        if key not in self.runs:
            self.runs[key] = RunWatch(view.names, run.phases, run.resumed, placed, self._disks(view))
            self._match_resumption(run, view)
        watch = self.runs[key]
        told = f"run {run.number} is not one run in epoch {view.epoch}"
        assert (watch.members, watch.phases, watch.resumed) == (view.names, run.phases, run.resumed), told

    def _match_resumption(self, run: RunRecord, view: View) -> None:
        """Every shard that could know of the last committed checkpoint has been asked; older ones may be deleted.

        If too many of its holders are away, the run repeats its ticks, which overwrites the states of the others: then
        no run can resume from that checkpoint any more, even if all holders come back.
        """
        placed = self.runs[run.number, view.epoch].placed
        checkpoints = self.checkpoints.get(run.number, {})
        tick = max((tick for tick, disks in checkpoints.items() if len(disks) == len(placed)), default=0)
        if tick > run.resumed:
            disks = checkpoints[tick]
            lost = [p for p, having in disks.items() if not any(self._has(view, *disk) for disk in having)]
            assert lost, f"{run.name} goes on after tick {run.resumed}, and {tick} was committed: {disks}"
            self.counts["checkpoints out of reach"] += 1
            self.checkpoints[run.number] = {at: held for at, held in checkpoints.items() if at <= run.resumed}

    def _disks(self, view: View) -> dict[str, tuple[int, int]]:
        return {name: self.hosts[name].disk.identity for name in view.names if name in self.hosts}

    def _has(self, view: View, name: str, disk: tuple[int, int]) -> bool:
        return name in view.names and self.hosts[name].disk.identity == disk

    def begins(self, shard: str, epoch: int, machine: TickMachine) -> None:
        """A shard's tick plane begins a run."""
        watch = self.runs[machine.run, epoch]
        assert (machine.barrier.members, machine.tick) == (watch.members, watch.resumed), f"{shard} begins another run"

    def started(self, shard: str, epoch: int, effect: RunPhase) -> None:
        """A shard begins a phase."""
        watch = self.runs[effect.run, epoch]
        place = watch.place(effect)
        assert watch.finished.get(shard, 0) == place, f"{shard} skips from {watch.finished.get(shard, 0)} to {place}"
        early = [member for member in watch.members if watch.finished.get(member, 0) < place]
        told = f"{effect.phase.word} of tick {effect.tick} of run {effect.run}"
        assert not early, f"{shard} starts {told}, and {', '.join(early)} has not come so far"

    def finished(self, shard: str, epoch: int, effect: RunPhase) -> None:
        """A shard has finished a phase."""
        watch = self.runs[effect.run, epoch]
        watch.finished[shard] = watch.place(effect) + 1

    def stores(self, shard: str, epoch: int, run: int, tick: int, states: Mapping[int, Any]) -> None:
        """A shard is about to store states: its own or, as a replica, others'."""
        self._match_bits(shard, run, tick, states)
        placed = self.runs[run, epoch].placed
        if any(placed[partition][0] == shard for partition in states):
            self._held.add((shard, epoch, run, tick))

    def fetched(self, shard: str, run: int, tick: int, states: Mapping[int, Any]) -> None:
        """States have arrived from another shard's disk."""
        self._match_bits(shard, run, tick, states)

    def committed(self, shard: str, epoch: int, run: int, tick: int, engine: Engine) -> None:
        """A shard has seen a tick committed."""
        self._match_bits(shard, run, tick, engine.capture())
        if (shard, epoch, run, tick) in self._held:
            partitions = range(len(self.runs[run, epoch].placed))
            self._match_disks(run, epoch, tick, partitions)

    def _has_come_to(self, name: str, run: int, tick: int, partition: int, is_late: bool) -> bool:
        """A shard that was paused may commit a tick that others, in a later view, have replaced by a newer one."""
        held = self.hosts[name].disk.ticks_held(run)
        return any((kept == tick or (is_late and kept > tick)) and partition in held[kept] for kept in held)

    def _has_dropped(self, name: str, run: int) -> bool:
        """Whether a host's log has dropped the run with its graph, which a slower shard may still be executing."""
        return self.records[run].name in self.hosts[name].shard.registry.dropped

    def _match_bits(self, shard: str, run: int, tick: int, states: Mapping[int, Any]) -> None:
        expected = self._twin.states(self.records[run], tick)
        if expected is not None:
            wrong = [partition for partition, state in states.items() if bytes(state) != expected[partition]]
            assert not wrong, f"{shard}: tick {tick} of run {run} is not what one engine makes of it: {wrong}"

    def _match_disks(self, run: int, epoch: int, tick: int, partitions: Sequence[int]) -> None:
        """Every holder has it, on a synced disk; except disks that have been replaced since."""
        known = self.checkpoints.setdefault(run, {}).setdefault(tick, {})
        is_late = epoch < max(seen for number, seen in self.runs if number == run)
        placed = self.runs[run, epoch].placed
        replaced = {
            name for name, number in self.runs[run, epoch].disks.items() if number != self.hosts[name].disk.identity
        }
        for partition in partitions:
            having = frozenset(
                (name, self.hosts[name].disk.identity)
                for name in placed[partition]
                if self._has_come_to(name, run, tick, partition, is_late)
            )
            lacking = set(placed[partition]) - {name for name, _ in having} - replaced
            lacking = {name for name in lacking if not self._has_dropped(name, run)}
            assert not lacking, f"tick {tick} of run {run} is committed, and {lacking} has not partition {partition}"
            known[partition] = known.get(partition, frozenset()) | having

    def over(self, shard: str, epoch: int, effect: RunOver) -> None:
        """A run has ended on a shard by itself, not because of the log."""
        watch = self.runs[effect.run, epoch]
        assert shard not in watch.over, f"run {effect.run} is over twice at {shard}"
        for other, said in watch.over.items():
            agreed = (said.tick, said.outcome) == (effect.tick, effect.outcome)
            assert agreed, f"run {effect.run}: {shard} ends {effect.outcome} after tick {effect.tick}, {other}: {said}"
        watch.over[shard] = effect
        if effect.outcome != FAILED and effect.tick > 0:
            self._match_disks(effect.run, epoch, effect.tick, watch.own(shard))

    def ended(self, run: RunRecord) -> None:
        """The log says that a run is over."""
        known = self.records.get(run.number)
        is_told_late = with_its_graph(run) == run or (known is not None and with_its_graph(known) == known)
        if known is not None and known.is_over and not is_told_late:  # an absent shard learns only of its graph's end
            assert (known.state, known.tick) == (run.state, run.tick), f"{run.name} has two ends"
        self.records[run.number] = run
