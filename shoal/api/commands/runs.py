"""Commands about runs: starting, watching, stepping and stopping them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, TypedDict

from shoal.api.command import Command, command
from shoal.api.commands.names import GRAPH, PROGRAM, RUN
from shoal.api.errors import Usage
from shoal.api.ranges import TICKS_MAX, Within
from shoal.api.values import cut

INTERVAL_SECONDS_MAX: Final = 86_400
PARAM_CHARACTERS_MAX: Final = 1 << 16
"""Of one parameter, as JSON: an entry of the log is no place for data."""


class ShardProgress(TypedDict):
    """Where a shard is in a run."""

    tick: int
    phase: str
    doing: str
    seconds: float
    completed_phases: int


class TickReply(TypedDict):
    """The cost of a tick."""

    tick: int
    phases: Annotated[
        Mapping[str, Mapping[str, float]], "seconds by phase and shard; empty if the view changed meanwhile"
    ]
    cross_bytes: int


class Totals(TypedDict):
    """Sums over all shards of a run."""

    nodes: int | None
    edges: int | None
    cross_edges: int | None
    cross_bytes: int


class RunRow(TypedDict):
    """A run in a list."""

    run: str
    program: str
    graph: str
    load: Annotated[str, "of its graph"]
    state: Annotated[
        str,
        "queued, running, stopping, completed, stopped, failed; expired: ended, and its result is no longer kept",
    ]
    place: Annotated[int | None, "in the queue; 1 is the next"]
    tick: Annotated[int, "the last committed one"]
    ticks: Annotated[int, "the number requested; after the end, the number done"]


class RunReply(RunRow):
    """One run."""

    digest: Annotated[str | None, "of its program's file"]
    params: Mapping[str, Any]
    columns: list[str]
    outcome: Annotated[str | None, "completed, stopped or failed, once it has ended"]
    phase: str | None
    error: str | None
    seconds: float
    shards: Annotated[Mapping[str, ShardProgress], "by name, as known from gossip"]
    figures: Annotated[Mapping[str, Any], "by name: what its program reports, as of the last tick"]
    last_tick: TickReply | None
    totals: Totals


@command(
    "run start",
    changes=True,
    interrupted="interrupted: the run may have started; `shoalctl run list` shows it",
)
class RunStart(Command[RunReply]):
    """Run a program on a graph.

    A run that lost a member resumes from its last checkpoint and repeats the later ticks with the same bits. With
    `checkpoint_ticks` 0, its state is kept every `ticks.checkpoint_interval`; with -1, the run restarts from the
    beginning. The last tick of a run is always kept.

    While `ticks.runs_max` runs are active, another one is refused. With `queue`, it is `queued` instead and starts when
    another ends, in queue order; `place` 1 is the next. A run that is stopped while queued never starts.
    """

    program: Annotated[str, "name of a program (`program list`)", PROGRAM]
    graph: Annotated[str, "name of a graph (`graph list`)", GRAPH]
    ticks: Annotated[int, "maximum number of ticks; 0 runs until the program halts", Within(0, TICKS_MAX)] = 0
    params: Annotated[Mapping[str, Any] | None, "the program's parameters"] = None
    interval_seconds: Annotated[
        float | None, "shortest time between the starts of two ticks", Within(0, INTERVAL_SECONDS_MAX)
    ] = None
    paced: Annotated[bool, "execute ticks only on `run step`"] = False
    checkpoint_ticks: Annotated[
        int,
        "number of ticks between checkpoints; 0 for checkpoints by time, -1 for one at the end",
        Within(-1, TICKS_MAX),
    ] = 0
    queue: Annotated[bool, "wait in the queue if `ticks.runs_max` runs are active"] = False
    load: Annotated[str | None, "refuse if the graph is not this load (`graph show`)"] = None


class RunsReply(TypedDict):
    """All runs."""

    runs: list[RunRow]


@command("run list")
class RunList(Command[RunsReply]):
    """List the runs, newest last."""


@command("run show")
class RunShow(Command[RunReply]):
    """Show the progress of a run on each shard."""

    run: Annotated[str, "name of a run", RUN]


@command(
    "run wait",
    events=RunReply,
    interrupted="{run} continues. To wait again: `shoalctl run wait {run}`; to end it: `shoalctl run stop {run}`",
)
class RunWait(Command[RunReply]):
    """Wait for the end of a run."""

    run: Annotated[str, "name of a run", RUN]
    timeout_seconds: Annotated[float | None, "give up after this time; the run continues"] = None


class SteppedRun(TickReply):
    """A tick of a paced run."""

    run: str


@command(
    "run step",
    changes=True,
    interrupted="interrupted: {run} may have executed the tick; `shoalctl run show {run}` shows its tick",
)
class RunStep(Command[SteppedRun]):
    """Execute one tick of a paced run."""

    run: Annotated[str, "name of a run", RUN]


@command(
    "run stop",
    changes=True,
    interrupted="interrupted: {run} may stop all the same; `shoalctl run show {run}` shows its state",
)
class RunStop(Command[RunReply]):
    """Stop a run after its current tick.

    Without `force`, a program that does not return from a phase is interrupted after `ticks.stop_patience`. The run
    then fails, and its error names the phase and the shard.
    """

    run: Annotated[str, "name of a run", RUN]
    force: Annotated[bool, "interrupt the program within a phase; the run has no result"] = False


def param_texts(params: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Returns a program's parameters in order, each as JSON. Raises `Usage` for one that no run can be started with.

    >>> param_texts({"seed": 7, "column": "text"})
    (('column', '"text"'), ('seed', '7'))
    """
    texts = tuple((name, json.dumps(value)) for name, value in sorted(params.items()))
    for name, text in texts:
        if len(text) > PARAM_CHARACTERS_MAX:
            raise Usage(f"params.{cut(name)} has {len(text)} characters as JSON: {PARAM_CHARACTERS_MAX} at most")
    return texts
