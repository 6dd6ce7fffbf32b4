"""One machine of a simulated cluster: the daemon's own runtime, with all of its services, in virtual time.

Messages between its threads take a moment, and a sync takes as long as its disk needs. A host can be paused (its
deadlines pass, its inbox fills), crash or lose its power, and its disk can fail: then it says goodbye and ends. It
restarts from what is left on its disk, as a later generation.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import daemon.host
from daemon.config import Config, Listen, Membership, ProgramsSection, Security, Seed, Ticks
from daemon.config.sections import Cluster as ClusterSection
from daemon.control import effects as fx
from daemon.control.effects import Answered
from daemon.control.plane import ControlPlane
from daemon.control.settings import ShardSettings
from daemon.control.versions import OWN
from daemon.control.voters import server_of
from daemon.membership.effects import Counted, MemberFailed
from daemon.observe.notify import Notifier
from daemon.runtime.context import HostContext
from daemon.runtime.descriptors import shares
from daemon.runtime.loop import DiskReverted
from daemon.runtime.tick_runner import TickRunner
from daemon.services.cluster.drain import depart
from daemon.state import RunEnded, ViewInstalled
from daemon.state.commands import Identity
from daemon.transfer.chunks import LoadLimits
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from shoal.lockstep.effects import PhaseLate
from shoal.lockstep.timing import TickTiming
from tests.simulator.disk import CLUSTER, Disk, Image
from tests.simulator.interposed import is_disk_failure
from tests.simulator.invariants import Invariants
from tests.simulator.network import CONTROL, TICKS, Network
from tests.simulator.next_version import NEXT_VERSION, NextCodec
from tests.simulator.outside import SimOutside, address
from tests.simulator.virtual_loop import Life, VirtualLoop
from tests.simulator.world import MS, SECOND, US, World

LEAVE_LINGER_SECONDS, GO_BACK_SECONDS = 2.0, 1.0
CODECS = {CONTROL: NextCodec(CLUSTER, CONTROL_TYPES), TICKS: NextCodec(CLUSTER, TICK_TYPES)}
"""Decode frames for the trace."""
SHARES = shares(4096, 7, 4, operators=False)
NOBODY = cast(Notifier, SimpleNamespace(watchdog_interval_ns=None, address=""))


@dataclass(frozen=True)
class Surroundings:
    """What all hosts of a cluster share."""

    world: World
    network: Network
    invariants: Invariants
    settings: ShardSettings
    timing: TickTiming
    checkpoint_interval_ns: int
    load_limits: LoadLimits
    seeds: tuple[str, ...]
    folder: Path


@dataclass
class Diary:
    """What a host has observed, in all its lives; scenarios read it."""

    answers: dict[str, Answered] = field(default_factory=dict)
    late: list[tuple[int, PhaseLate]] = field(default_factory=list)
    failed: list[tuple[str, int]] = field(default_factory=list)
    ended: dict[int, int] = field(default_factory=dict)
    counted: Counter[str] = field(default_factory=Counter)


class SimDaemon(daemon.host.Host):
    """Everything that a life of a daemon runs on, under observation: the invariants see the effects of each call."""

    def __init__(self, host: Host, outside: SimOutside, config: Config) -> None:
        self._host, self._invariants = host, host.around.invariants
        self.version = host.version
        folder = host.disk.open(host.generation, self.version)
        super().__init__(config, folder, None, None, outside.metrics(), SHARES, host.fatal, outside)
        self.next_codecs: list[NextCodec] = []
        if self.version == NEXT_VERSION:
            self.next_codecs = [NextCodec(CLUSTER, CONTROL_TYPES), NextCodec(CLUSTER, TICK_TYPES)]
            self.messenger._codec, self.ticks._codec = self.next_codecs

    @property
    def context(self) -> HostContext:
        """The context that services get."""
        return self.services.context

    def _context(self) -> HostContext:
        self._carry_out = self.loop.perform
        self.loop.perform = self._perform  # type: ignore[method-assign]
        return super()._context()

    def _perform(self, effects: Iterable[fx.Effect]) -> None:
        try:
            self._watch(list(effects))
        except AssertionError as error:  # otherwise a task of a service might swallow it
            self._host.world.failure = self._host.world.failure or error
            raise

    def _watch(self, effects: list[fx.Effect]) -> None:
        self._invariants.seen(self.plane)
        self._invariants.given(self.plane, effects)
        for effect in effects:
            self._note(effect)
        self._carry_out(effects)
        if self.loop.is_idle and not self._host.is_broken:
            self._invariants.persisted(self._host, self.plane)

    def _note(self, effect: fx.Effect) -> None:
        registry, diary = self.plane.registry, self._host.diary
        match effect:
            case ViewInstalled(view=view):
                self._host.world.tell(f"{self.me.name}: view {view.epoch}: {', '.join(map(str, view.members))}")
                is_latest = registry.epoch == view.epoch  # the log may already have advanced
                placements = {graph.load: registry.placements[name] for name, graph in registry.graphs.items()}
                self._invariants.entered(view, placements if is_latest else {})
            case fx.BeginRun(run=run, view=view):
                known = registry.runs.get(run.name)
                if known is not None and known.active and registry.epoch == view.epoch:
                    self._invariants.begun(run, view, registry.placements[run.graph])
            case RunEnded(run=run):
                self._host.world.tell(f"{self.me.name}: {run.name} {run.state} at {run.tick} {run.failure}")
                self._invariants.ended(run)
            case Answered(request=request, error=error):
                diary.answers[request] = effect
                self._invariants.answered(request, error, self.plane)
            case MemberFailed(member=member):
                diary.failed.append((member.name, self._host.world.now))
                self._host.world.tell(f"{self.me.name}: {member.name}/{member.generation} failed")
            case fx.LogUnreadable(why=why):
                raise AssertionError(f"{self.me.name}, of one version with all others, can't go on: {why}")
            case Counted():
                pass


class Host:
    """A name, its disk, and the daemon that currently runs under it."""

    def __init__(self, name: str, around: Surroundings) -> None:
        self.name, self.generation = name, 0
        self.around, self.world = around, around.world
        self.disk = Disk(around.folder / name, name, around.world.random(f"disk {name}"))
        self.diary = Diary()
        self.phase_ns = (100 * US, 5 * MS)
        self.clock_error_ns = 0
        """How far its wall clock is ahead."""
        self.random = around.world.random(f"host {name}")
        self.is_broken = self.is_leaving = False
        self.version = OWN
        """The installed version of Shoal: the next life runs it."""
        self._config = _config(name, around)
        self._daemon: SimDaemon | None = None
        around.network.attach(name, self._receive)

    # -- life ------------------------------------------------------------------------------------------------------

    @property
    def running(self) -> bool:
        return self._daemon is not None

    @property
    def paused(self) -> bool:
        return self.running and self.loop.life.is_paused

    @property
    def serves(self) -> bool:
        """Whether it is up and not ending."""
        return self.running and not self.is_broken and not self.is_leaving

    @property
    def well(self) -> bool:
        """Whether it is up, not paused, and not ending."""
        return self.serves and not self.paused

    @property
    def daemon(self) -> SimDaemon:
        assert self._daemon is not None, f"{self.name} is down"
        return self._daemon

    @property
    def shard(self) -> ControlPlane:
        return self.daemon.plane

    @property
    def runner(self) -> TickRunner:
        return self.daemon.ticks.runner

    @property
    def news(self) -> tuple[int, ...]:
        """Returns how many messages of each plane had content of the next version, in this life."""
        return tuple(codec.news for codec in self.daemon.next_codecs) if self.running else ()

    @property
    def identity(self) -> Identity:
        return Identity(self.name, self.generation)

    def start(self) -> None:
        """Begins a new life, with the disk as it is."""
        assert not self.running
        self.generation += 1
        self.world.tell(f"{self.name} starts as generation {self.generation}")
        self.is_broken = self.is_leaving = False
        self.loop = VirtualLoop(Life(self.world, self.random))
        self._outside = SimOutside(self, self.loop)
        with self.world.process():
            self.loop.call(self._begin)

    def _begin(self) -> None:
        self._daemon = SimDaemon(self, self._outside, self._config)
        assert self._daemon.me.generation == self.generation, "a life that is not later than the one before"
        self._daemon.start(NOBODY)

    def crash(self) -> None:
        """Forgets everything that is not on the disk."""
        if not self.running:
            return
        self.world.tell(f"{self.name} goes down")
        self._daemon = None
        with self.world.process():
            self.loop.kill()
            self.disk.cut()

    def end(self) -> None:
        """Ends it with the scenario."""
        if self.running and not self.loop.life.is_over:
            with self.world.process():
                self.loop.kill()
            self.disk.close()

    def wipe(self) -> None:
        """Replaces its disk by an empty one."""
        assert not self.running
        self.disk.wipe()

    def go_back(self, image: Image, *, with_folder: bool) -> None:
        """Sets its disk back to an earlier state."""
        assert not self.running
        self.around.invariants.safety.went_back(server_of(self.name, self.disk.number))
        self.disk.go_back(image, with_folder=with_folder)
        self.around.invariants.safety.went_back(server_of(self.name, self.disk.number))

    def leave(self) -> None:
        """Ends as at a SIGTERM: hands over what it serves, says goodbye to the members, and exits."""
        self.is_leaving = True
        self.spawn(self._leave)

    async def _leave(self, daemon: SimDaemon) -> None:
        await depart(daemon.context, self._config.cluster.drain_timeout_ns / 1e9, asyncio.Event(), _tell_nobody)
        await self._go(LEAVE_LINGER_SECONDS, self.crash)

    async def _go(self, patience: float, then: Callable[[], None]) -> None:
        await self.daemon.loop.leave(patience)
        self.loop.life.after(0, then)

    def fatal(self, error: BaseException) -> None:
        """Ends its life in good order if its disk or its name is the reason, as the daemon does; else fails."""
        if self.is_broken:
            return
        self.world.tell(f"{self.name}: ends: {type(error).__name__}")
        if isinstance(error, DiskReverted):
            self._end(GO_BACK_SECONDS, self._start_again)
        elif is_disk_failure(error) and self.disk.has_failed:  # whether or not there is room by now
            self._end(LEAVE_LINGER_SECONDS, self.crash)
        else:
            self.world.failure = self.world.failure or error

    def _end(self, patience: float, then: Callable[[], None]) -> None:
        """Sends only a goodbye from now on: memory may be ahead of the disk."""
        self.is_broken = True
        self.loop.create_task(self._go(patience, then))

    def _start_again(self) -> None:
        self.crash()
        self.start()

    def pause(self, duration: int) -> None:
        """Pauses for a while; incoming messages wait."""
        self.world.tell(f"{self.name} pauses for {duration / SECOND:.3f} s")
        self.loop.life.pause(duration)

    # -- what scenarios have it do ---------------------------------------------------------------------------------

    def do(self, action: Callable[[SimDaemon], object]) -> None:
        """Runs an action on its loop, as for an operator's command; later, if it is paused."""
        self.loop.life.after(0, partial(self.loop.call, lambda: action(self.daemon)))

    def spawn(self, work: Callable[[SimDaemon], Coroutine[Any, Any, Any]]) -> None:
        """Runs a coroutine in the same way."""
        self.do(lambda daemon: daemon.tasks.spawn(work(daemon)))

    # -- messages --------------------------------------------------------------------------------------------------

    def _receive(self, plane: str, frames: list[bytes]) -> None:
        if self.running:
            arrive = self._outside.ticks.arrive if plane == TICKS else self._outside.control.arrive
            self.loop.life.receive(partial(self._arrive, plane, arrive, frames))

    def _arrive(self, plane: str, arrive: Callable[[list[bytes]], None], frames: list[bytes]) -> None:
        if self.world.verbose:
            sender, generation, message = CODECS[plane].decode(frames)[1:4]
            print(f"{self.name} <- {sender}/{generation} {type(message).__name__}")
        if self.world.verbose or self.world.traces:
            self.world.tell(f"{plane} -> {self.name}", b"".join(frames))
        arrive(frames)


async def _tell_nobody(done: int, total: int) -> None:
    """Ignores the progress of a drain."""


def _config(name: str, around: Surroundings) -> Config:
    """Returns a daemon's configuration, with shorter times for the simulator."""
    listen = {plane: address(name, plane) for plane in (CONTROL, TICKS)}
    return Config(
        cluster=ClusterSection(
            name=CLUSTER,
            shard=name,
            expect=around.settings.expect,
            seeds=tuple(Seed(None, address(seed, CONTROL)) for seed in around.seeds),
            drain_timeout_ns=20 * SECOND,
        ),
        listen=Listen(**listen),
        security=Security(encryption="none", plain_text_accepted=True),
        membership=Membership(leave_linger_ns=2 * SECOND),
        ticks=Ticks(
            resend_interval_ns=around.timing.resend_interval_ns,
            phase_timeout_ns=around.timing.phase_timeout_ns,
            checkpoint_interval_ns=around.checkpoint_interval_ns,
        ),
        programs=ProgramsSection(deploy=True),
    )
