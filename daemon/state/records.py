"""The registry's records of a view, a shard's disk and a run: immutable values, replaced on every change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from msgspec.structs import replace

from daemon.state.commands import Identity, KeptRun, StartRun, StateSource
from shoal.api.struct import Number, Struct
from shoal.program.phase import Phase

QUEUED, RUNNING, STOPPING = "queued", "running", "stopping"
COMPLETED, STOPPED, FAILED = "completed", "stopped", "failed"
EXPIRED = "expired"
"""Shown instead of an outcome: the run is known, but its result is no longer kept."""
ACTIVE = (RUNNING, STOPPING)
OUTCOMES = (COMPLETED, STOPPED, FAILED)
STATES = (QUEUED, *ACTIVE, *OUTCOMES)
"""All states of a run."""


class View(Struct):
    """An epoch and its members, in order; `replicas` of them hold each partition."""

    epoch: Number
    members: tuple[Identity, ...]
    virtual_nodes: Number
    replicas: Number

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, in order."""
        return tuple(member.name for member in self.members)

    def has(self, shard: Identity) -> bool:
        """Whether a shard, in this life, is a member."""
        return shard in self.members


@dataclass(frozen=True, slots=True)
class Disk:
    """A shard's reported holdings, by load, in the life of `generation` on the disk of that number."""

    generation: int
    loads: Mapping[str, frozenset[int]]
    number: int = 0

    def has(self, load: str, partition: int) -> bool:
        """Whether the disk holds a partition of a load."""
        return partition in self.loads.get(load, ())

    def with_load(self, load: str, partitions: frozenset[int]) -> Disk:
        """Returns a copy with other partitions of one load; without any, the load is removed."""
        loads = {**self.loads, load: partitions}
        return Disk(self.generation, {name: held for name, held in loads.items() if held}, self.number)


class RunRecord(Struct):
    """One run, from the decision to start it to the decision that it is over.

    It belongs to the graph whose load is `load`, whichever graph is called `graph` now. `epoch` is that of the view in
    which it is active, 0 while it waits. There it began at the end of tick `resumed`, and continues at least to tick
    `reached`, because some member has seen that one.
    """

    name: str
    number: Number
    program: str
    graph: str
    load: str
    params: tuple[tuple[str, str], ...]
    ticks: Number
    interval_ns: Number
    paced: bool
    phases: tuple[Phase, ...]
    columns: tuple[str, ...]
    started_unix_ns: Number
    checkpoint_ticks: Number = 0
    digest: str = ""
    epoch: Number = 0
    resumed: Number = 0
    reached: Number = 0
    sources: tuple[StateSource, ...] = ()
    state: str = RUNNING
    tick: Number = 0
    failure: str = ""
    cross_bytes: Number = 0
    ended_unix_ns: Number = 0
    figures: str = ""
    is_forced: bool = False
    """Whether to stop it by force."""
    origin: Number = 0
    """The epoch that made tick `resumed`."""
    begun_in: Number = 0
    """The epoch in which it began: states on disk with its number from before belong to another run."""
    runs_max: Number = 0
    """While queued: it begins once fewer runs than that are active."""
    result_bytes: Number = 0
    """The size of its result on the disk of the member that holds most of it."""
    has_expired: bool = False
    """Whether its result was deleted to free space."""

    @property
    def active(self) -> bool:
        """Whether it has begun and is not over."""
        return self.state in ACTIVE

    @property
    def is_over(self) -> bool:
        """Whether it is over, in whatever way."""
        return self.state in OUTCOMES

    @property
    def has_result(self) -> bool:
        """Whether its result is kept. A run that was stopped while queued never has one."""
        return self.state in (COMPLETED, STOPPED) and self.tick > 0 and not self.has_expired

    @property
    def shown(self) -> str:
        """Its state, as shown to people."""
        return EXPIRED if self.has_expired else self.state

    def made_in(self, tick: int) -> int:
        """Returns the epoch whose version of a tick from `resumed` on counts.

        A tick that is repeated in another view may leave other states behind, because the graph is partitioned
        differently: the states of two partitions at one tick fit together only if one epoch made them.
        """
        return self.epoch if tick > self.resumed else self.origin

    def is_void(self, epoch: int, tick: int) -> bool:
        """Whether a state of that tick, made in that epoch, is not part of this run's history."""
        return epoch < self.begun_in or (tick >= self.resumed and epoch != self.made_in(tick))


def begun(start: StartRun, number: int, epoch: int, started_unix_ns: int, state: str = RUNNING) -> RunRecord:
    """Returns the record of a run at its beginning, in the view of an epoch."""
    return RunRecord(
        name=f"{start.program}-{number}",
        number=number,
        program=start.program,
        graph=start.graph,
        load=start.load,
        params=start.params,
        ticks=start.ticks,
        interval_ns=start.interval_ns,
        paced=start.paced,
        phases=tuple(phase for phase in Phase if start.phases >> phase & 1 or phase is Phase.ADVANCE),
        columns=start.columns,
        started_unix_ns=started_unix_ns,
        checkpoint_ticks=start.checkpoint_ticks,
        digest=start.digest,
        epoch=epoch,
        state=state,
        begun_in=epoch,
        runs_max=start.runs_max,
    )


def with_its_graph(run: RunRecord) -> RunRecord:
    """Returns an unfinished run as failed, because its graph was dropped."""
    return replace(run, state=FAILED, failure=f"its graph '{run.graph}' was dropped", is_forced=True)


def restored(kept: KeptRun) -> RunRecord:
    """Returns a run from a backup; an unfinished one waits to be resumed."""
    return replace(
        begun(kept.start, kept.number, 0, kept.started_unix_ns),
        state=kept.state,
        tick=kept.tick,
        failure=kept.failure,
        cross_bytes=kept.cross_bytes,
        figures=kept.figures,
        ended_unix_ns=kept.ended_unix_ns,
        result_bytes=kept.result_bytes,
    )


def to_keep(run: RunRecord) -> KeptRun:
    """Returns a run in the form of a backup: `restored` returns it, waiting if it is not over.

    >>> start = StartRun("rank", "web", "load-1", (), 9, 0, False, 0b1001, ("rank",), 5, "d1")
    >>> restored(to_keep(begun(start, 4, 0, 77))) == begun(start, 4, 0, 77)
    True
    """
    phases = sum(1 << phase for phase in run.phases)
    start = StartRun(
        run.program,
        run.graph,
        run.load,
        run.params,
        run.ticks,
        run.interval_ns,
        run.paced,
        phases,
        run.columns,
        run.checkpoint_ticks,
        run.digest,
        run.runs_max,
    )
    ended = run.cross_bytes, run.started_unix_ns, run.ended_unix_ns, run.figures, run.result_bytes
    return KeptRun(run.number, start, run.state, run.tick, run.failure, *ended)
