"""What the registry knows of a view, a shard's disk and a run: values, of which a change makes another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from daemon.protocol.decisions import Identity, KeptRun, StartRun, StateSource
from shoal.execution.phase import Phase

RUNNING, STOPPING, COMPLETED, STOPPED, FAILED = "running", "stopping", "completed", "stopped", "failed"
ACTIVE = (RUNNING, STOPPING)
OUTCOMES = (COMPLETED, STOPPED, FAILED)


@dataclass(frozen=True, slots=True)
class View:
    """An epoch and its members, in order; `replicas` of them hold each partition."""

    epoch: int
    members: tuple[Identity, ...]
    virtual_nodes: int
    replicas: int

    @property
    def names(self) -> tuple[str, ...]:
        """The members' names, in order."""
        return tuple(member.name for member in self.members)

    def has(self, shard: Identity) -> bool:
        """Whether that very life of a shard is a member."""
        return shard in self.members


@dataclass(frozen=True, slots=True)
class Disk:
    """What a shard has said that it holds, in the life of `generation`: partitions by load."""

    generation: int
    loads: Mapping[str, frozenset[int]]

    def has(self, load: str, partition: int) -> bool:
        """Whether a partition of a load is there."""
        return partition in self.loads.get(load, ())

    def with_load(self, load: str, partitions: frozenset[int]) -> Disk:
        """The same with other partitions of one load; none at all forgets it."""
        loads = {**self.loads, load: partitions}
        return Disk(self.generation, {name: held for name, held in loads.items() if held})


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One run, from the decision to start it to the decision that it is over.

    `epoch` is that of the view in which it goes on, 0 while it waits; there it began with the end of tick `resumed`,
    and goes on to tick `reached` at the least, for somebody has seen that.
    """

    name: str
    number: int
    program: str
    graph: str
    params: tuple[tuple[str, str], ...]
    ticks: int
    interval_ns: int
    paced: bool
    phases: tuple[Phase, ...]
    columns: tuple[str, ...]
    started_unix_ns: int
    checkpoint_ticks: int = 0
    digest: str = ""
    epoch: int = 0
    resumed: int = 0
    reached: int = 0
    sources: tuple[StateSource, ...] = ()
    state: str = RUNNING
    tick: int = 0
    failure: str = ""
    cross_bytes: int = 0
    ended_unix_ns: int = 0
    figures: str = ""
    is_forced: bool = False
    """Whether it is to be stopped by force."""
    origin: int = 0
    """The epoch in which tick `resumed` was made."""

    @property
    def active(self) -> bool:
        """Whether it still goes on."""
        return self.state in ACTIVE

    def made_in(self, tick: int) -> int:
        """The epoch in which a tick from `resumed` on was made, as far as it counts.

        A tick that is done again in another view may leave something else behind, for the graph is cut otherwise: two
        partitions of one tick belong together only if they were made in one epoch.
        """
        return self.epoch if tick > self.resumed else self.origin

    def is_void(self, epoch: int, tick: int) -> bool:
        """Whether a state of that tick, made in that epoch, is none of this run as it went on."""
        return tick >= self.resumed and epoch != self.made_in(tick)


def begun(start: StartRun, number: int, epoch: int) -> RunRecord:
    """A run at its beginning, in the view of an epoch."""
    return RunRecord(
        name=f"{start.program}-{number}",
        number=number,
        program=start.program,
        graph=start.graph,
        params=start.params,
        ticks=start.ticks,
        interval_ns=start.interval_ns,
        paced=start.paced,
        phases=tuple(phase for phase in Phase if start.phases >> phase & 1 or phase is Phase.ADVANCE),
        columns=start.columns,
        started_unix_ns=start.started_unix_ns,
        checkpoint_ticks=start.checkpoint_ticks,
        digest=start.digest,
        epoch=epoch,
    )


def restored(kept: KeptRun) -> RunRecord:
    """A run out of a backup; one that is not over waits for the tick that it goes on from."""
    return replace(
        begun(kept.start, kept.number, 0),
        state=kept.state,
        tick=kept.tick,
        failure=kept.failure,
        cross_bytes=kept.cross_bytes,
        figures=kept.figures,
        ended_unix_ns=kept.ended_unix_ns,
    )


def to_keep(run: RunRecord) -> KeptRun:
    """A run as a backup has it: `restored` of it is the run, waiting if it is not over.

    >>> start = StartRun("", "rank", "web", (), 9, 0, False, 0b1001, ("rank",), 77, 5, "d1")
    >>> restored(to_keep(begun(start, 4, 0))) == begun(start, 4, 0)
    True
    """
    phases = sum(1 << phase for phase in run.phases)
    start = StartRun(
        "",
        run.program,
        run.graph,
        run.params,
        run.ticks,
        run.interval_ns,
        run.paced,
        phases,
        run.columns,
        run.started_unix_ns,
        run.checkpoint_ticks,
        run.digest,
    )
    return KeptRun(run.number, start, run.state, run.tick, run.failure, run.cross_bytes, run.ended_unix_ns, run.figures)
