"""The control plane's host: one asyncio loop that receives, wakes the shard in time and carries out its effects.

It reads the clock in one place, speaks with the tick thread through orders, and owns everything that has to be closed.
What consensus persists is on disk before the next effect is carried out. If the disk fails, nothing more is said but a
goodbye: what is in memory may be ahead of it.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from consensus import BecameLeader, LeaderChanged, Limits, Persist
from daemon import effects as fx
from daemon.config import Config
from daemon.host.census import Census
from daemon.host.disk import Disk
from daemon.host.entering import Entering
from daemon.host.fetching import Fetching
from daemon.host.graphs import Graphs
from daemon.host.loading import take_in
from daemon.host.mending import Mending
from daemon.host.post import Post
from daemon.host.programs import Programs
from daemon.host.reading import Reading
from daemon.host.restoring import RESTORE, take_in_restored
from daemon.host.results import Results
from daemon.host.run_desk import RunDesk
from daemon.host.searching import Searching
from daemon.host.store_thread import StoreThread
from daemon.host.tables import Tables
from daemon.host.tick_runner import News, TickRunner
from daemon.host.tick_thread import SAMPLES_KEPT, TickThread
from daemon.keys import AllowedKeys, KeyPair
from daemon.protocol import membership_effects as swim
from daemon.protocol import registry as reg
from daemon.protocol.cluster_messages import (
    PartAsked,
    PartitionMissing,
    PartitionWanted,
    PartTold,
    RowsTold,
    RowsWanted,
    SearchTold,
    SearchWanted,
    StatesWanted,
    TableTold,
    TableWanted,
    TicksAsked,
    TicksTold,
)
from daemon.protocol.decisions import Decision, Identity
from daemon.protocol.load import LoadLimits, PieceArrived, PieceGone
from daemon.protocol.membership_config import MembershipConfig
from daemon.protocol.membership_messages import Member
from daemon.protocol.records import RunRecord
from daemon.protocol.tick_effects import PhaseLate, RunOver, StoreStates, TickCommitted
from daemon.protocol.tick_messages import PieceBuilt
from daemon.shard import Shard
from daemon.shard_settings import OnDisk, ShardSettings
from daemon.store import DataFolder, StateRecord, Store, StoreFailed
from daemon.transport.security import Curve
from daemon.transport.sockets import TransportLimits
from daemon.transport.ticks import TickTransport
from daemon.vocabulary import CONTROL_TYPES, TICK_TYPES
from daemon.watch.metrics import Metrics
from daemon.wire import Codec, WireLimits

log = logging.getLogger("shoal.runtime")

STATUS_INTERVAL = 0.1
GIVE_UP_SECONDS = 15.0
ANSWERED = (RowsWanted, PartitionWanted, StatesWanted, TicksAsked, TableWanted, SearchWanted)
"""Questions that take a while: so many are worked on at once, and more are dropped, for they are asked again."""
ANSWERING_MAX = 256
STEP_TRIES = 8
STEP_AGAIN_SECONDS = 1.0


class Runtime:
    """One daemon. `fatal` is called, on the loop, with an error that must end the process."""

    def __init__(
        self,
        config: Config,
        folder: DataFolder,
        keys: KeyPair | None,
        allowed: AllowedKeys | None,
        metrics: Metrics,
        fatal: Callable[[BaseException], None],
    ) -> None:
        self.config, self.metrics = config, metrics
        self._loop = asyncio.get_running_loop()
        self._fatal = fatal
        self.started = time.monotonic()
        self.generation = folder.generation
        self._store = Store(folder)
        self.store_thread = StoreThread(folder, lambda error: self._soon(self._broken, error))
        self.disk = Disk(self.store_thread, self._soon)
        self.workers = ThreadPoolExecutor(2, "shoal-worker")
        curve = Curve(keys, allowed.name_of) if keys is not None and allowed is not None else None
        limits = _transport_limits(config)
        wire = WireLimits(
            header_bytes_max=config.transport.header_bytes_max,
            frame_bytes_max=config.transport.frame_bytes_max,
            frames_max=config.transport.frames_max,
        )
        name, listen = config.cluster.name, config.listen
        ticks = TickTransport(listen.ticks, curve=curve, count=metrics.count, limits=limits)
        member = Member(
            name=config.cluster.shard,
            generation=self.generation,
            control=listen.advertise_control,
            ticks=listen.advertise_ticks,
            public_key=keys.public if keys is not None else b"",
        )
        self.me = Identity(member.name, member.generation)
        seeds = {seed.address: seed.name for seed in config.cluster.seeds}
        codec = Codec(name, CONTROL_TYPES, wire)
        self.post = Post(self.me, listen.control, codec, curve, allowed, seeds, limits, metrics, self._heard)
        self.shard = Shard(
            member,
            list(seeds),
            shard_settings(config),
            random.Random(uuid.uuid4().int),  # noqa: S311
            time.monotonic_ns(),
            self._on_disk(folder),
        )
        self.post.know(self.shard.membership)
        load_limits = LoadLimits(piece_bytes_max=config.graph.load_bytes_max)
        runner = TickRunner(self.me.name, load_limits, time.monotonic_ns, kernel_threads=config.ticks.kernel_threads)
        self.ticks = TickThread(
            self.me,
            ticks,
            Codec(name, TICK_TYPES, wire),
            runner,
            hand_over=lambda news: self._soon(self._tick_news, news),
            store=self._keep_states,
            died=lambda error: self._soon(self._fatal, error),
        )
        self.graphs = Graphs(self.me.name, self.disk, self.workers)
        self.census = Census(self.me.name, self.graphs, self.post.send)
        self.fetching = Fetching(
            self.me.name, self.disk, self.ticks, load_limits, self.post.send, lambda load: self.runs.numbers_on(load)
        )
        self.mending = Mending(
            self.disk,
            self.graphs,
            self.fetching,
            config.storage.repair_bandwidth,
            self._parts_gained,
            lambda: self.entering.look_for_results(),
        )
        self.programs = Programs(self.shard.registry, config.programs, self._soon)
        self.results = Results(
            self.me.name, config.ticks.results_kept, self.disk, self.fetching, self.post.send, self.programs.make
        )
        self.runs = RunDesk(
            self.shard,
            self.ticks,
            self.graphs,
            self.disk,
            self.fetching,
            self.results,
            self.programs,
            config.ticks,
            metrics,
            self._perform,
            self._soon,
            self._spawn,
        )
        self.reading = Reading(self, self.results)
        self.tables, self.searching = Tables(self, self.programs.make), Searching(self)
        self.entering = Entering(
            self.shard,
            self.post,
            self.ticks,
            self.graphs,
            self.runs,
            self.mending,
            self._spawn,
            lambda epoch: self._perform(self.shard.results_looked_for(epoch, time.monotonic_ns())),
        )
        self._tasks: set[asyncio.Task[Any]] = set()
        self._answers: dict[str, asyncio.Future[fx.Answered]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._seen_counts: dict[tuple[str, tuple[str, ...]], int] = {}
        self.ticks_counted = 0
        self.checkpoint_samples: deque[float] = deque(maxlen=SAMPLES_KEPT)
        self._closed = self._is_broken = False

    def _on_disk(self, folder: DataFolder) -> OnDisk:
        held = {load: partitions for load, (_, partitions) in self._store.loads().items()}
        return OnDisk(folder.disk, self._store.load_consensus(), held)

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to look for the others."""
        self.store_thread.start()
        self.ticks.start()
        self._wake()
        self._status_beat()

    def give_up_seat(self) -> None:
        """Ask to be no server of consensus any more."""
        self._perform(self.shard.give_up_seat(time.monotonic_ns()))

    async def leave(self, patience: float) -> None:
        """Say goodbye, and give the news a moment to get out."""
        for effect in self.shard.leave(time.monotonic_ns()):
            if isinstance(effect, fx.Send | fx.SendToAddress):  # the last words of one whose disk has failed, too
                self._carry_out(effect)
        self._set_timer()
        until = time.monotonic() + patience
        while not self.shard.membership.left and time.monotonic() < until:
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Close sockets and end the thread."""
        if self._closed:
            return
        self._closed = True
        for timer in (self._timer, self._beat):
            if timer is not None:
                timer.cancel()
        self.mending.close()
        for task in self._tasks:
            task.cancel()
        if self.ticks.is_alive():
            self.ticks.close()
        if self.store_thread.is_alive():
            self.store_thread.close()
        self._store.close()
        self.post.close()
        self.workers.shutdown(wait=False, cancel_futures=True)

    @property
    def ready(self) -> tuple[bool, str]:
        """Whether this shard serves, and in words why not."""
        if not self.shard.in_view:
            return False, "not in a view"
        if self.shard.leader is None:
            return False, "no tick leader is known: without a majority on this side nothing is committed"
        missing = self.shard.missing_members()
        if missing:
            return False, f"members of the view are missing: {', '.join(missing)}"
        return True, f"in view {self.shard.registry.epoch}, led by {self.shard.leader}"

    # -- orders of operations --------------------------------------------------------------------------------------

    async def decide(self, decision: Decision) -> fx.Answered:
        """Get a decision through consensus. The answer's `error` says why not."""
        give_up_ns = time.monotonic_ns() + int(GIVE_UP_SECONDS * 1e9)
        return await self._answered(
            decision.request, lambda now: self.shard.propose(decision, give_up_ns, now), GIVE_UP_SECONDS + 1
        )

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
            self._perform(ask(time.monotonic_ns()))
            done, _ = await asyncio.wait([answer], timeout=patience)
            return answer.result() if done else fx.Answered(request, "the tick leader has not answered: try again")
        finally:
            del self._answers[request]

    # -- receiving -------------------------------------------------------------------------------------------------

    def _heard(self, sender: Identity, message: Any) -> None:
        match message:
            case _ if isinstance(message, ANSWERED) and len(self._tasks) >= ANSWERING_MAX:
                self.metrics.dropped("busy")  # it is asked again
            case RowsWanted() | TicksAsked():
                self._spawn(self.reading.answer(sender.name, message))
            case TableWanted():
                self._spawn(self.tables.answer(sender.name, message))
            case TableTold():
                self.tables.told(sender.name, message)
            case SearchWanted():
                self._spawn(self.searching.answer(sender.name, message))
            case SearchTold():
                self.searching.told(sender.name, message)
            case RowsTold() | TicksTold():
                self.reading.told(sender.name, message)
            case PartitionWanted() | StatesWanted():
                if self.shard.registry.has_member(sender):
                    self._spawn(self.fetching.give(sender.name, message))
            case PartitionMissing(fetch=fetch):
                self.fetching.missing(fetch)
            case PartAsked():
                told = self.census.tell(message)
                if told is not None:
                    self.post.send(sender.name, told)
            case PartTold():
                self.census.told(sender.name, message)
            case _:
                self._perform(self.shard.step(sender, message, time.monotonic_ns()))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        """Have something done beside the loop's turns; an error in it ends the daemon as one in a turn does."""
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._fatal(error)

    def _wake(self) -> None:
        self._timer = None
        self._perform(self.shard.wake(time.monotonic_ns()))

    def _set_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self.shard.deadline
        if deadline is not None and not self._closed:
            self._timer = self._loop.call_later(max(0.0, (deadline - time.monotonic_ns()) / 1e9), self._wake)

    # -- carrying out ----------------------------------------------------------------------------------------------

    def _perform(self, effects: Iterable[fx.Effect]) -> None:
        for effect in effects:
            if self._is_broken:
                return
            self._carry_out(effect)
        self._set_timer()

    def _broken(self, error: BaseException) -> None:
        """The disk has failed: from now on nothing is said that depends on it."""
        self._is_broken = True
        self._fatal(error)

    def _carry_out(self, effect: fx.Effect) -> None:
        match effect:
            case fx.Send(to=to, message=message):
                self.post.send(to, message)
            case fx.SendToAddress(address=address, message=message):
                self.post.send_to_address(address, message)
            case Persist():
                self._persist(effect)
            case fx.BeginRun():
                self.runs.begin(effect.run, effect.view)
            case fx.TellStates():
                self.ticks.order(lambda: self._look_up_states(effect))
            case fx.MendHoldings(wants=wants):
                self.mending.aim(wants)
            case fx.DeleteParts(load=load, partitions=partitions):
                self._spawn(self.graphs.drop_load(load, partitions))
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
            case swim.Counted(name=name, amount=amount):
                self.metrics.count(name, (), amount)
            case _:
                self._announced(effect)

    def _persist(self, effect: Persist) -> None:
        try:
            self._store.persist(effect)
        except StoreFailed as error:
            self._broken(error)

    def _look_up_states(self, effect: fx.TellStates) -> Sequence[News]:
        """On the tick thread, which has left the older view: what it had stored there is in the queue before this."""

        def tell(held: Mapping[int, Mapping[int, frozenset[int]]]) -> None:
            self._soon(self._tell_states, effect, held)

        self.store_thread.submit(lambda store: store.states_held(), tell)
        return []

    def _tell_states(self, effect: fx.TellStates, held: Mapping[int, Mapping[int, frozenset[int]]]) -> None:
        asked = {run: held.get(run, {}) for run in effect.runs}
        reached = {run: self.runs.reached(run) for run in effect.runs}
        self._perform(self.shard.states_held(effect.epoch, asked, time.monotonic_ns(), reached))

    def _keep_states(self, states: StoreStates) -> None:
        """From the tick thread: make a checkpoint durable, and say so there."""
        older = self.config.ticks.checkpoints_kept - 1
        record, began = StateRecord(states.run, states.tick, states.floor, states.states, older), time.monotonic()

        def durable() -> None:
            self.checkpoint_samples.append(time.monotonic() - began)
            self.ticks.order(lambda: self.ticks.stored(states.token))

        self.store_thread.submit_states(record, durable)

    def store_sizes(self) -> dict[str, int]:
        """Bytes in the data folder, by kind."""
        return self._store.sizes()

    def _parts_gained(self, load: str, partitions: frozenset[int]) -> None:
        self._perform(self.shard.parts_gained(load, partitions, time.monotonic_ns()))

    def _announced(self, effect: object) -> None:
        """News for the log, and what follows from it on this machine."""
        match effect:
            case swim.MemberJoined(member=member):
                log.info("member %s joined (%s)", member.name, member.control)
                self.entering.hear_of(member)
            case swim.MemberUpdated(member=member):
                self.entering.hear_of(member)
            case swim.MemberFailed(member=member):
                log.warning("member %s has failed", member.name)
            case swim.MemberLeft(member=member):
                log.info("member %s left", member.name)
            case swim.MemberSuspected(member=member, by=by):
                log.info("member %s is suspected by %s", member.name, by)
            case swim.Superseded(by=by):
                self._fatal(RuntimeError(f"another daemon runs under our name '{by.name}' at {by.control}"))
            case BecameLeader(term=term):
                log.info("this shard is tick leader of term %d", term)
                self.metrics.raft_elections_won_total.inc()
            case LeaderChanged(term=term, leader=leader):
                log.info("tick leader of term %d is %s", term, leader or "not known")
            case reg.ViewInstalled(view=view):
                self.entering.enter(view)
            case reg.GraphInstalled(graph=graph):
                log.info("graph %s: %d nodes, %d edges", graph.name, graph.node_count, graph.edge_count)
                self.ticks.order(lambda: self.ticks.load_decided(graph.load))
                self.graphs.install(graph.name, graph.load)
                self.entering.have_part(graph)
            case reg.GraphRemoved(graph=graph):
                log.info("graph %s dropped", graph.name)
                self.results.drop_graph(graph.name)
                self.tables.forget()
                self.searching.forget()
            case reg.ProgramDeployed(version=version):
                log.info("program %s deployed, digest %s", version.name, version.digest)
            case reg.ProgramRemoved(version=version):
                log.info("program %s removed, digest %s", version.name, version.digest)
            case reg.RunEnded(run=run):
                self.runs.ended(run)

    # -- the tick plane --------------------------------------------------------------------------------------------

    def _tick_news(self, news: News) -> None:
        """What the tick thread hands over."""
        if self._closed:
            return
        match news:
            case PieceArrived(load=load) if load.startswith("fetch/"):
                if not self.fetching.arrived(news):
                    self.ticks.order(lambda: self.ticks.fetched(PieceBuilt(load, "", 0, 0, 0, 0, 0)))
            case PieceArrived(load=load) if load.startswith(RESTORE):
                self._spawn(self._take_restored(news))
            case PieceArrived():
                self._spawn(self._take_piece(news))
            case PieceGone(load=load):
                self._spawn(self.graphs.drop_load(load))
            case TickCommitted() | PhaseLate() | RunOver():
                self.runs.hear(news)

    async def _take_piece(self, piece: PieceArrived) -> None:
        answer = await take_in(piece, self.graphs, self.shard.registry.view, self.me.name)
        self.ticks.order(lambda: self.ticks.piece_built(answer))

    async def _take_restored(self, piece: PieceArrived) -> None:
        answer = await take_in_restored(piece, self.graphs, self.disk, self)
        self.ticks.order(lambda: self.ticks.piece_built(answer))

    def _status_beat(self) -> None:
        self.runs.tell_progress()
        self.runs.watch_program()
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

    def _soon(self, do: Callable[..., None], *args: Any) -> None:
        """From another thread: on the loop, unless it has been closed meanwhile."""
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(do, *args)


def shard_settings(config: Config) -> ShardSettings:
    """The machines' numbers from the configuration."""
    return ShardSettings(
        expect=config.cluster.expect,
        virtual_nodes=config.graph.virtual_nodes,
        replicas=config.graph.replicas,
        absent_patience_ns=config.cluster.absent_patience_ns,
        snapshot_entries=config.consensus.snapshot_entries,
        membership=MembershipConfig(**config.membership.model_dump()),
        consensus=Limits(**config.consensus.model_dump(exclude={"snapshot_entries"})),
    )


def _transport_limits(config: Config) -> TransportLimits:
    section = config.transport
    return TransportLimits(
        frame_bytes_max=section.frame_bytes_max,
        frames_max=section.frames_max,
        queue_messages_max=section.queue_messages_max,
        queue_bytes_max=section.queue_bytes_max,
        drain_max=section.control_drain_max,
    )
