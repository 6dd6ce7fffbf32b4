"""A cluster of simulated hosts, with what a scenario asks of it and what is asked of it once the faults have ended."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any

from daemon.effects import Answered
from daemon.protocol.decisions import AddGraph, Decision, StartRun, StopRun
from daemon.protocol.load import LoadLimits
from daemon.protocol.membership_config import MembershipConfig
from daemon.protocol.registry import COMPLETED, FAILED, RunRecord
from daemon.protocol.tick import TickTiming
from daemon.shard import Shard, ShardSettings
from tests.simulator.faults import Faults
from tests.simulator.host import Host, Surroundings, address
from tests.simulator.invariants import Invariants
from tests.simulator.network import Network
from tests.simulator.programs import PARTITIONS, PROGRAMS, SmallGraph, alone, digest, make
from tests.simulator.world import MS, SECOND, World

NAMES = ("ant", "bee", "cat", "dog", "eel", "fox", "gnu")
TICKS_MAX = 1_000
FORM_NS, RECOVER_NS, RUN_NS = 60 * SECOND, 120 * SECOND, 120 * SECOND

SETTINGS = ShardSettings(
    virtual_nodes=20,
    snapshot_entries=8,  # so that logs are compacted and followers get snapshots in the short life of a scenario
    # memberlist's numbers, slower than our own: so a leader can be cut off for long enough to lose an election, and not
    # be taken for dead.
    membership=MembershipConfig(
        probe_interval_ns=SECOND,
        probe_timeout_ns=500 * MS,
        pause_tolerance_ns=500 * MS,
        suspicion_max_mult=6,
        suspicion_confirmations=3,
        retransmit_mult=4,
        gossip_interval_ns=200 * MS,
        push_pull_interval_ns=5 * SECOND,
        reconnect_interval_ns=5 * SECOND,
    ),
)
TIMING = TickTiming(resend_interval_ns=200 * MS, phase_timeout_ns=1 * SECOND)
LOAD_LIMITS = LoadLimits(chunk_bytes=4096, window=4, resend_interval_ns=200 * MS, idle_timeout_ns=10 * SECOND)


class Cluster:
    """Some hosts in one world."""

    def __init__(self, seed: int, size: int, *, expect: int | None = None, verbose: bool = False) -> None:
        self.world = World(seed, verbose)
        self.network = Network(self.world)
        self.invariants = Invariants()
        self.graph = SmallGraph.draw(self.world.random("graph"))
        self.names = NAMES[:size]
        around = Surroundings(
            world=self.world,
            network=self.network,
            invariants=self.invariants,
            graph=self.graph,
            settings=replace(SETTINGS, expect=expect or size),
            timing=TIMING,
            load_limits=LOAD_LIMITS,
            seeds=tuple(address(name) for name in self.names),
        )
        self.hosts = {name: Host(name, around) for name in self.names}
        self.faults = Faults(self.world, self.network, self.hosts)
        self._random = self.world.random("cluster")
        self._requests = self._runs_asked = 0

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

    def record(self, run: str) -> RunRecord | None:
        """A run as the member with the newest registry has it."""
        newest = max(self.members(), key=lambda host: host.shard.applied_index, default=None)
        return newest.shard.registry.runs.get(run) if newest is not None else None

    # -- orders ----------------------------------------------------------------------------------------------------

    def form(self) -> None:
        """Start all hosts within half a second; wait for the first view and one graph."""
        for name in self.names:
            self.world.after(self._random.randrange(500 * MS), self.hosts[name].start)
        formed = self.world.run_until(self._has_view, FORM_NS)
        assert formed, f"no view within {FORM_NS // SECOND} s: {self.told()}"
        self.until_decided(lambda request: AddGraph(request, "small", request, 1, 1, 1, PARTITIONS, 0, (), (), ()))

    def _has_view(self) -> bool:
        return len(self.members()) == len(self.names)

    def request(self) -> str:
        """A name for something asked for."""
        self._requests += 1
        return f"request-{self._requests}"

    def propose(self, host: Host, decision: Decision) -> None:
        """From a member, which sends it again until the log has it or half a minute is over."""
        self.world.tell(f"{host.name} proposes {decision}")
        host.perform(host.shard.propose(decision, self.world.now + 30 * SECOND, self.world.now))

    def until_decided(self, make_decision: Callable[[str], Decision], limit: int = 120 * SECOND) -> str:
        """Propose by some member, by another one if that is lost, until the log has it; the name that it got."""
        end = self.world.now + limit
        while self.world.now < end:
            awake = [host for host in self.members() if not host.paused]
            if not awake:
                self.world.run(100 * MS)
                continue
            answer = self._ask(self._random.choice(awake), make_decision(self.request()), end - self.world.now)
            if answer is not None and not answer.error:
                return answer.name
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
    ) -> str:
        """Start a run; its name."""

        def decide(request: str) -> StartRun:
            self._runs_asked += 1
            return start_run(request, program, ticks, params or {}, interval_ns, paced)

        return self.until_decided(decide)

    def stop_run(self, run: str) -> None:
        """Ask for a run's end."""
        self.until_decided(lambda request: StopRun(request, run))

    def chatter(self, duration: int) -> None:
        """Let members propose small things for a while, whoever leads: what is cut off then has a log of its own."""
        end = self.world.now + duration
        graph = self.request()
        awake = [host for host in self.members() if not host.paused]
        if awake:
            self.propose(self._random.choice(awake), AddGraph(graph, graph, graph, 1, 1, 1, 1, 0, (), (), ()))
        delay = self._random.randint(50 * MS, 800 * MS)
        if self.world.now + delay < end:
            self.world.after(delay, lambda: self.chatter(end - self.world.now))

    # -- afterwards ------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Faults are over: within bounded time one leader and one membership emerge, and every run has ended."""
        self.faults.heal()
        assert self.world.run_until(self._is_one, RECOVER_NS, 250 * MS), f"no single cluster: {self.told()}"
        over = self.world.run_until(lambda: not self._active(), RUN_NS, 250 * MS)
        assert over, f"runs {self._active()} do not end: {self.told()}"
        self.world.run(SECOND)
        for host in self.members():
            _check_rest(host)

    def _is_one(self) -> bool:
        running, members = self.running(), self.members()
        lives = [(host.name, host.generation) for host in running]
        leaders = {host.shard.leader for host in members}
        return (
            len(leaders) == 1
            and leaders != {None}
            and sum(_leads(host.shard) for host in members) == 1
            and all([(r.name, r.generation) for r in host.shard.membership.live()] == lives for host in running)
            and len({host.shard.applied_index for host in members}) == 1
        )

    def _active(self) -> list[str]:
        return sorted({run.name for host in self.members() for run in host.shard.registry.active_runs()})

    def check_runs(self, runs: Iterable[str]) -> None:
        """Each run is completed with the bits of one engine alone, or failed for a member that was lost indeed.

        And no request has started two.
        """
        begun = max((host.shard.registry.runs_begun for host in self.members()), default=0)
        assert begun <= self._runs_asked, f"{begun} runs of {self._runs_asked} requests"
        for name in runs:
            record = self.record(name)
            assert record is not None, name
            if record.state == FAILED:
                self._check_failure(record)
            else:
                assert record.state == COMPLETED, record
                self.check_result(record)

    def check_result(self, record: RunRecord) -> None:
        """The results of all members together, against one engine."""
        watch = self.invariants.runs[record.number]
        assert set(watch.results) == set(watch.members), f"{record.name} is {record.state}, and not all have a result"
        nodes = {node: row for result in watch.results.values() for node, row in result.items()}
        ends_by_itself = record.program == "wcc"  # and on one shard sooner than on many
        ticks = TICKS_MAX if ends_by_itself else record.tick
        ticks, expected = alone(self.graph, make(record.program, record.params), ticks)
        assert ticks == record.tick or ends_by_itself, f"{record.name} did {record.tick} ticks, one engine {ticks}"
        assert digest(nodes) == expected, f"{record.name} differs from one engine's"

    def _check_failure(self, record: RunRecord) -> None:
        prefix, _, rest = record.failure.partition("the view has lost ")
        lost = [] if prefix or not rest else rest.partition(":")[0].split(", ")
        assert lost, f"{record.name} failed: {record.failure}"
        convicted = {name for host in self.hosts.values() for name, _ in host.diary.failed}
        unjust = sorted(set(lost) - self.faults.excused())
        assert not unjust, f"{record.name} failed for {', '.join(unjust)}, of whom no fault took hold for long"
        assert set(lost) <= convicted, f"{record.name} failed for {lost}, and membership convicted {convicted} only"

    def told(self) -> str:
        """Where everyone is, in words."""
        return "; ".join(_describe(host) for host in self.running())


def start_run(
    request: str, program: str, ticks: int, params: Mapping[str, Any], interval_ns: int = 0, paced: bool = False
) -> StartRun:
    """The decision to start a run of one of the simulator's programs."""
    cls = PROGRAMS[program]
    return StartRun(
        request=request,
        program=program,
        graph="small",
        params=tuple(sorted((name, json.dumps(value)) for name, value in params.items())),
        ticks=ticks,
        interval_ns=interval_ns,
        paced=paced,
        phases=sum(1 << phase for phase in cls.phases()),
        columns=tuple(column.name for column in cls.columns if not column.hidden),
        started_unix_ns=0,
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
    kept = (shard._own_reports, shard._reports, plane.runs, host.runner.engines, host.runner.held)
    assert not any(kept), f"{host.name} keeps {kept}"
    assert (shard.progress.deadline, shard.pacing.deadline) == (None, None), f"{host.name} still speaks of runs"


def _leads(shard: Shard) -> bool:
    return shard.raft is not None and shard.raft.is_leader


def _describe(host: Host) -> str:
    shard = host.shard
    live = ",".join(f"{record.name}/{record.generation}" for record in shard.membership.live())
    raft = shard.raft
    consensus = f"term {raft.term} {raft.role.name} of {raft.leader}" if raft else "no consensus"
    doing = " ".join(f"{n}:{machine.doing()}" for n, machine in host.runner.plane.runs.items())
    return f"{host.identity} ({consensus}, applied {shard.applied_index}, live {live}, runs {doing or 'none'})"
