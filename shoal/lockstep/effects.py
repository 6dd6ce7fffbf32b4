"""What the machines of the tick plane ask of their host, and what they announce."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from shoal.lockstep.frames import Buffer
from shoal.lockstep.messages import PhaseDone
from shoal.program.phase import Phase


@dataclass(frozen=True, slots=True)
class SendTick:
    """Hand a message to one peer's tick plane; it may be lost."""

    to: str
    message: object


@dataclass(frozen=True, slots=True)
class RunPhase:
    """Run a phase of a program here; the host answers with `computed`, or with `raised` if the program fails."""

    run: int
    tick: int
    phase: Phase


@dataclass(frozen=True, slots=True)
class SettlePhase:
    """Every peer's share of a phase is here: take them in; the host answers with `settled`."""

    run: int
    tick: int
    phase: Phase
    shares: Mapping[str, PhaseDone]


@dataclass(frozen=True, slots=True)
class TickCommitted:
    """Every member has completed this tick. `figures` holds for each used phase and member (compute_ns, sent_bytes)."""

    run: int
    tick: int
    figures: tuple[tuple[Phase, tuple[tuple[int, int], ...]], ...]
    waited_ns: tuple[tuple[Phase, int], ...]


@dataclass(frozen=True, slots=True)
class PhaseLate:
    """A phase has outlasted its timeout; `missing` have not completed it, or their data has not come.

    Of a checkpoint that is being held: `missing` have not made it durable, this shard itself perhaps among them.
    """

    run: int
    tick: int
    phase: Phase
    missing: tuple[str, ...]
    waited_ns: int


@dataclass(frozen=True, slots=True)
class RunOver:
    """The run has ended here, after `tick` committed ticks; all shards end it at the same one."""

    run: int
    tick: int
    outcome: str
    failure: str


@dataclass(frozen=True, slots=True)
class HoldTick:
    """Make the state of this tick durable, here and on all replicas; the host answers with `held`.

    `floor` is the last checkpoint that is known to be committed: what is older may go.
    """

    run: int
    tick: int
    floor: int


@dataclass(frozen=True, slots=True)
class StoreStates:
    """Make these partitions' states durable on this machine; the host answers with `stored(token)`."""

    run: int
    tick: int
    floor: int
    states: Mapping[int, Buffer]
    token: int


@dataclass(frozen=True, slots=True)
class TickHeld:
    """The state of a tick is durable here and on all replicas."""

    run: int
    tick: int


TickEffect: TypeAlias = (
    SendTick | RunPhase | SettlePhase | TickCommitted | PhaseLate | RunOver | HoldTick | StoreStates | TickHeld
)
