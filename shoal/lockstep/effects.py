"""Effects of the tick plane's machines: requests to their host, and announcements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from msgspec import Struct

from shoal.lockstep.frames import Buffer
from shoal.lockstep.messages import PhaseDone
from shoal.program.phase import Phase


class SendTick(Struct, frozen=True):
    """Sends a message to one peer's tick plane; the network may lose it."""

    to: str
    message: object


class RunPhase(Struct, frozen=True):
    """Runs a phase of a program here; the host answers with `computed`, or with `raised` if the program fails."""

    run: int
    tick: int
    phase: Phase


class SettlePhase(Struct, frozen=True):
    """Settles a phase for which every peer's share has arrived; the host answers with `settled`."""

    run: int
    tick: int
    phase: Phase
    shares: Mapping[str, PhaseDone]


class TickCommitted(Struct, frozen=True):
    """Every member has completed this tick.

    `figures` holds for each used phase and member (compute_ns, sent_bytes).
    """

    run: int
    tick: int
    figures: tuple[tuple[Phase, tuple[tuple[int, int], ...]], ...]
    waited_ns: tuple[tuple[Phase, int], ...]


class PhaseLate(Struct, frozen=True):
    """A phase has outlasted its timeout; `missing` have not completed it, or their data has not arrived.

    For a checkpoint in progress, `missing` have not made it durable, perhaps this shard itself among them.
    """

    run: int
    tick: int
    phase: Phase
    missing: tuple[str, ...]
    waited_ns: int


class RunOver(Struct, frozen=True):
    """The run has ended here, after `tick` committed ticks; all shards end it at the same one."""

    run: int
    tick: int
    outcome: str
    failure: str


class HoldTick(Struct, frozen=True):
    """Makes the state of this tick durable, here and on all replicas.

    The host answers with `captured` once it has taken the state, and with `held` once that is durable everywhere.
    `floor` is the last checkpoint known to be committed: older ones may be deleted.
    """

    run: int
    tick: int
    floor: int


class StoreStates(Struct, frozen=True):
    """Makes these partitions' states durable on this machine; the host answers with `stored(token)`."""

    run: int
    tick: int
    floor: int
    states: Mapping[int, Buffer]
    token: int


class TickHeld(Struct, frozen=True):
    """The state of a tick is durable here and on all replicas."""

    run: int
    tick: int


TickEffect: TypeAlias = (
    SendTick | RunPhase | SettlePhase | TickCommitted | PhaseLate | RunOver | HoldTick | StoreStates | TickHeld
)
