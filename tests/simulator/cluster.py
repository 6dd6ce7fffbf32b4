"""A cluster of simulated hosts, with what a scenario asks of it and what is asked of it once the faults have ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from daemon.control.effects import Answered
from daemon.control.plane import ControlPlane
from daemon.control.settings import ShardSettings
from daemon.control.voters import server_of
from daemon.membership.config import MembershipConfig
from daemon.state import Registry
from daemon.state.commands import AddGraph, Decision, Drain, DropGraph, StartRun, StopRun
from daemon.state.placement import ideal
from daemon.state.records import COMPLETED, STOPPED, RunRecord
from daemon.transfer.chunks import LoadLimits
from shoal.lockstep.timing import TickTiming
from tests.simulator.disk import Contents
from tests.simulator.faults import Faults
from tests.simulator.host import Host, Surroundings, address
from tests.simulator.invariants import Invariants
from tests.simulator.network import Network
from tests.simulator.programs import CUT_ANYWHERE, PARTITIONS, PROGRAMS, SmallGraph, Twin, make, restored
from tests.simulator.world import MS, SECOND, World

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
GRAPH = "small"
TICKS_MAX = 1_000
FORM_NS, RECOVER_NS, RUN_NS = 60 * SECOND, 120 * SECOND, 120 * SECOND

QUICK = MembershipConfig(push_pull_interval_ns=5 * SECOND, reconnect_interval_ns=3 * SECOND)
SLOW = MembershipConfig(
    # memberlist's numbers: so a leader can be cut off for long enough to lose an election, and not be taken for dead
    probe_interval_ns=SECOND,
    probe_timeout_ns=500 * MS,
    pause_tolerance_ns=500 * MS,
    suspicion_max_mult=6,
    suspicion_confirmations=3,
    retransmit_mult=4,
    gossip_interval_ns=200 * MS,
    push_pull_interval_ns=5 * SECOND,
    reconnect_interval_ns=5 * SECOND,
)
SETTINGS = ShardSettings(
    virtual_nodes=20,
    snapshot_entries=8,  # so that logs are compacted and followers get snapshots in the short life of a scenario
    absent_patience_ns=4 * SECOND,
    flap_patience_ns=2 * SECOND,
    surplus_grace_ns=4 * SECOND,
    membership=QUICK,
)
TIMING = TickTiming(resend_interval_ns=200 * MS, phase_timeout_ns=1 * SECOND)
LOAD_LIMITS = LoadLimits(chunk_bytes=4096, window=4, resend_interval_ns=200 * MS, idle_timeout_ns=10 * SECOND)


class Cluster:
    """Some hosts in one world; the last `spare` of them are not started with the others."""

    def __init__(
        self,
        seed: int,
        size: int,
        *,
        expect: int | None = None,
        spare: int = 0,
        replicas: int = 2,
        membership: MembershipConfig = QUICK,
        verbose: bool = False,
    ) -> None:
        self.world = World(seed, verbose)
        self.network = Network(self.world)
        self.graph = SmallGraph.draw(self.world.random("graph"))
        self.twin = Twin(self.graph)
        self.invariants = Invariants(self.twin)
        self.names = NAMES[: size + spare]
        self.founders = NAMES[:size]
        around = Surroundings(
            world=self.world,
            network=self.network,
            invariants=self.invariants,
            graph=self.graph,
            settings=replace(
                SETTINGS,
                expect=expect or size,
                is_authenticated=bool(seed % 2),  # nobody forges anything here, but lives are taken otherwise
                replicas=replicas,
                membership=membership,
            ),
            timing=TIMING,
            checkpoint_interval_ns=300 * MS,
            load_limits=LOAD_LIMITS,
            seeds=tuple(address(name) for name in self.founders),
        )
        self.hosts = {name: Host(name, around) for name in self.names}
        self.invariants.hosts = self.hosts
        self.faults = Faults(self.world, self.network, self.hosts, self.may_lose, self.propose_somewhere)
        self.acknowledged: list[str] = []
        self._random = self.world.random("cluster")
        self._requests = self._runs_asked = self._loads = 0

    # -- read ------------------------------------------------------------------------------------------------------

    def running(self) -> list[Host]:
        """Hosts that are up, paused ones too."""
        return [self.hosts[name] for name in self.names if self.hosts[name].running]

    def members(self) -> list[Host]:
        """Hosts that are up in the very life that the view has."""
        return [host for host in self.running() if host.shard.in_view]

    def leader(self) -> Host | None:
        """Who leads the highest term."""
        leading = [host for host in self.members() if host.shard.raft is not None and host.shard.raft.is_leader]
        return max(leading, key=lambda host: host.shard.raft.term if host.shard.raft else 0, default=None)

    def registry(self) -> Registry | None:
        """The newest one of any that runs."""
        newest = max(self.running(), key=lambda host: host.shard.applied_index, default=None)
        return newest.shard.registry if newest is not None else None

    def record(self, run: str) -> RunRecord:
        """A run as the newest registry has it."""
        registry = self.registry()
        assert registry is not None
        assert run in registry.runs, f"{run} is not known"
        return registry.runs[run]

    def is_over(self, *runs: str) -> bool:
        """Whether all members that are up know that the runs have ended."""
        registries = [host.shard.registry.runs for host in self.members()]
        return bool(registries) and all(run in known and known[run].is_over for known in registries for run in runs)

    def is_settled(self) -> bool:
        """Whether the view is all that run and stay, and each partition is where the ring wants it."""
        registry = self.registry()
        if registry is None or registry.view is None:
            return False
        staying = [host for host in self.running() if host.name not in registry.draining]
        if registry.view.members != tuple(host.identity for host in staying):
            return False
        placed = all(registry.placements[name] == registry.ideal(graph) for name, graph in registry.graphs.items())
        return placed and all(host.shard.registry.epoch == registry.epoch for host in staying)

    def may_lose(self, name: str) -> bool:
        """Whether the others have all that is to be kept, and a majority, without this one: no more is promised."""
        registry, leader = self.registry(), self.leader()
        if registry is None or leader is None or leader.shard.raft is None or not self.is_settled():
            return False
        kept = {
            other: host.disk for other, host in self.hosts.items() if other not in self.faults.gone and other != name
        }
        servers = {server_of(other, disk.number) for other, disk in kept.items()}
        voters = leader.shard.raft.configuration.voters
        if len(servers.intersection(voters)) <= len(voters) // 2 or len(self.members()) < 2:
            return False
        for run in registry.runs.values():
            last = max(self.invariants.checkpoints.get(run.number, {}), default=0) if run.active else run.tick
            for partition in range(PARTITIONS if last else 0):
                if not any(disk.contents.state(run.number, last, partition) is not None for disk in kept.values()):
                    return False
        return True

    # -- orders ----------------------------------------------------------------------------------------------------

    def form(self) -> None:
        """Start the founders within half a second; wait for the first view and one graph."""
        for name in self.founders:
            self.world.after(self._random.randrange(500 * MS), self.hosts[name].start)
        formed = self.world.run_until(lambda: len(self.members()) == len(self.founders), FORM_NS)
        assert formed, f"no view within {FORM_NS // SECOND} s: {self.told()}"
        self.load()

    def load(self) -> None:
        """Load the graph; again if the view changes meanwhile."""
        for _ in range(20):
            self._loads += 1
            if self._load(f"load-{self._loads}"):
                return
        raise AssertionError(f"the graph can't be loaded: {self.told()}")

    def replace_graph(self) -> None:
        """The daily refresh: the graph is dropped, whatever runs on it, and loaded again."""
        self.until_decided(
            lambda request: DropGraph(request, GRAPH, self._load_now(), by_force=True), "no graph is called"
        )
        self.load()

    def _load_now(self) -> str:
        """Of the graph, as far as anybody knows."""
        registry = self.registry()
        return registry.graphs[GRAPH].load if registry is not None and GRAPH in registry.graphs else ""

    def _load(self, load: str) -> bool:
        """As the daemon does it: every member has its partitions on disk before the log is asked."""
        view, written = self.members()[0].shard.registry.view, list[str]()
        assert view is not None
        placed = ideal(view.names, view.virtual_nodes, PARTITIONS, view.replicas)
        for host in [self.hosts[name] for name in view.names if self.hosts[name].running]:
            mine = [partition for partition, holders in enumerate(placed) if host.name in holders]
            host.disk.write(partial(Contents.gain, load=load, partitions=mine), partial(written.append, host.name))
        if self.world.run_until(lambda: len(written) == len(view.names), 5 * SECOND, 10 * MS):
            added = AddGraph(self.request(), GRAPH, load, view.epoch, 1, 1, PARTITIONS, 0, "int", (), ())
            answer = self._ask(self._random.choice(self.members()), added, 40 * SECOND)
            if answer is not None and not answer.error:
                return True
            if answer is None or not answer.decided:
                return False  # the log may still come to say yes: nothing is dropped but by its no
            is_there = "is loaded already" in answer.error  # of an earlier attempt that was not answered
        else:
            is_there = False
        for host in self.running():
            host.disk.write(partial(Contents.drop, load=load, partitions=None))
        return is_there

    def request(self) -> str:
        """A name for something asked for."""
        self._requests += 1
        return f"request-{self._requests}"

    def propose(self, host: Host, decision: Decision) -> None:
        """From a member, which sends it again until the log has it or half a minute is over."""
        self.world.tell(f"{host.name} proposes {decision}")
        now, shard = self.world.now, host.shard
        host.control(lambda: host.perform(shard.propose(decision, now + 30 * SECOND, self.world.now)))

    def propose_somewhere(self, make_decision: Callable[[str], Decision]) -> None:
        """Propose by some member, if there is one; what comes of it is not waited for."""
        well = [host for host in self.members() if host.well]
        if well:
            self.propose(self._random.choice(well), make_decision(self.request()))

    def until_decided(
        self, make_decision: Callable[[str], Decision], but: str = "no answer", limit: int = 120 * SECOND
    ) -> str:
        """Propose by some member, by another one if that is lost, until the log has it; the name that it got.

        That it was declined with the words `but` may mean that it was decided before.
        """
        end = self.world.now + limit
        while self.world.now < end:
            well = [host for host in self.members() if host.well]
            if not well:
                self.world.run(100 * MS)
                continue
            answer = self._ask(self._random.choice(well), make_decision(self.request()), end - self.world.now)
            if answer is not None and not answer.error:
                return answer.name
            if answer is not None and "is halted" in answer.error:
                self.world.run(SECOND)
                continue
            if answer is not None and answer.decided and but in answer.error:
                return ""
            assert answer is None or "no answer" in answer.error, answer
        raise AssertionError(f"nobody decides: {self.told()}")

    def _ask(self, host: Host, decision: Decision, limit: int) -> Answered | None:
        life = host.generation
        self.propose(host, decision)
        self.world.run_until(lambda: _is_settled(host, life, decision.request), limit)
        return host.diary.answers.get(decision.request)

    def start_run(
        self,
        program: str,
        ticks: int,
        params: Mapping[str, Any] | None = None,
        *,
        interval_ns: int = 0,
        paced: bool = False,
        checkpoint_ticks: int = 1,
        runs_max: int = 0,
    ) -> str:
        """Start a run; its name. If `runs_max` go on, it waits for its turn."""

        def decide(request: str) -> StartRun:
            self._runs_asked += 1
            asked = start_run(
                request, self._load_now(), program, ticks, params or {}, interval_ns, paced, checkpoint_ticks
            )
            return replace(asked, runs_max=runs_max, may_queue=runs_max > 0)

        run = self.until_decided(decide)
        self.acknowledged.append(run)
        return run

    def stop_run(self, run: str) -> None:
        """Ask for a run's end."""
        self.until_decided(lambda request: StopRun(request, run))

    def drain(self, name: str, limit: int = 60 * SECOND) -> bool:
        """Have a shard left out of the view, once others hold what it holds; whether that came to be in time."""
        self.until_decided(lambda request: Drain(request, name, True))
        host = self.hosts[name]
        return self.world.run_until(lambda: not host.running or not host.shard.in_view, limit)

    def chatter(self, duration: int) -> None:
        """Let members propose small things for a while, whoever leads: what is cut off then has a log of its own."""
        end = self.world.now + duration
        well = [host for host in self.members() if host.well]
        if well:
            self.propose(self._random.choice(well), StopRun(self.request(), "nothing"))
            self.read(self._random.choice(well))
        delay = self._random.randint(50 * MS, 800 * MS)
        if self.world.now + delay < end:
            self.world.after(delay, lambda: self.chatter(end - self.world.now))

    def read(self, host: Host) -> str:
        """Have a host catch up with what all others may have told; the request's name."""
        request = self.request()

        def read() -> None:
            self.invariants.asked(request)
            host.perform(host.shard.read(request, self.world.now + 3 * SECOND, self.world.now))

        host.control(read)
        return request

    # -- afterwards ------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Faults are over: within bounded time one leader and one membership emerge, and every run has ended."""
        self.faults.heal()
        assert self.world.run_until(self._is_one, RECOVER_NS, 250 * MS), f"no single cluster: {self.told()}"
        over = self.world.run_until(lambda: not self._active(), RUN_NS, 250 * MS)
        assert over, f"runs {self._active()} do not end: {self.told()}"
        mended = self.world.run_until(self._is_whole, RUN_NS, 250 * MS)
        assert mended, f"copies are missing: {self._missing()}; {self.told()}"
        self.world.run(SECOND)
        patience = max(0, self._held_back_until() - self.world.now) + 5 * SECOND
        assert self.world.run_until(self._is_one, patience), f"it falls apart again: {self.told()}"
        mended = self.world.run_until(self._is_whole, RUN_NS, 250 * MS)  # a last view may have moved something
        assert mended, f"copies are missing: {self._missing()}; {self.told()}"
        self._check_reads()
        for host in self.members():
            _check_rest(host)
        assert self.world.run_until(lambda: not self._left_over(), 5 * SECOND), f"left over: {self._left_over()}"
        registry = self.registry()
        assert registry is not None
        lost = [run for run in self.acknowledged if run not in registry.runs and run not in registry.dropped]
        assert not lost, f"runs {lost} were acknowledged and are not known"

    def _check_reads(self) -> None:
        """Every member can be read."""
        asked = {self.read(host): host for host in self.members()}

        def are_answered() -> bool:
            answers = [host.diary.answers.get(request) for request, host in asked.items()]
            return all(answer is not None and not answer.error for answer in answers)

        assert self.world.run_until(are_answered, 5 * SECOND, MS), f"not all can be read: {self.told()}"

    def _is_one(self) -> bool:
        running, members = self.running(), self.members()
        lives = [(host.name, host.generation) for host in running]
        leaders = {host.shard.leader for host in members}
        return (
            not self.faults.expected()
            and len(leaders) == 1
            and leaders != {None}
            and sum(_leads(host.shard) for host in members) == 1
            and all([(r.name, r.generation) for r in host.shard.membership.live()] == lives for host in running)
            and len({host.shard.applied_index for host in members}) == 1
            and self._is_in_view(running)
        )

    def _held_back_until(self) -> int:
        """When the last shard that has come and gone too often is let into the view."""
        held = [host.shard._following.leading.views.held_back for host in self.members()]
        return max((until for shards in held for _, until in shards.values()), default=0)

    def _is_in_view(self, running: list[Host]) -> bool:
        """Whoever runs is a member, unless it is being drained."""
        registry = self.registry()
        return registry is not None and all(host.shard.in_view or host.name in registry.draining for host in running)

    def _is_whole(self) -> bool:
        registry = self.registry()
        assert registry is not None
        graphs = registry.graphs.items()
        return all(registry.placements[name] == registry.ideal(graph) for name, graph in graphs) and not self._missing()

    def _missing(self) -> list[tuple[str, int, str]]:
        """Results that a holder of their partition does not have: run, partition, holder."""
        registry = self.registry()
        assert registry is not None
        return [
            (run.name, partition, name)
            for run in registry.runs.values()
            if run.has_result
            for partition, holders in enumerate(registry.placements.get(run.graph, ()))
            for name in holders
            if self.hosts[name].disk.contents.state(run.number, run.tick, partition) is None
        ]

    def _left_over(self) -> list[tuple[str, str]]:
        """What members keep of graphs and runs that are gone: who, and what."""
        found = []
        for host in self.members():
            contents, registry = host.disk.contents, host.shard.registry
            kept = {run.number for run in registry.kept_results()}
            found += [(host.name, f"run {run}") for run in contents.states if contents.states[run] and run not in kept]
            found += [(host.name, load) for load in contents.held if registry.graph_of(load) is None]
        return found

    def _active(self) -> list[str]:
        known = [host.shard.registry.runs.values() for host in self.members()]
        return sorted({run.name for runs in known for run in runs if not run.is_over})

    def check_runs(self, runs: Iterable[str] | None = None) -> None:
        """Each run is completed, or stopped, with the bits of one engine alone; and no request has started two."""
        registry = self.registry()
        assert registry is not None
        assert registry.runs_begun <= self._runs_asked, f"{registry.runs_begun} runs of {self._runs_asked} requests"
        for name in registry.runs if runs is None else runs:
            self.check_result(self.record(name))

    def check_result(self, record: RunRecord) -> None:
        """What is on the disks of the holders, all together, against one engine."""
        assert record.state in (COMPLETED, STOPPED), record
        registry, states = self.registry(), dict[int, bytes]()
        assert registry is not None
        for partition, holders in enumerate(registry.placements[record.graph]):
            found = {self.hosts[name].disk.contents.state(record.number, record.tick, partition) for name in holders}
            assert len(found) == 1, f"{record.name}: the holders of partition {partition} differ"
            state = found.pop()
            assert state is not None, f"{record.name}: the result of partition {partition} is lost"
            states[partition] = state
        program = make(record.program, record.params)
        ends_by_itself = record.program not in CUT_ANYWHERE  # and on one shard sooner than on many
        ticks, expected = self.twin.end(program, TICKS_MAX if ends_by_itself else record.tick)
        assert ticks == record.tick or ends_by_itself, f"{record.name} did {record.tick} ticks, one engine {ticks}"
        assert restored(self.graph, make(record.program, record.params), record.tick, states) == expected, record

    def told(self) -> str:
        """Where everyone is, in words."""
        return "; ".join(_describe(host) for host in self.running())


def start_run(
    request: str,
    load: str,
    program: str,
    ticks: int,
    params: Mapping[str, Any],
    interval_ns: int = 0,
    paced: bool = False,
    checkpoint_ticks: int = 1,
) -> StartRun:
    """The decision to start a run of one of the simulator's programs."""
    cls = PROGRAMS[program]
    return StartRun(
        request=request,
        program=program,
        graph=GRAPH,
        load=load,
        params=tuple(sorted((name, json.dumps(value)) for name, value in params.items())),
        ticks=ticks,
        interval_ns=interval_ns,
        paced=paced,
        phases=sum(1 << phase for phase in cls.phases()),
        columns=tuple(column.name for column in cls.columns if not column.hidden),
        started_unix_ns=0,
        checkpoint_ticks=checkpoint_ticks,
    )


def _is_settled(host: Host, life: int, request: str) -> bool:
    """The request is answered, or whoever asked is gone."""
    return request in host.diary.answers or not host.running or host.generation != life


def _check_rest(host: Host) -> None:
    """With no run going on, nothing is kept or said of any.

    But for early messages: of a run that began and ended while this host was cut off it hears by a snapshot, which does
    not announce it; they make room when the next run begins.
    """
    shard, plane = host.shard, host.runner.plane
    kept = (shard._following.leading.kept, plane.runs, host.runner.engines, host.runner.held)
    assert not any(kept), f"{host.name} keeps {kept}"
    assert (shard.progress.deadline, shard.pacing.deadline) == (None, None), f"{host.name} still speaks of runs"


def _leads(shard: ControlPlane) -> bool:
    return shard.raft is not None and shard.raft.is_leader


def _describe(host: Host) -> str:
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
