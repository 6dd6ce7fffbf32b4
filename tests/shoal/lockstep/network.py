"""A few tick machines with nothing around them but a bag of messages: what the tests of the tick plane share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shoal.engine.engine import Outgoing
from shoal.lockstep.effects import HoldTick, RunPhase, SendTick, SettlePhase, TickEffect
from shoal.lockstep.machine import RunMessage, TickMachine
from shoal.lockstep.messages import BarrierRaised, PhaseDone, PhaseRequest, PhaseSent
from shoal.lockstep.timing import AT_THE_END, Cadence, TickTiming
from shoal.program.phase import Phase

MS = 1_000_000
TIMING = TickTiming(resend_interval_ns=200 * MS, phase_timeout_ns=1000 * MS)
ALL = tuple(Phase)


def nothing(peers: Sequence[str]) -> Outgoing:
    return Outgoing(0, b"", dict.fromkeys(peers, ()))


class Group:
    """Machines by name. Phases run when the test says so; messages wait in `bag` until it delivers them.

    Ticks are held at once, unless the disk is slow: then they wait in `holding` for the test's `hold`.
    """

    def __init__(
        self,
        names: str = "abc",
        phases: Sequence[Phase] = ALL,
        ticks: int = 3,
        granted: int | None = None,
        *,
        tick: int = 0,
        reached: int = 0,
        cadence: Cadence = AT_THE_END,
        slow_disk: bool = False,
        halts_at: int | None = None,
        must_halt: bool = False,
        halts_on: str = "",
    ) -> None:
        """`halts_at` that tick the program is over: everywhere, or `halts_on` some alone, as no program should."""
        self.now = 0
        self.slow_disk, self.halts_at, self.halts_on = slow_disk, halts_at, halts_on or names
        self.holding: dict[str, HoldTick] = {}
        self.bag: list[tuple[str, str, RunMessage]] = []
        self.told: dict[str, list[TickEffect]] = {name: [] for name in names}
        self.machines = {
            name: TickMachine(
                1,
                name,
                tuple(names),
                phases,
                ticks,
                TIMING,
                granted,
                tick=tick,
                reached=reached,
                cadence=cadence,
                must_halt=must_halt,
            )
            for name in names
        }
        for name, machine in self.machines.items():
            self.take(name, machine.begin(self.now))

    def take(self, name: str, effects: Iterable[TickEffect]) -> None:
        """Carry out what needs no decision of the test: sends go to the bag, settling is done at once."""
        for effect in effects:
            match effect:
                case SendTick(to=to, message=PhaseDone() | PhaseRequest() | PhaseSent() | BarrierRaised() as message):
                    self.bag.append((name, to, message))
                case SettlePhase():
                    self.told[name].append(effect)
                    halted = effect.phase is Phase.ADVANCE and effect.tick == self.halts_at and name in self.halts_on
                    self.take(name, self.machines[name].settled(halted, self.now))
                case HoldTick():
                    self.told[name].append(effect)
                    self.holding[name] = effect
                    self.take(name, self.machines[name].captured())
                    if not self.slow_disk:
                        self.hold(name)
                case _:
                    self.told[name].append(effect)
            self.machines[name].validate()

    def compute(self, name: str) -> None:
        machine = self.machines[name]
        self.take(name, machine.computed(nothing(machine.peers), 1, self.now))

    def hold(self, name: str) -> None:
        """The tick that waits for storage is durable everywhere."""
        del self.holding[name]
        self.take(name, self.machines[name].held(self.now))

    def held(self, name: str) -> list[tuple[int, int]]:
        """Tick and floor of all that was to be held."""
        return [(effect.tick, effect.floor) for effect in self.told[name] if isinstance(effect, HoldTick)]

    def deliver(self, *, to: str = "", keep: bool = False) -> None:
        """Everything on its way (to one); `keep` delivers a copy and leaves the message in the bag."""
        due = [item for item in self.bag if not to or item[1] == to]
        if not keep:
            self.bag = [item for item in self.bag if to and item[1] != to]
        for sender, receiver, message in due:
            self.take(receiver, self.machines[receiver].step(sender, message, self.now))

    def round(self) -> None:
        """Everyone runs the phase at hand and hears of everyone's."""
        for name, machine in self.machines.items():
            if machine.state.value == "computing":
                self.compute(name)
        self.deliver()

    def wake(self) -> None:
        for name, machine in self.machines.items():
            self.take(name, machine.wake(self.now))

    def phase(self, name: str) -> tuple[int, Phase]:
        """The last phase that a machine was told to run."""
        last = [effect for effect in self.told[name] if isinstance(effect, RunPhase)][-1]
        return last.tick, last.phase
