"""Every command that a daemon may answer: name, arguments and how its result is shown.

This is the one list; ``help``, plain words, argument checks and shoalctl all read it. What a result holds is written in
each command's page of the reference; a field is never renamed or reused, only added.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from daemon.admin.registry import CatchUp, Command, Parameter, Reads, Registry, Reply, Request, nothing_to_catch_up_with
from daemon.admin.render import render
from shoal.api.ranges import TICKS_MAX

_GRAPH: Final = Parameter("graph", "str", "name of a graph", required=True)
_PROGRAM: Final = Parameter("program", "str", "name of a program (`program list`)", required=True)
_RUN: Final = Parameter("run", "str", "name of a run", required=True)

_LOAD: Final = Parameter("load", "str", "only if it is still this load of the graph (`graph show`)")


_CHANGING: Final = frozenset(
    {
        "found", "drain", "leave", "join", "backup", "graph load", "graph drop", "run start", "run step", "run stop",
        "program deploy", "program remove", "log-level",
    }
)  # fmt: skip


_LOCAL: Final = frozenset({"help", "status", "members", "found", "log-level", "metrics"})
_LOCAL_UNLESS_NAMED: Final = frozenset({"barrier", "ghosts"})
"""These say what this shard sees, and have to when nothing can be agreed upon; a name is the cluster's all the same."""


def _command(name: str, summary: str, *params: Parameter, frames: bool = False) -> Command:
    reads: Reads = "here" if name in _LOCAL else "named" if name in _LOCAL_UNLESS_NAMED else "agreed"
    return Command(name, summary, params, partial(render, name), frames, changes=name in _CHANGING, reads=reads)


COMMANDS: Final[tuple[Command, ...]] = (
    _command("help", "what can be asked", Parameter("command", "str", "one command, for its arguments")),
    _command("status", "this shard, its cluster and what it is doing"),
    _command("members", "the shards this one knows, and how it thinks they are"),
    _command("view", "the epoch's members, leader and placement"),
    _command(
        "ring", "which shard holds each partition", Parameter("graph", "str", "a graph; the cluster's default without")
    ),
    _command(
        "barrier", "who has reached the barrier, who is missing and what they do", Parameter("run", "str", "one run")
    ),
    _command("ghosts", "copies of remote nodes held here, and how old", Parameter("graph", "str", "one graph")),
    _command("found", "found a cluster with this shard alone; others join it"),
    _command("drain", "hand all that this shard holds to the others, and take no more"),
    _command("leave", "drain, say goodbye and end the daemon"),
    _command("join", "take part again after a drain"),
    _command(
        "backup",
        "copy all that the cluster keeps to a folder of this machine, while it runs",
        Parameter("dir", "str", "a new or empty folder on the daemon's machine, as an absolute path", required=True),
    ),
    _command(
        "graph load",
        "load a graph (from a program: the data follows as frames)",
        Parameter("name", "str", "name of the new graph", required=True),
        Parameter("spec", "object", "what the frames hold, as GraphData.to_wire() gives it", required=True),
        frames=True,
    ),
    _command("graph list", "the graphs of the cluster"),
    _command("graph show", "one graph, its columns and how it lies on the shards", _GRAPH),
    _command(
        "graph drop",
        "forget a graph, its runs and their results",
        _GRAPH,
        Parameter("force", "bool", "also if runs go on or are queued: they end with it", default=False),
        _LOAD,
    ),
    _command(
        "run start",
        "run a program on a graph",
        Parameter("program", "str", "name of a program (`program list`)", required=True),
        Parameter("graph", "str", "name of a graph (`graph list`)", required=True),
        Parameter(
            "ticks", "int", "how many ticks at most; 0 runs until the program halts", default=0, least=0, most=TICKS_MAX
        ),
        Parameter("params", "object", "the program's parameters"),
        Parameter("interval_seconds", "float", "shortest time from one tick's start to the next"),
        Parameter("paced", "bool", "tick only when told to, with `run step`", default=False),
        Parameter(
            "checkpoint_ticks",
            "int",
            "its state is kept every so many ticks; 0 by time, -1 at the end",
            default=0,
            least=-1,
            most=TICKS_MAX,
        ),
        Parameter("queue", "bool", "wait for its turn if as many go on as may", default=False),
        _LOAD,
    ),
    _command("run list", "runs, the newest last"),
    _command("run show", "one run: where it stands, on each shard", _RUN),
    _command(
        "run wait",
        "wait for a run to finish",
        _RUN,
        Parameter("timeout_seconds", "float", "give up after; the run goes on"),
    ),
    _command("run step", "one tick of a paced run", _RUN),
    _command(
        "run stop",
        "stop a run after the tick it is in",
        _RUN,
        Parameter("force", "bool", "interrupt its program in the middle of a phase; there is no result", default=False),
    ),
    _command("run ticks", "the ticks at which a run can be read", _RUN),
    _command(
        "run result",
        "the extremes of a column that a run computed",
        _RUN,
        Parameter("column", "str", "which; the program's first without"),
        Parameter("top", "int", "the largest so many, largest first"),
        Parameter("least", "bool", "the smallest instead", default=False),
        Parameter("tick", "int", "as it was after this tick; after the last that can be read without"),
    ),
    _command(
        "run rows",
        "some rows of what a run computed, in id order, as buffers (for programs)",
        _RUN,
        Parameter("columns", "names", "which; all without"),
        Parameter("tick", "int", "as they were after this tick; after the last that can be read without"),
        Parameter("first", "int", "the ordinal of the first row", default=0),
        Parameter("count", "int", "how many, 65536 at most", default=65536),
        Parameter("digest", "bool", "with the last row, the digest of each column", default=False),
    ),
    _command(
        "run table",
        "rows of a table that a run has built, of one partition, as buffers (for programs)",
        _RUN,
        Parameter("table", "str", "which", required=True),
        Parameter("tick", "int", "as it was after this tick; after the last that can be read without"),
        Parameter("partition", "int", "of which partition", default=0),
        Parameter("first", "int", "the first row, for those that do not come at once", default=0),
    ),
    _command(
        "run search",
        "the documents of a run that words tell most about, best first",
        _RUN,
        Parameter("words", "str", "what to search for", required=True),
        Parameter("top", "int", "so many", default=10),
    ),
    _command("program list", "the programs that can be run, and their parameters"),
    _command(
        "program show",
        "one program, its digest and the versions that are kept",
        _PROGRAM,
        Parameter("source", "bool", "the source of a deployed one, too", default=False),
    ),
    _command(
        "program deploy",
        "have every shard keep a program (from a program: the file follows as a frame)",
        Parameter("file", "str", "the file's name, for messages and tracebacks"),
        frames=True,
    ),
    _command("program remove", "forget a deployed program; no run may be using it", _PROGRAM),
    _command(
        "log-level",
        "change what is logged, at once and until the next start",
        Parameter("level", "str", "debug, info, warning or error", required=True),
        Parameter("logger", "str", "one part, such as shoal.admin; all without"),
    ),
    _command("metrics", "the metrics, as the port gives them", Parameter("prefix", "str", "those that begin so")),
)


def registry(catch_up: CatchUp = nothing_to_catch_up_with) -> Registry:
    """All commands, none bound but ``help``."""
    commands = Registry(COMMANDS, catch_up)

    async def answer(request: Request) -> Reply:
        return Reply(commands.help(request.args["command"]))

    commands.bind("help", answer)
    return commands
