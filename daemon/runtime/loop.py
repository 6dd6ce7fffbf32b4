"""The control plane's host: one asyncio loop that receives, wakes the shard in time and carries out its effects.

It reads the clock in one place, speaks with the tick thread through orders, and owns everything that has to be closed.
What consensus persists is on disk before the next effect is carried out (`effect_runner`). If the disk fails, nothing
more is said but a goodbye: what is in memory may be ahead of it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial

from consensus import Persist, Stored
from consensus.log import Log
from daemon.config import Config
from daemon.config.keys import AllowedKeys, KeyPair
from daemon.control import effects as fx
from daemon.control.plane import ControlPlane
from daemon.control.routing import is_of_membership
from daemon.control.settings import OnDisk
from daemon.control.voters import server_of
from daemon.membership import effects as swim
from daemon.membership.messages import Member
from daemon.observe.metrics import Metrics
from daemon.observe.notify import Notifier
from daemon.runtime import announced, heard, tick_news
from daemon.runtime.descriptors import Shares
from daemon.runtime.disk import Disk
from daemon.runtime.effect_runner import EffectRunner
from daemon.runtime.former_lives import FormerLives
from daemon.runtime.messenger import Messenger
from daemon.runtime.outside import Outside
from daemon.runtime.settings import transport_limits, wire_limits
from daemon.runtime.tasks import Tasks
from daemon.runtime.tick_runner import HandedOver, TickRunner
from daemon.runtime.tick_thread import TickThread
from daemon.services.cluster.disk_room import Stock
from daemon.services.cluster.view_change import ViewChange
from daemon.services.graphs.fetch import Fetching
from daemon.services.graphs.graphs import Graphs
from daemon.services.graphs.part_stats import PartStats
from daemon.services.graphs.pieces import Pieces
from daemon.services.graphs.repair import Repair
from daemon.services.programs.programs import Programs
from daemon.services.results.reading import Reading
from daemon.services.results.results import Results
from daemon.services.results.search import Searching
from daemon.services.results.tables import Tables
from daemon.services.runs.checkpoints import Checkpoints
from daemon.services.runs.controller import RunController
from daemon.state.commands import Decision, Identity
from daemon.state.records import RunRecord
from daemon.store import DataFolder, StoreError, StoreFailed
from daemon.transport.security import Curve
from daemon.transport.ticks import TickTransport
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from daemon.wire import Codec

log = logging.getLogger("shoal.runtime")

STATUS_INTERVAL = 0.1


class NewLife(Exception):
    """This life has to end and another one to begin, for which the data folder has been prepared; the text says why."""


class UnreadableLog(Exception):
    """The log has decided what this version can't read; the text says what, and what to do."""


GIVE_UP_SECONDS = 15.0
CATCH_UP_SECONDS = 3.0
"""Longer than the election of a leader takes when one has died. Without a majority, only the first who asks waits."""
STEP_TRIES = 8
STEP_AGAIN_SECONDS = 1.0


def is_only_voter(stored: Stored, server: str) -> bool:
    """Whether a server is all of its cluster, so that nobody else can know what it has forgotten."""
    return Log(stored.snapshot, stored.entries).configuration.voters == (server,)


class Runtime:
    """One daemon. `fatal` is called, on the loop, with an error that must end the process."""

    def __init__(
        self,
        config: Config,
        folder: DataFolder,
        keys: KeyPair | None,
        allowed: AllowedKeys | None,
        metrics: Metrics,
        shares: Shares,
        fatal: Callable[[BaseException], None],
        outside: Outside | None = None,
    ) -> None:
        self.config, self.metrics = config, metrics
        self.outside = outside = outside or Outside()
        self.load_limits = outside.load_limits(config)
        self._loop = asyncio.get_running_loop()
        self.fatal, self.tasks = fatal, Tasks(fatal)
        self.started = time.monotonic()
        self.generation = folder.generation
        self._folder, self._store = folder, outside.store(folder)
        self.guard = outside.guard(folder.path)
        self._former_lives = FormerLives(folder.path, folder.disk, self.guard.left)
        self.store_thread = outside.store_thread(folder, lambda error: self.tasks.soon(self._broken, error))
        self.disk = Disk(self.store_thread, self.tasks.soon)
        self._log_thread = outside.log_thread(folder, lambda error: self.tasks.soon(self._broken, error))
        self._effects = EffectRunner(self._log_thread, self._carry_out, self._persisted, self.tasks.soon)
        self.workers = outside.workers()
        curve = Curve(keys, allowed.name_of) if keys is not None and allowed is not None else None
        limits = transport_limits(config, shares)
        member = Member(
            name=config.cluster.shard,
            generation=self.generation,
            control=config.listen.advertise_control,
            ticks=config.listen.advertise_ticks,
            public_key=keys.public if keys is not None else b"",
        )
        self.me = Identity(member.name, member.generation)
        seeds = {seed.address: seed.name for seed in config.cluster.seeds}
        codec = Codec(config.cluster.name, CONTROL_TYPES, wire_limits(config))
        hear = partial(heard.take, self)
        connect = partial(outside.control_transport, config.listen.control, curve=curve, limits=limits)
        self.messenger = Messenger(self.me, codec, connect, allowed, seeds, metrics, hear)
        self.shard = ControlPlane(
            member,
            list(seeds),
            outside.shard_settings(config),
            outside.chance(),
            time.monotonic_ns(),
            self._on_disk(folder),
        )
        self.messenger.know(self.shard.membership, lambda: self.shard.founding)
        self.checkpoints = Checkpoints(self)
        self.ticks = self._tick_plane(outside.tick_transport(config.listen.ticks, curve, metrics.count, limits))
        self._compose()
        self.stock = Stock(self)
        self.answering: Counter[str] = Counter()
        """Questions of each peer that are being worked on."""
        self._answers: dict[str, asyncio.Future[fx.Answered]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._seen_counts: dict[tuple[str, tuple[str, ...]], int] = {}
        self.ticks_counted = 0
        self._closed = self._is_broken = False

    def _on_disk(self, folder: DataFolder) -> OnDisk:
        held = {load: partitions for load, (_, partitions) in self._store.loads().items()}
        stored = self._store.load_consensus()
        if folder.forgot and stored is not None and is_only_voter(stored, server_of(self.me.name, folder.disk)):
            raise StoreError(
                f"{folder.database_path} lacks its last decisions: its write-ahead log was lost or torn, and no other "
                "shard has them. Restore a backup; or start once with --accept-loss, and go on with what is there"
            )
        return OnDisk(folder.disk, stored, held, self._store.promise(), folder.before, folder.forgot)

    def _tick_plane(self, transport: TickTransport) -> TickThread:
        config = self.config
        threads = config.ticks.kernel_threads
        return self.outside.tick_thread(
            self.me,
            transport,
            Codec(config.cluster.name, TICK_TYPES, wire_limits(config)),
            TickRunner(
                self.me.name, self.load_limits, time.monotonic_ns, kernel_threads=threads, slot=self.guard.ticks
            ),
            hand_over=lambda news: self.tasks.soon(self._tick_news, news),
            store=self.checkpoints.keep,
            died=lambda error: self.tasks.soon(self.fatal, error),
        )

    def _compose(self) -> None:
        """What the host does beside carrying out effects, each a part that knows those it needs."""
        config, me, send = self.config, self.me.name, self.messenger.send
        self.graphs = Graphs(me, self.disk, self.workers)
        self.pieces = Pieces(self.tasks, self.graphs)
        self.part_stats = PartStats(me, self.graphs, send)
        self.fetching = Fetching(
            me, self.disk, self.ticks, self.load_limits, send, lambda load: self.runs.numbers_on(load)
        )
        self.repair = Repair(
            self.disk,
            self.graphs,
            self.fetching,
            config.storage.repair_bandwidth,
            self._parts_gained,
            lambda: self.view_change.look_for_results(),
        )
        self.programs = Programs(
            self.shard.registry, config.programs, self.tasks.soon, self.outside.aside, self.guard, self._former_lives
        )
        self.results = Results(me, config.ticks.results_memory, self.disk, self.fetching, send, self.programs.make)
        self.runs = RunController(
            self.shard,
            self.ticks,
            self.graphs,
            self.disk,
            self.fetching,
            self.results,
            self.programs,
            config.ticks,
            self.metrics,
            self.checkpoints.kept_bytes,
            self.perform,
            self.tasks.soon,
            self.tasks.spawn,
        )
        self.reading = Reading(self, self.results)
        self.tables, self.searching = Tables(self, self.programs.make), Searching(self)
        self.view_change = ViewChange(
            self.shard,
            self.messenger,
            self.ticks,
            self.graphs,
            self.runs,
            self.repair,
            self.tasks.spawn,
            lambda epoch: self.perform(self.shard.results_looked_for(epoch, time.monotonic_ns())),
        )

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self, notifier: Notifier) -> None:
        """Begin to look for the others. Before the service manager misses us, the guard acts."""
        ticks = self.config.ticks
        patience_ns = ticks.stop_patience_ns or ticks.phase_timeout_ns
        silence_ns = min(patience_ns, notifier.watchdog_interval_ns or patience_ns)
        self.guard.begin(self._folder.disk, self.generation, silence_ns, notifier.address)
        self.store_thread.start()
        self._log_thread.start()
        self.ticks.start()
        self._wake()
        self._status_beat()

    def keys_changed(self) -> None:
        """Other keys are allowed than before: hear and speak to nobody any more whose key is not."""
        self.messenger.check()
        self.ticks.check_keys()
        self.view_change.keys_changed()

    def found(self) -> str:
        """Found a cluster without waiting for others; why not, if that can't be."""
        effects, reason = self.shard.found(time.monotonic_ns())
        self.perform(effects)
        return reason

    def give_up_seat(self) -> None:
        """Ask to be no server of consensus any more."""
        self.perform(self.shard.give_up_seat(time.monotonic_ns()))

    async def leave(self, patience: float) -> None:
        """Say goodbye, and give the news a moment to get out."""
        effects = self.shard.leave(time.monotonic_ns())
        for effect in filter(is_of_membership, effects):  # the last words of one whose disk has failed, too
            self._carry_out(effect)
        self.perform(effect for effect in effects if not is_of_membership(effect))
        self._set_timer()
        until = time.monotonic() + patience
        while not self.shard.membership.left and time.monotonic() < until:
            await asyncio.sleep(0.02)

    def failing(self, error: BaseException) -> None:
        """The daemon is about to end because of that."""
        if not isinstance(error, StoreFailed | UnreadableLog):
            self.guard.blame()

    def close(self) -> None:
        """Close sockets and end the threads; none is waited for for ever."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._timer, self._beat):
            if timer is not None:
                timer.cancel()
        self.repair.close()
        self.tasks.close()
        if self.ticks.is_alive():
            self.ticks.close()
        self._effects.stop()
        for thread in (self.store_thread, self._log_thread):
            if thread.is_alive() and not thread.close():
                log.warning("the disk has not done what it was told to: thread %s is left as it is", thread.name)
        self._store.close()
        self.messenger.close()
        self.workers.shutdown(wait=False, cancel_futures=True)
        self.guard.close()

    @property
    def ready(self) -> tuple[bool, str]:
        """Whether this shard serves, and in words why not."""
        if not self.shard.in_view:
            return False, self._why_in_no_view()
        if self.shard.leader is None:
            return False, "no tick leader is known: without a majority on this side nothing is committed"
        missing = self.shard.missing_members()
        if missing:
            return False, f"members of the view are missing: {', '.join(missing)}"
        return True, f"in view {self.shard.registry.epoch}, led by {self.shard.leader}"

    def _why_in_no_view(self) -> str:
        view, leader = self.shard.registry.view, self.shard.leader
        if view is None or leader is None or self.me.name in self.shard.registry.draining:
            return "not in a view"
        return f"not in view {view.epoch}: `status` of {leader}, which leads it, says whom it holds back (held_back)"

    # -- orders of operations --------------------------------------------------------------------------------------

    async def decide(self, decision: Decision) -> fx.Answered:
        """Get a decision through consensus. The answer's `error` says why not."""
        give_up_ns = time.monotonic_ns() + int(GIVE_UP_SECONDS * 1e9)
        return await self._answered(
            decision.request, lambda now: self.shard.propose(decision, give_up_ns, now), GIVE_UP_SECONDS + 1
        )

    async def caught_up(self) -> bool:
        """Have the registry know all that was decided anywhere by now; False if no majority vouches for that."""
        request, give_up_ns = uuid.uuid4().hex, time.monotonic_ns() + int(CATCH_UP_SECONDS * 1e9)
        answer = await self._answered(
            request, lambda now: self.shard.read(request, give_up_ns, now), CATCH_UP_SECONDS + 1
        )
        return not answer.error

    async def step_run(self, run: RunRecord) -> fx.Answered:
        """Have the tick leader grant one more tick of a paced run."""
        request = uuid.uuid4().hex
        for _ in range(STEP_TRIES):  # the question or its answer may be lost; a leader grants one tick a request
            answer = await self._answered(
                request, lambda now: self.shard.step_run(request, run.number, now), STEP_AGAIN_SECONDS
            )
            if not answer.error:
                break
        return answer

    async def _answered(self, request: str, ask: Callable[[int], list[fx.Effect]], patience: float) -> fx.Answered:
        answer = self._answers[request] = self._loop.create_future()
        try:
            self.perform(ask(time.monotonic_ns()))
            done, _ = await asyncio.wait([answer], timeout=patience)
            return answer.result() if done else fx.Answered(request, "the tick leader has not answered: try again")
        finally:
            del self._answers[request]

    # -- turns -----------------------------------------------------------------------------------------------------

    def _wake(self) -> None:
        self._timer = None
        self.perform(self.shard.wake(time.monotonic_ns()))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.shard.deadline
        if deadline is not None and not self._closed:
            self._timer = self._loop.call_later(max(0.0, (deadline - time.monotonic_ns()) / 1e9), self._wake)

    # -- carrying out ----------------------------------------------------------------------------------------------

    def perform(self, effects: Iterable[fx.Effect]) -> None:
        """Carry out what a door of the shard has given, in order; what is behind a write, once that is durable."""
        if not self._is_broken:
            self._effects.run(effects)
            self._set_timer()

    def _persisted(self, persist: Persist) -> None:
        self.perform(self.shard.persisted(persist, time.monotonic_ns()))

    def begin_again(self, generation: int) -> None:
        """Have the next life begin above this generation, and end this one, which has no part in the cluster."""
        try:
            self._store.raise_generation(generation)
        except StoreFailed as error:
            self._broken(error)
        else:
            self.fatal(
                NewLife(
                    f"a former life of this shard is remembered as generation {generation}, which is above this one's;"
                    " is this machine's clock right?"
                )
            )

    def _broken(self, error: BaseException) -> None:
        """The disk has failed, or the log can't be followed: from now on nothing is said that depends on it."""
        self._is_broken = True
        self._effects.stop()
        self.fatal(error)

    def _carry_out(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Send(to=to, message=message):
                self.messenger.send(to, message)
            case fx.SendToAddress(address=address, message=message, name=name):
                self.messenger.send_to_address(address, message, name)
            case Persist() | fx.KeepPromise():
                raise AssertionError(f"{type(effect).__name__} is for the disk")
            case fx.BeginRun():
                self.checkpoints.begin(effect.run)
                self.runs.begin(effect.run, effect.view)
            case fx.TellStates():
                self.checkpoints.look_up(effect)
            case fx.MendHoldings(wants=wants):
                self.repair.aim(wants)
            case fx.DeleteParts(load=load, partitions=partitions):
                self.tasks.spawn(self.graphs.drop_load(load, partitions))
            case fx.GrantTicks(run=run, tick=tick):
                self.runs.grant(run, tick)
            case fx.StopRunHere(run=run):
                self.runs.stop(run)
            case fx.HealBarrier(run=run, entries=entries):
                self.runs.heal(run, entries)
            case fx.Answered():
                waiting = self._answers.get(effect.request)
                if waiting is not None and not waiting.done():
                    waiting.set_result(effect)
            case fx.DiskWentBack(why=why):
                self._begin_as_new_disk(why)
            case fx.LogUnreadable(why=why):
                self._broken(UnreadableLog(why))
            case swim.Counted(name=name, amount=amount):
                self.metrics.count(name, (), amount)
                self.messenger.note(name, amount)
            case _:
                announced.follow(self, effect)

    def _begin_as_new_disk(self, why: str) -> None:
        """Keep what is on the disk of graphs and results, and nothing of what its server knew; then start again."""
        try:
            self._store.renounce(max(time.time_ns(), self._folder.disk + 1))
        except StoreFailed as error:
            self._broken(error)
        else:
            self._broken(
                NewLife(
                    f"this shard's disk went back to an earlier state: {why}. It has lost its vote, and comes back as a"
                    " new disk, with the graphs that it holds"
                )
            )

    def store_sizes(self) -> dict[str, int]:
        """Bytes in the data folder, by kind."""
        return self._store.sizes()

    def _parts_gained(self, load: str, partitions: frozenset[int]) -> None:
        self.perform(self.shard.parts_gained(load, partitions, time.monotonic_ns()))

    # -- the tick plane --------------------------------------------------------------------------------------------

    def _tick_news(self, news: HandedOver) -> None:
        """What the tick thread hands over."""
        if self._closed:
            return
        tick_news.take(self, news)

    def _status_beat(self) -> None:
        self.runs.tell_progress()
        self.runs.watch_program()
        self.stock.beat()
        self._set_timer()
        self._beat = self._loop.call_later(STATUS_INTERVAL, self._status_beat)

    def drain_tick_counts(self) -> list[tuple[str, tuple[str, ...], int]]:
        """What the tick thread has counted since the last look."""
        news = []
        for key, total in list(self.ticks.counts.items()):
            seen = self._seen_counts.get(key, 0)
            if total > seen:
                self._seen_counts[key] = total
                news.append((*key, total - seen))
        return news
