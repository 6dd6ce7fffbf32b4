"""Checks after the faults have ended: one cluster, every run over with the right bits, every copy in place."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from daemon.control.plane import ControlPlane
from daemon.services.known import Known
from daemon.services.results.readings import PATIENCE_SECONDS, Readings
from daemon.services.results.results import Rows
from daemon.state.records import COMPLETED, STOPPED, RunRecord
from tests.simulator.host import Host, SimDaemon
from tests.simulator.jobs import Job
from tests.simulator.programs import CUT_ANYWHERE, make, restored
from tests.simulator.world import MS, SECOND

if TYPE_CHECKING:
    from tests.simulator.cluster import Cluster

RECOVER_NS, RUN_NS = 120 * SECOND, 120 * SECOND
READ_NS = int((PATIENCE_SECONDS + 10) * SECOND)
TICKS_MAX = 1_000


class Recovery:
    """The checks of one cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def check(self) -> None:
        """The faults have ended: within bounded time one leader and one membership emerge, and every run has ended."""
        self._cluster.faults.heal()
        assert self._cluster.world.run_until(self._is_one, RECOVER_NS, 250 * MS), (
            f"no single cluster: {self._cluster.told()}"
        )
        over = self._cluster.world.run_until(lambda: not self._active(), RUN_NS, 250 * MS)
        assert over, f"runs {self._active()} do not end: {self._cluster.told()}"
        mended = self._cluster.world.run_until(self._is_whole, RUN_NS, 250 * MS)
        assert mended, f"copies are missing: {self._missing()}; {self._cluster.told()}"
        self._cluster.world.run(SECOND)
        patience = max(0, self._held_back_until() - self._cluster.world.now) + 5 * SECOND
        assert self._cluster.world.run_until(self._is_one, patience), f"it falls apart again: {self._cluster.told()}"
        mended = self._cluster.world.run_until(self._is_whole, RUN_NS, 250 * MS)  # a last view may have moved something
        assert mended, f"copies are missing: {self._missing()}; {self._cluster.told()}"
        self._check_reads()
        for host in self._cluster.members():
            _check_rest(host)
        assert self._cluster.world.run_until(lambda: not self._left_over(), 5 * SECOND), (
            f"left over: {self._left_over()}"
        )
        registry = self._cluster.registry()
        assert registry is not None
        lost = [run for run in self._cluster.acknowledged if run not in registry.runs and run not in registry.dropped]
        assert not lost, f"runs {lost} were acknowledged and are not known"

    def _check_reads(self) -> None:
        """Checks that every member can be read."""
        asked = {self._cluster.read(host): host for host in self._cluster.members()}

        def are_answered() -> bool:
            answers = [host.diary.answers.get(request) for request, host in asked.items()]
            return all(answer is not None and not answer.error for answer in answers)

        assert self._cluster.world.run_until(are_answered, 5 * SECOND, MS), (
            f"not all can be read: {self._cluster.told()}"
        )

    def _is_one(self) -> bool:
        running, members = self._cluster.running(), self._cluster.members()
        lives = [(host.name, host.generation) for host in running]
        leaders = {host.shard.leader for host in members}
        return (
            not self._cluster.faults.expected()
            and not any(host.paused for host in running)
            and len(leaders) == 1
            and leaders != {None}
            and sum(_leads(host.shard) for host in members) == 1
            and all([(r.name, r.generation) for r in host.shard.membership.live()] == lives for host in running)
            and len({host.shard.applied_index for host in members}) == 1
            and self._is_in_view(running)
        )

    def _held_back_until(self) -> int:
        """Returns when the last shard that was held back for returning too often is let into the view."""
        held = [host.shard.held_back for host in self._cluster.members()]
        return max((until for shards in held for _, until in shards.values()), default=0)

    def _is_in_view(self, running: list[Host]) -> bool:
        """Whether every running host is a member, unless it is being drained."""
        registry = self._cluster.registry()
        return registry is not None and all(host.shard.in_view or host.name in registry.draining for host in running)

    def _is_whole(self) -> bool:
        registry = self._cluster.registry()
        assert registry is not None
        graphs = registry.graphs.items()
        return all(registry.placements[name] == registry.ideal(graph) for name, graph in graphs) and not self._missing()

    def _missing(self) -> list[tuple[str, int, str]]:
        """Returns results that a holder of their partition lacks: run, partition, holder."""
        registry = self._cluster.registry()
        assert registry is not None
        return [
            (run.name, partition, name)
            for run in registry.runs.values()
            if run.has_result
            for partition, holders in enumerate(registry.placements.get(run.graph, ()))
            for name in holders
            if not self._cluster.hosts[name].disk.has_state(run.number, run.tick, partition)
        ]

    def _left_over(self) -> list[tuple[str, str]]:
        """Returns what members keep of graphs and runs that are gone: host, and what."""
        found = []
        for host in self._cluster.members():
            disk, registry = host.disk, host.shard.registry
            kept = {run.number for run in registry.kept_results()}
            found += [(host.name, f"run {run}") for run in disk.states_held() if run not in kept]
            found += [(host.name, load) for load in disk.loads() if registry.graph_of(load) is None]
        return found

    def _active(self) -> list[str]:
        known = [host.shard.registry.runs.values() for host in self._cluster.members()]
        return sorted({run.name for runs in known for run in runs if not run.is_over})

    def check_result(self, record: RunRecord) -> None:
        """Compares the states on all holders' disks with those of a single engine."""
        assert record.state in (COMPLETED, STOPPED), record
        registry, states = self._cluster.registry(), dict[int, bytes]()
        assert registry is not None
        for partition, holders in enumerate(registry.placements[record.graph]):
            found = {self._cluster.hosts[name].disk.state(record.number, record.tick, partition) for name in holders}
            assert len(found) == 1, f"{record.name}: the holders of partition {partition} differ"
            state = found.pop()
            assert state is not None, f"{record.name}: the result of partition {partition} is lost"
            states[partition] = state
        program = make(record.program, record.params)
        ends_by_itself = record.program not in CUT_ANYWHERE  # and on one shard sooner than on many
        ticks, expected = self._cluster.twin.end(program, TICKS_MAX if ends_by_itself else record.tick)
        assert ticks == record.tick or ends_by_itself, f"{record.name} did {record.tick} ticks, one engine {ticks}"
        assert restored(self._cluster.graph, make(record.program, record.params), record.tick, states) == expected, (
            record
        )

    def check_reading(self, record: RunRecord, host: Host) -> None:
        """Compares the result that any member assembles for an operator with that of a single engine."""
        cluster = self._cluster
        nodes = cluster.graph.data.node_count

        async def read(daemon: SimDaemon) -> Rows:
            s, context = daemon.services, daemon.context

            async def attempt(run: RunRecord, tick: int) -> Rows:
                await s.reading.recall(run.name, tick)
                view = context.state.registry.view
                assert view is not None
                return await s.results.stretch(run.name, tick, run.columns, view.names, 0, nodes, nodes)

            readings = Readings(context, Known(context), s.results, s.reading, s.runs, s.programs)
            return await readings.read(record, None, attempt)

        job = Job(host, read)
        assert cluster.world.run_until(lambda: job.is_over, READ_NS, MS), f"{host.name} does not read {record.name}"
        assert job.is_done, f"{host.name} can't read {record.name}: {job.error}"
        ends_by_itself = record.program not in CUT_ANYWHERE
        program = make(record.program, record.params)
        _, expected = cluster.twin.end(program, TICKS_MAX if ends_by_itself else record.tick)
        assert isinstance(job.result, Rows)
        places = {column.name: place for place, column in enumerate(type(program).columns)}
        for column, values in job.result.values.items():
            bits = [expected[node][places[column]] for node in range(nodes)]
            assert values.view(np.int64).tolist() == bits, f"{host.name} reads other values of {record.name}, {column}"


def _check_rest(host: Host) -> None:
    """Checks that without active runs nothing is kept or sent about any.

    Early messages are an exception: a host that was partitioned while a run began and ended learns of it by a snapshot,
    which does not announce it; they are discarded when the next run begins.
    """
    shard, plane = host.shard, host.runner.plane
    kept = (shard._leading.kept, plane.runs, host.runner.engines, host.runner.held)
    assert not any(kept), f"{host.name} keeps {kept}"
    assert (shard.progress.deadline, shard.pacing.deadline) == (None, None), f"{host.name} still speaks of runs"


def _leads(shard: ControlPlane) -> bool:
    return shard.raft is not None and shard.raft.is_leader


def describe(host: Host) -> str:
    shard = host.shard
    live = ",".join(f"{record.name}/{record.generation}" for record in shard.membership.live())
    raft = shard.raft
    consensus = f"term {raft.term} {raft.role.name} of {raft.leader}" if raft else "no consensus"
    doing = " ".join(f"{n}:{machine.doing()}" for n, machine in host.runner.plane.runs.items())
    view = shard.registry.view
    told = f"{view.epoch}: {', '.join(map(str, view.members))}" if view else "none"
    runs = " ".join(f"{run.name}@{run.epoch}" for run in shard.registry.runs.values() if run.active)
    return (
        f"{host.identity} ({consensus}, applied {shard.applied_index}, view {told}, live {live}, runs {runs}, "
        f"machines {doing or 'none'}, lost {[shard.registry.lost(name) for name in shard.registry.graphs]})"
    )
