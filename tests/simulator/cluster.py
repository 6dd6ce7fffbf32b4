"""A cluster of simulated hosts, the orders that a scenario gives it, and the checks once the faults have ended."""

from __future__ import annotations

import atexit
import json
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

from msgspec import structs

from daemon.control.effects import Answered
from daemon.control.proposals import NO_ANSWER
from daemon.control.settings import ShardSettings
from daemon.control.voters import server_of
from daemon.membership.config import MembershipConfig
from daemon.services.graphs.load import Loading
from daemon.state import Registry
from daemon.state.commands import Drain, DropGraph, StartRun, StopRun
from daemon.state.machine import Command
from daemon.state.records import RunRecord
from daemon.transfer.chunks import LoadLimits
from shoal.lockstep.timing import TickTiming
from tests.simulator.faults import Faults
from tests.simulator.host import Host, SimDaemon, Surroundings
from tests.simulator.interposed import Interposed
from tests.simulator.invariants import Invariants
from tests.simulator.jobs import Job, tell_nobody
from tests.simulator.network import Network
from tests.simulator.programs import PARTITIONS, PROGRAMS, SmallGraph, Twin
from tests.simulator.recovery import Recovery, describe
from tests.simulator.world import MS, SECOND, World

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
GRAPH = "small"
TICKS_MAX = 1_000
FORM_NS = 60 * SECOND
IN_MEMORY = Path("/dev/shm")

QUICK = MembershipConfig(push_pull_interval_ns=5 * SECOND, reconnect_interval_ns=3 * SECOND)
SLOW = MembershipConfig(
    # memberlist's numbers: a partitioned leader can lose an election before it is considered dead
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
    snapshot_entries=8,  # so that logs are compacted and followers get snapshots within a scenario's short time
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
        self.world.process = Interposed(self.world)
        self._folder = Path(mkdtemp(prefix="sim", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
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
            settings=replace(
                SETTINGS,
                expect=expect or size,
                is_authenticated=bool(seed % 2),  # nobody forges messages here, but this changes how lives are accepted
                replicas=replicas,
                membership=membership,
            ),
            timing=TIMING,
            checkpoint_interval_ns=300 * MS,
            load_limits=LOAD_LIMITS,
            seeds=self.founders,
            folder=self._folder,
        )
        self.hosts = {name: Host(name, around) for name in self.names}
        _in_place_of_the_last(self)
        self.invariants.hosts = self.hosts
        self.faults = Faults(self.world, self.network, self.hosts, self.may_lose, self.propose_somewhere)
        self.acknowledged: list[str] = []
        self._random = self.world.random("cluster")
        self._requests = self._runs_asked = 0

    def close(self) -> None:
        """Ends all lives and deletes everything; what is in memory can still be read."""
        for host in self.hosts.values():
            host.end()
        shutil.rmtree(self._folder, ignore_errors=True)

    # -- read ------------------------------------------------------------------------------------------------------

    def running(self) -> list[Host]:
        """Returns the hosts that are up, including paused ones."""
        return [self.hosts[name] for name in self.names if self.hosts[name].running]

    def members(self) -> list[Host]:
        """Returns the hosts that are up in the same life as in the view."""
        return [host for host in self.running() if host.shard.in_view]

    def leader(self) -> Host | None:
        """Returns the leader of the highest term."""
        leading = [host for host in self.members() if host.shard.raft is not None and host.shard.raft.is_leader]
        return max(leading, key=lambda host: host.shard.raft.term if host.shard.raft else 0, default=None)

    def registry(self) -> Registry | None:
        """Returns the newest registry of all running hosts."""
        newest = max(self.running(), key=lambda host: host.shard.applied_index, default=None)
        return newest.shard.registry if newest is not None else None

    def record(self, run: str) -> RunRecord:
        """Returns a run as in the newest registry."""
        registry = self.registry()
        assert registry is not None
        assert run in registry.runs, f"{run} is not known"
        return registry.runs[run]

    def is_over(self, *runs: str) -> bool:
        """Whether all members that are up know that the runs have ended."""
        registries = [host.shard.registry.runs for host in self.members()]
        return bool(registries) and all(run in known and known[run].is_over for known in registries for run in runs)

    def is_settled(self) -> bool:
        """Whether the view has exactly the hosts that run and stay, and each partition is where the ring places it."""
        registry = self.registry()
        if registry is None or registry.view is None:
            return False
        staying = [host for host in self.running() if host.name not in registry.draining]
        if registry.view.members != tuple(host.identity for host in staying):
            return False
        placed = all(registry.placements[name] == registry.ideal(graph) for name, graph in registry.graphs.items())
        return placed and all(host.shard.registry.epoch == registry.epoch for host in staying)

    def may_lose(self, name: str) -> bool:
        """Whether the others, without this one, have a majority and all data to be kept: no more is promised."""
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
                if not any(disk.has_state(run.number, last, partition) for disk in kept.values()):
                    return False
        return True

    # -- orders ----------------------------------------------------------------------------------------------------

    def form(self) -> None:
        """Starts the founders within half a second; waits for the first view and one graph."""
        for name in self.founders:
            self.world.after(self._random.randrange(500 * MS), self.hosts[name].start)
        formed = self.world.run_until(lambda: len(self.members()) == len(self.founders), FORM_NS)
        assert formed, f"no view within {FORM_NS // SECOND} s: {self.told()}"
        self.load()

    def load(self) -> None:
        """Loads the graph; retries if the view changes meanwhile."""
        for _ in range(20):
            well = [host for host in self.members() if host.well]
            if not well:
                self.world.run(100 * MS)
                continue
            job = Job(self._random.choice(well), self._load)
            self.world.run_until(lambda job=job: job.is_over, 60 * SECOND)  # type: ignore[misc]
            if job.is_done:
                return
            if "is already loaded" in job.error:
                if self._load_now():  # by an earlier attempt that got no answer
                    return
                self.world.run(100 * MS)  # this member has not heard yet that the graph was dropped
        raise AssertionError(f"the graph can't be loaded: {self.told()}")

    async def _load(self, daemon: SimDaemon) -> None:
        spec, frames = self.graph.data.to_wire()
        await Loading(daemon.context, daemon.services.staging, GRAPH, tell_nobody).run(spec, frames)

    def replace_graph(self) -> None:
        """Drops the graph, whatever runs on it, and loads it again, as in a daily refresh."""
        self.until_decided(lambda: DropGraph(GRAPH, self._load_now(), by_force=True), "no graph is called")
        self.load()

    def _load_now(self) -> str:
        """Returns the graph's latest known load."""
        registry = self.registry()
        return registry.graphs[GRAPH].load if registry is not None and GRAPH in registry.graphs else ""

    def request(self) -> str:
        """Returns a name for a request."""
        self._requests += 1
        return f"request-{self._requests}"

    def propose(self, host: Host, command: Command) -> str:
        """Proposes through a member, which retries for up to 15 s until the log has it; returns the request's name."""
        request = self.request()
        self.world.tell(f"{host.name} proposes {command} as {request}")

        async def decide(daemon: SimDaemon) -> None:
            host.diary.answers[request] = await daemon.context.decide(command)

        host.spawn(decide)
        return request

    def propose_somewhere(self, command: Command) -> None:
        """Proposes through any member, if there is one; does not wait for the result."""
        well = [host for host in self.members() if host.well]
        if well:
            self.propose(self._random.choice(well), command)

    def until_decided(self, make: Callable[[], Command], but: str | None = None, limit: int = 120 * SECOND) -> str:
        """Proposes through any member, and another one if that is lost, until the log has it; returns its name there.

        A refusal with the words `but` may mean that it was already decided.
        """
        end = self.world.now + limit
        while self.world.now < end:
            well = [host for host in self.members() if host.well]
            if not well:
                self.world.run(100 * MS)
                continue
            answer = self._ask(self._random.choice(well), make(), end - self.world.now)
            if answer is not None and not answer.error:
                return answer.name
            if answer is not None and "is halted" in answer.error:
                self.world.run(SECOND)
                continue
            if answer is not None and answer.decided and but is not None and but in answer.error:
                return ""
            assert answer is None or answer.error == NO_ANSWER, answer
        raise AssertionError(f"nobody decides: {self.told()}")

    def _ask(self, host: Host, command: Command, limit: int) -> Answered | None:
        life, request = host.generation, self.propose(host, command)
        self.world.run_until(lambda: _is_settled(host, life, request), limit)
        return host.diary.answers.get(request)

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
        """Starts a run and returns its name. If `runs_max` runs are in progress, it waits for its turn."""

        def decide() -> StartRun:
            self._runs_asked += 1
            asked = start_run(self._load_now(), program, ticks, params or {}, interval_ns, paced, checkpoint_ticks)
            return structs.replace(asked, runs_max=runs_max, may_queue=runs_max > 0)

        run = self.until_decided(decide)
        self.acknowledged.append(run)
        return run

    def stop_run(self, run: str) -> None:
        """Requests a run's end."""
        self.until_decided(lambda: StopRun(run))

    def drain(self, name: str, limit: int = 60 * SECOND) -> bool:
        """Drains a shard out of the view, once others hold its data; returns whether that happened in time."""
        self.until_decided(lambda: Drain(name, True))
        host = self.hosts[name]
        return self.world.run_until(lambda: not host.running or not host.shard.in_view, limit)

    def chatter(self, duration: int) -> None:
        """Lets members propose small things for a while, whichever leads, so a partitioned one gets a diverging log."""
        end = self.world.now + duration
        well = [host for host in self.members() if host.well]
        if well:
            self.propose(self._random.choice(well), StopRun("nothing"))
            self.read(self._random.choice(well))
        delay = self._random.randint(50 * MS, 800 * MS)
        if self.world.now + delay < end:
            self.world.after(delay, lambda: self.chatter(end - self.world.now))

    def read(self, host: Host) -> str:
        """Makes a host catch up with what any other may have answered; returns the request's name."""
        request = self.request()

        def read(daemon: SimDaemon) -> None:
            self.invariants.asked(request)
            daemon.loop.perform(daemon.plane.read(request, self.world.now + 3 * SECOND, self.world.now))

        host.do(read)
        return request

    # -- afterwards: see `recovery` --------------------------------------------------------------------------------

    def recover(self) -> None:
        """The faults have ended: within bounded time one leader and one membership emerge, and every run has ended."""
        Recovery(self).check()

    def check_runs(self, runs: Iterable[str] | None = None) -> None:
        """Each run is completed, or stopped, with the bits of a single engine; and no request has started two runs."""
        registry = self.registry()
        assert registry is not None
        assert registry.runs_begun <= self._runs_asked, f"{registry.runs_begun} runs of {self._runs_asked} requests"
        records = [self.record(name) for name in (registry.runs if runs is None else runs)]
        for record in records:
            self.check_result(record)
        readable = [record for record in records if record.has_result]
        if readable:
            Recovery(self).check_reading(self._random.choice(readable), self._random.choice(self.members()))

    def check_result(self, record: RunRecord) -> None:
        """Compares the states on all holders' disks with those of a single engine."""
        Recovery(self).check_result(record)

    def told(self) -> str:
        """Describes the state of all hosts."""
        return "; ".join(describe(host) for host in self.running())


_last: list[Cluster] = []


def _in_place_of_the_last(cluster: Cluster) -> None:
    """A process has one cluster at a time, so that folders and files do not add up over thousands of seeds."""
    end_the_last()
    _last.append(cluster)


@atexit.register
def end_the_last() -> None:
    """Closes the cluster of this process, if it has one."""
    while _last:
        _last.pop().close()


def start_run(
    load: str,
    program: str,
    ticks: int,
    params: Mapping[str, Any],
    interval_ns: int = 0,
    paced: bool = False,
    checkpoint_ticks: int = 1,
) -> StartRun:
    """Returns the command that starts a run of one of the simulator's programs."""
    cls = PROGRAMS[program]
    return StartRun(
        program=program,
        graph=GRAPH,
        load=load,
        params=tuple(sorted((name, json.dumps(value)) for name, value in params.items())),
        ticks=ticks,
        interval_ns=interval_ns,
        paced=paced,
        phases=sum(1 << phase for phase in cls.phases()),
        columns=tuple(column.name for column in cls.columns if not column.hidden),
        checkpoint_ticks=checkpoint_ticks,
    )


def _is_settled(host: Host, life: int, request: str) -> bool:
    """Whether the request is answered, or its sender is gone."""
    return request in host.diary.answers or not host.running or host.generation != life
