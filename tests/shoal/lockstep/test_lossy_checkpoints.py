"""Machines that compute, over a network that loses, repeats and reorders: all end at one tick, which all hold."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.engine.engine import Outgoing
from shoal.lockstep.effects import (
    HoldTick,
    RunOver,
    RunPhase,
    SendTick,
    SettlePhase,
    TickEffect,
)
from shoal.lockstep.machine import RunMessage, TickMachine
from shoal.lockstep.messages import OPEN, BarrierRaised, PhaseDone, PhaseRequest, PhaseSent
from shoal.lockstep.timing import AT_THE_END, Cadence
from shoal.program.phase import Phase
from tests.shoal.lockstep.network import ALL, MS, TIMING, nothing

ADVANCE = (Phase.ADVANCE,)


@dataclass
class World:
    """Shards that each count: a tick's value is what all said in the tick before, so a share that is lost, taken twice
    or taken early shows in the numbers. Every choice is drawn.
    """

    names: str
    phases: tuple[Phase, ...]
    ticks: int
    cadence: Cadence
    halts_at: int | None
    tick: int = 0
    values: dict[str, int] = field(default_factory=dict)
    working: dict[str, int] = field(default_factory=dict)
    committed: dict[str, dict[int, int]] = field(default_factory=dict)
    disk: dict[str, dict[int, int]] = field(default_factory=dict)
    floors: list[tuple[int, int]] = field(default_factory=list)
    over: dict[str, RunOver] = field(default_factory=dict)
    now: int = 0

    def __post_init__(self) -> None:
        self.bag: list[tuple[str, str, RunMessage]] = []
        self.to_run: list[tuple[str, RunPhase]] = []
        self.to_hold: list[tuple[str, HoldTick]] = []
        self.machines = {
            name: TickMachine(
                1, name, tuple(self.names), self.phases, self.ticks, TIMING, tick=self.tick, cadence=self.cadence
            )
            for name in self.names
        }
        for name, machine in self.machines.items():
            self.committed.setdefault(name, {})
            self.disk.setdefault(name, {})
            self.take(name, machine.begin(0))

    def take(self, name: str, effects: list[TickEffect]) -> None:
        machine = self.machines[name]
        for effect in effects:
            match effect:
                case SendTick(to=to, message=PhaseDone() | PhaseRequest() | PhaseSent() | BarrierRaised() as message):
                    self.send(name, to, message)
                case RunPhase():
                    self.to_run.append((name, effect))
                case HoldTick():
                    assert effect.tick not in self.disk[name] or effect.tick == self.tick, "a tick is held once"
                    self.floors.append((effect.tick, effect.floor))
                    self.to_hold.append((name, effect))
                    self.take(name, machine.captured())
                case SettlePhase():
                    halted = self.settle(name, effect)
                    machine.validate()
                    self.take(name, machine.settled(halted, self.now))
                case RunOver():
                    assert name not in self.over
                    assert effect.tick in self.disk[name], "an end that is not held"
                    self.over[name] = effect
        machine.validate()

    def send(self, name: str, to: str, message: RunMessage) -> None:
        raised = 0
        if isinstance(message, PhaseDone) and not message.flags & OPEN:
            raised = message.entry
        if isinstance(message, BarrierRaised):
            raised = dict(message.entries)[name]
        if raised and raised % 4 == 0:
            tick = raised // 4 - 1
            every, last = self.cadence.ticks, tick == self.ticks
            if last or (tick and (tick == self.tick or (every > 0 and tick % every == 0))):
                assert tick in self.disk[name], f"{name} says that tick {tick} is complete before it is held"
        self.bag.append((name, to, message))

    def run(self, name: str, effect: RunPhase) -> None:
        machine = self.machines[name]
        outgoing = nothing(machine.peers)
        if effect.phase is Phase.ADVANCE:
            known = self.disk[name] if effect.tick == self.tick else self.committed[name]
            base = known[effect.tick] if effect.tick == self.tick and effect.tick else None
            if base is None:
                base = 31 * self.values.get(name, 0) + ord(name) + effect.tick if effect.tick else ord(name)
            self.working[name] = base
            outgoing = Outgoing(0, b"%d" % base, dict.fromkeys(machine.peers, ()))
        self.take(name, machine.computed(outgoing, 1, self.now))

    def settle(self, name: str, effect: SettlePhase) -> bool:
        assert set(effect.shares) == set(self.names) - {name}
        if effect.phase is not Phase.ADVANCE:
            return False
        everyone = [self.working[name], *(int(share.aggregates) for share in effect.shares.values())]
        self.values[name] = sum(everyone) % 1_000_003
        self.committed[name][effect.tick] = self.working[name]
        return effect.tick == self.halts_at

    def hold(self, name: str, effect: HoldTick) -> None:
        self.disk[name][effect.tick] = self.working[name]
        self.take(name, self.machines[name].held(self.now))

    def play(self, data: st.DataObject, steps_max: int, stop_at: int | None = None) -> None:
        """Until all is over, or for so many steps. After a while nothing is lost any more: all must come to an end."""
        for step in range(20_000):
            if step >= steps_max or len(self.over) == len(self.names):
                return
            if step == stop_at:
                name = data.draw(st.sampled_from(self.names))
                self.take(name, self.machines[name].stop(self.now))
            choices = [
                kind for kind in ("run", "hold", "bag") if getattr(self, kind if kind == "bag" else f"to_{kind}")
            ]
            kind = data.draw(st.sampled_from(choices)) if choices and step < 60 else (choices or ["wait"])[0]
            if kind == "wait" or (step < 60 and data.draw(st.integers(0, 9)) == 0):
                self.now += 100 * MS
                for name, machine in self.machines.items():
                    self.take(name, machine.wake(self.now))
                continue
            if kind == "bag":
                place = data.draw(st.integers(0, len(self.bag) - 1)) if step < 60 else 0
                fate = data.draw(st.sampled_from(["comes", "comes", "lost", "twice"])) if step < 60 else "comes"
                sender, to, message = self.bag[place] if fate == "twice" else self.bag.pop(place)
                if fate != "lost":
                    self.take(to, self.machines[to].step(sender, message, self.now))
            elif kind == "run":
                self.run(*self.to_run.pop(data.draw(st.integers(0, len(self.to_run) - 1)) if step < 60 else 0))
            else:
                self.hold(*self.to_hold.pop(data.draw(st.integers(0, len(self.to_hold) - 1)) if step < 60 else 0))
        raise AssertionError({name: machine.doing() for name, machine in self.machines.items()})


@st.composite
def worlds(draw: st.DrawFn) -> World:
    phases = draw(st.sampled_from([ADVANCE, ALL, (Phase.ACT, Phase.ADVANCE)]))
    cadence = draw(
        st.sampled_from([AT_THE_END, Cadence(1), Cadence(2), Cadence(3), Cadence(0, 0), Cadence(0, 300 * MS)])
    )
    halts_at = draw(st.none() | st.integers(0, 5))
    return World(draw(st.sampled_from(["a", "ab", "abc"])), phases, draw(st.integers(0, 5)), cadence, halts_at)


def alone(world: World) -> World:
    """The same run, undisturbed."""
    twin = World(world.names, world.phases, world.ticks, AT_THE_END, world.halts_at)
    while len(twin.over) < len(twin.names):
        if twin.to_run:
            twin.run(*twin.to_run.pop(0))
        elif twin.to_hold:
            twin.hold(*twin.to_hold.pop(0))
        else:
            sender, to, message = twin.bag.pop(0)
            twin.take(to, twin.machines[to].step(sender, message, 0))
    return twin


@settings(max_examples=80, deadline=None)
@given(worlds(), st.none() | st.integers(0, 80), st.data())
def test_whatever_the_network_does_all_end_at_the_same_held_tick(
    world: World, stop_at: int | None, data: st.DataObject
) -> None:
    world.play(data, 20_000, stop_at)
    assert len({str(over) for over in world.over.values()}) == 1, world.over
    assert len({tuple(sorted(held)) for held in world.disk.values()}) == 1, "all hold the same ticks"
    assert all(floor < tick or tick == 0 for tick, floor in world.floors)
    twin = alone(world)
    for name, ticks in world.committed.items():
        for tick, value in ticks.items():
            assert value == twin.committed[name][tick], "and have computed what an undisturbed run does"


@settings(max_examples=80, deadline=None)
@given(worlds(), st.integers(0, 150), st.data())
def test_cut_off_anywhere_a_run_goes_on_from_what_all_hold_to_the_same_end(
    world: World, steps: int, data: st.DataObject
) -> None:
    world.play(data, steps)
    common = set.intersection(*(set(held) for held in world.disk.values()))
    for tick, floor in world.floors:
        assert floor in common or floor == 0, f"the floor at tick {tick} is not held by all"
    tick = max(common, default=0)
    seen = {name: dict(ticks) for name, ticks in world.committed.items()}
    checkpointed = {
        t for ticks in seen.values() for t in ticks if world.cadence.ticks > 0 and t % world.cadence.ticks == 0
    }
    assert tick >= max(checkpointed, default=0), "a committed checkpoint is held by all"
    again = World(
        world.names, world.phases, world.ticks, world.cadence, world.halts_at, tick=tick,
        disk={name: {tick: held[tick]} if tick else {} for name, held in world.disk.items()},
    )  # fmt: skip
    again.play(data, 20_000)
    twin = alone(world)
    assert again.over == twin.over
    for name, ticks in again.committed.items():
        assert ticks == {t: value for t, value in twin.committed[name].items() if t >= tick}
        assert all(value == twin.committed[name][t] for t, value in seen[name].items())
