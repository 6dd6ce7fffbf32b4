"""What a simulated host does about runs and partitions: begins runs from its disk and others', fetches and gives.

The counterpart of the daemon's run controller, its fetching and its repair, without their tasks: what these await
comes back here as a call.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from daemon.control.effects import TellStates
from daemon.control.holdings import Want
from daemon.services.graphs.messages import PartitionMissing, PartitionRequest, StatesRequest
from daemon.state.commands import from_bits, to_bits
from daemon.state.placement import Placed, sources
from daemon.state.records import STOPPING, RunRecord, View
from daemon.transfer.chunks import PieceArrived, Shipment
from shoal.engine.engine import is_fixed, state_bytes
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import PieceBuilt
from shoal.lockstep.timing import Cadence
from tests.simulator.disk import Contents, Row
from tests.simulator.programs import PROGRAMS, make
from tests.simulator.world import MS, SECOND

if TYPE_CHECKING:
    from tests.simulator.host import Host

PROGRESS_INTERVAL_NS = 100 * MS
ASK_AGAIN_NS, ASKED_MAX, TRY_AGAIN_NS, LOOK_AGAIN_NS = 500 * MS, 6, SECOND, 10 * SECOND

Fetched = Callable[[PieceArrived | None], None]
Wanted = PartitionRequest | StatesRequest


@dataclass
class _Fetch:
    """Something that is being asked for: of the first source, then of the next."""

    wanted: Wanted
    sources: Sequence[str]
    done: Fetched
    asked: int = 0


@dataclass(frozen=True)
class _StateWant:
    """The state of a run's last tick."""

    run: int
    tick: int
    partition: int
    made_in: int
    sources: tuple[str, ...]


class Desk:
    """One life of a host."""

    def __init__(self, host: Host) -> None:
        self._host, self._world, self._disk = host, host.world, host.disk
        self.epochs: dict[int, int] = {}
        self.begun: dict[tuple[int, int], RunRecord] = {}
        self._fetches: dict[str, _Fetch] = {}
        self._fetched = 0
        self._wants: dict[tuple[str, int], Want] = {}
        self._states: deque[_StateWant] = deque()
        self._is_mending = False
        self._looking = 0

    # -- runs ------------------------------------------------------------------------------------------------------

    def begin(self, run: RunRecord, view: View) -> None:
        """Begin a run, or go on with it in a new view, as soon as its part and its state are at hand."""
        if not self._still_wanted(run, view):
            return  # the log has gone on in the same breath
        graph = self._host.shard.registry.graphs[run.graph]
        assert graph.load == run.load, f"run {run.name} began on load {run.load}, and goes on on load {graph.load}"
        self.epochs[run.number] = view.epoch
        self.begun[run.number, view.epoch] = run
        self._host.around.invariants.begun(run, view, self._host.shard.registry.placements[run.graph])
        placed = self._host.shard.registry.placements[run.graph]
        load, me = run.load, self._host.name
        mine = [partition for partition, holders in enumerate(placed) if holders[0] == me]

        def look() -> None:
            held = self._disk.contents.held.get(load, frozenset())
            gone = sorted(set(mine) - held)
            assert not gone or not self._still_wanted(run, view), f"{me} should serve {gone}, and does not hold them"
            elsewhere = {p: source.shard for source in run.sources for p in from_bits(source.partitions)}
            states: dict[int, bytes] = {}
            for partition in mine if run.resumed else ():
                state = self._disk.contents.state(run.number, run.resumed, partition)
                told = f"{me}: the state of run {run.number}, tick {run.resumed}, {partition} was here and is gone"
                assert state is not None or partition in elsewhere or not self._still_wanted(run, view), told
                if state is not None and partition not in elsewhere:
                    states[partition] = state
            self._host.control(lambda: self._gather(run, view, placed, mine, states, elsewhere))

        self._disk.read(lambda: self._host.hand_over(look))

    def _still_wanted(self, run: RunRecord, view: View) -> bool:
        registry = self._host.shard.registry
        known = registry.runs.get(run.name)
        return known is not None and known.active and registry.epoch == view.epoch

    def _gather(
        self,
        run: RunRecord,
        view: View,
        placed: Placed,
        mine: list[int],
        states: dict[int, bytes],
        elsewhere: dict[int, str],
    ) -> None:
        """Fetch what is not here from the next who has some of it; begin when all is here."""
        if not self._still_wanted(run, view):
            return
        missing = [p for p in mine if run.resumed and p not in states]
        if not missing:
            self._order_begin(run, view, placed, mine, states)
            return
        source = elsewhere[missing[0]]

        def came(piece: PieceArrived | None) -> None:
            if piece is not None:
                states.update((row.partition, row.state) for row in self._rows(piece) if row.epoch == run.origin)
            self._gather(run, view, placed, mine, states, elsewhere)

        theirs = to_bits([p for p in missing if elsewhere[p] == source])
        self._fetch([source], StatesRequest("", run.number, run.resumed, theirs), came)

    def _order_begin(
        self, run: RunRecord, view: View, placed: Placed, mine: list[int], states: dict[int, bytes]
    ) -> None:
        me, granted = self._host.name, self._host.shard.pacing.granted(run.number)
        around = self._host.around
        program = make(run.program, run.params)
        sizes = {
            partition: state_bytes(PROGRAMS[run.program], around.graph.nodes_in(partition))
            for partition, holders in enumerate(placed)
            if me in holders[1:]
        }
        cadence = Cadence(run.checkpoint_ticks, around.checkpoint_interval_ns)
        machine = TickMachine(
            run.number, me, view.names, run.phases, run.ticks, around.timing, granted,
            tick=run.resumed, reached=run.reached, cadence=cadence,
            must_halt=not program.anytime,
        )  # fmt: skip
        self._host.ticks.begin(
            machine,
            around.graph.part(me, view.names, placed),
            program,
            granted is not None,
            replicas={partition: placed[partition][1:] for partition in mine},
            primaries={partition: placed[partition][0] for partition in sizes},
            sizes=sizes if is_fixed(type(program)) else None,
            state=(run.resumed, states) if run.resumed else None,
        )
        if self._host.shard.registry.runs[run.name].state == STOPPING:
            self._host.ticks.with_run(run.number, lambda machine: machine.stop(self._world.now))

    def ended(self, run: RunRecord) -> None:
        """A run is over, says the log: keep the last results, and no other states."""
        self._world.tell(f"{self._host.name}: {run.name} {run.state} at {run.tick} {run.failure}")
        self._host.around.invariants.ended(run)
        self.epochs.pop(run.number, None)
        self._host.ticks.end(run.number, run.failure)
        self._host.hand_over(lambda: self._host.control(self.forget_states))

    def forget_states(self) -> None:
        """Keep the states of runs that go on, and of results that are kept."""
        registry = self._host.shard.registry
        known, finished = registry.runs_begun, registry.kept_results()
        wanted = {run.number: run.tick for run in finished}
        wanted |= {run.number: 0 for run in registry.active_runs()}

        def forget(contents: Contents) -> None:
            contents.forget(wanted, known)
            for run in finished:
                contents.drop_void(run.number, run.is_void)

        self._disk.write(forget)

    def tell_states(self, effect: TellStates) -> None:
        """Which states of the runs that wait are on disk: looked up behind all that the tick plane had stored."""

        def look() -> None:
            held = {run: self._disk.contents.held_as_made(run) for run in effect.runs}
            reached = {run: self._host.ticks.reached.get(run, 0) for run in effect.runs}
            shard = self._host.shard
            self._host.ticks.tell(
                lambda: self._host.perform(shard.states_held(effect.epoch, held, self._world.now, reached))
            )

        self._host.hand_over(lambda: self._disk.read(look))

    def tell_progress(self) -> None:
        """Tell the progress gossip where the runs stand."""
        if not self._host.is_broken and self._host.runner.plane.runs:
            now, me = self._world.now, self._host.name
            for number, machine in self._host.runner.plane.runs.items():
                entry, seconds = machine.barrier.entry(me), (now - machine.since) / SECOND
                self._host.shard.progress.own(number, entry, machine.tick, machine.doing(), seconds, now)
            self._host.plan_wake()
        self._host.after(PROGRESS_INTERVAL_NS, self.tell_progress)

    # -- views -----------------------------------------------------------------------------------------------------

    def enter_view(self, view: View) -> None:
        """Speak with others; look for results that this host should have and may not."""
        self._world.tell(f"{self._host.name}: view {view.epoch}: {', '.join(map(str, view.members))}")
        registry = self._host.shard.registry
        is_latest = registry.epoch == view.epoch  # the log may have gone on in the same breath
        placements = {graph.load: registry.placements[name] for name, graph in registry.graphs.items()}
        self._host.around.invariants.entered(view, placements if is_latest else {})
        self._host.ticks.enter_view(view)
        if view.has(self._host.identity) and is_latest:
            self.look_for_results()

    def look_for_results(self) -> None:
        """Of runs that ended while this host was away, of partitions that it holds in the present view."""
        registry = self._host.shard.registry
        view = registry.view
        if view is None or not self._host.shard.in_view:
            return
        self.forget_states()
        self._states.clear()
        self._looking = view.epoch
        for run in registry.kept_results():
            for partition, holders in enumerate(registry.placements.get(run.graph, ())):
                if self._host.name in holders:
                    others = sources(self._host.name, holders, view.names)
                    self._states.append(_StateWant(run.number, run.tick, partition, run.made_in(run.tick), others))
        self._mend()

    # -- mending ---------------------------------------------------------------------------------------------------

    def aim(self, wants: Sequence[Want]) -> None:
        """Fetch these partitions from now on, and no others."""
        self._wants = {(want.load, want.partition): want for want in wants}
        self._mend()

    def _mend(self) -> None:
        if not self._is_mending and (self._wants or self._states):
            self._is_mending = True
            self._mend_next()
        elif not self._is_mending:
            self._tell_looked()

    def _tell_looked(self) -> None:
        epoch, self._looking = self._looking, 0
        if epoch and self._host.running:
            shard = self._host.shard
            self._host.after(
                1,
                lambda: self._host.control(
                    lambda: self._host.perform(shard.results_looked_for(epoch, self._world.now))
                ),
            )

    def _mend_next(self) -> None:
        contents = self._disk.contents
        while not self._wants and self._states:
            want = self._states.popleft()
            held = contents.held_as_made(want.run).get((want.tick, want.made_in), ())
            if want.sources and want.partition not in held:
                wanted_state = StatesRequest("", want.run, want.tick, to_bits([want.partition]))
                self._fetch(want.sources, wanted_state, partial(self._state, want))
                return
        if not self._wants:
            self._is_mending = False
            self._tell_looked()
            return
        key, wanted = next(iter(self._wants.items()))

        def came(piece: PieceArrived | None) -> None:
            if piece is not None:
                self._keep_partition(wanted, piece)
                return
            if self._wants.pop(key, None) is not None:
                self._wants[key] = wanted
            self._host.after(TRY_AGAIN_NS, lambda: self._host.control(self._mend_next))

        self._fetch(wanted.sources, PartitionRequest("", wanted.load, wanted.partition), came)

    def _state(self, want: _StateWant, piece: PieceArrived | None) -> None:
        if piece is None:  # whoever has it may be away, or out of reach
            self._host.after(LOOK_AGAIN_NS, lambda: self._host.control(self.look_for_results))
            self._mend_next()
            return
        rows = [row for row in self._rows(piece) if row.epoch == want.made_in]
        self._disk.keep(rows, lambda: self._host.ticks.tell(self._mend_next))

    def _keep_partition(self, want: Want, piece: PieceArrived) -> None:
        """Its states first: it counts as held when all is there."""
        rows = self._rows(piece)
        if rows:
            self._disk.keep(rows, lambda: None)

        def gained() -> None:
            self._wants.pop((want.load, want.partition), None)
            shard, partitions = self._host.shard, frozenset([want.partition])
            self._host.perform(shard.parts_gained(want.load, partitions, self._world.now))
            self._host.control(self._mend_next)

        self._disk.write(
            lambda contents: contents.gain(want.load, [want.partition]), lambda: self._host.ticks.tell(gained)
        )

    # -- fetching and giving ---------------------------------------------------------------------------------------

    def _fetch(self, sources: Sequence[str], wanted: Wanted, done: Fetched) -> None:
        self._fetched += 1
        name = f"fetch/{self._host.identity}/{self._fetched}"
        self._fetches[name] = _Fetch(replace(wanted, request=name), sources, done)
        self._ask(name, sources[0])

    def _ask(self, name: str, source: str) -> None:
        """Ask again until it comes; after a while the next source, under another name."""
        fetch = self._fetches.get(name)
        if fetch is None or not fetch.sources or fetch.sources[0] != source:
            return
        fetch.asked += 1
        if fetch.asked > ASKED_MAX:
            self.missing(name)
            return
        self._host.say(source, fetch.wanted)
        self._host.after(ASK_AGAIN_NS, lambda: self._host.control(lambda: self._ask(name, source)))

    def missing(self, name: str) -> None:
        """Who was asked does not have it, or does not answer."""
        fetch = self._close(name)
        if fetch is None:
            return
        if fetch.sources[1:]:
            self._fetch(fetch.sources[1:], fetch.wanted, fetch.done)
        else:
            fetch.done(None)

    def arrived(self, piece: PieceArrived) -> None:
        """A shipment is whole."""
        fetch = self._close(piece.load)
        if fetch is not None:
            fetch.done(piece)

    def _close(self, name: str) -> _Fetch | None:
        def land() -> None:
            runner = self._host.runner
            self._host.ticks.news(runner.perform(runner.plane.intake.built(PieceBuilt(name, "", 0, 0, 0, 0, 0))))
            runner.plane.intake.forget(name)

        self._host.hand_over(land)
        return self._fetches.pop(name, None)

    def give(self, to: str, wanted: Wanted) -> None:
        """Ship what a member has asked for, if it is here."""
        if (wanted.request, to) in self._host.runner.plane.shipments:
            return

        def look() -> None:
            contents = self._disk.contents
            if isinstance(wanted, StatesRequest):
                asked = [(wanted.run, wanted.tick, p) for p in sorted(from_bits(wanted.partitions))]
            else:
                runs = self._runs_on(wanted.load)
                asked = [(run, tick, wanted.partition) for run in runs for tick in contents.states.get(run, {})]
            had = [(each, state) for each in asked if (state := contents.state(*each)) is not None]
            if not (
                had if isinstance(wanted, StatesRequest) else wanted.partition in contents.held.get(wanted.load, ())
            ):
                self._host.ticks.tell(lambda: self._host.say(to, PartitionMissing(wanted.request)))
                return
            spec = json.dumps([(*each, contents.epochs[each]) for each, _ in had]).encode()
            shipment = Shipment(wanted.request, to, spec, [state for _, state in had], self._host.around.load_limits)
            self._host.order(lambda runner: runner.perform(runner.plane.ship_once(shipment, self._world.now)))

        self._disk.read(look)

    def _rows(self, piece: PieceArrived) -> list[Row]:
        """The states that have come."""
        rows = [
            Row(run, tick, 0, partition, bytes(frame), epoch)
            for (run, tick, partition, epoch), frame in zip(json.loads(piece.spec), piece.frames, strict=True)
        ]
        self._host.around.invariants.fetched(self._host.name, rows)
        return rows

    def _runs_on(self, load: str) -> list[int]:
        runs = self._host.shard.registry.runs_on(load)
        return [run.number for run in runs if run.active or run.has_result]
