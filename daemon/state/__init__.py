"""The replicated state machine: views, graphs, who holds what, and runs, as the log decides them.

Every member applies the same commands in the same order and so holds the same registry. It never looks at a clock, a
socket or a part of a graph; what follows from a change it announces, and the shard acts on it.

    state           all that is decided, and what can be read of it (`Registry`)
    applying        the next command of the log (`apply`), by way of views, graphs, holdings and runs, one file each
    announcements   what follows from it
    queue           runs that wait for their turn
    snapshot        all of it as bytes, for those who lack too much of the log (`freeze`, `restore`)

An epoch has one placement of each graph, worked out when its view is formed (or when the graph comes) from what the
members hold by then; what they come to hold later counts in the next epoch. A run belongs to the epoch in which it
began or was resumed; with a new view every run waits until the log says from which tick it goes on.

A run belongs to one load of a graph, and goes with it: as long as a run is known, the graph that it names is its own.

A command that makes no sense any more when its turn comes (two loads raced for one name) is declined, the same
everywhere. So is one that breaks something on its way, which nobody foresaw: what it has changed by then is taken back.
It stands in the log, and would otherwise end every shard at each start. What the registry is made of (a view, a disk, a
run) is in `state/records`.
"""

from daemon.state.announcements import (
    Announcement,
    Decided,
    GraphInstalled,
    GraphRemoved,
    HoldingsChanged,
    NotApplied,
    ProgramDeployed,
    ProgramRemoved,
    ResultsExpired,
    RunBegun,
    RunEnded,
    RunQueued,
    RunStopping,
    RunsWaiting,
    ViewInstalled,
)
from daemon.state.applying import apply
from daemon.state.registry import Registry
from daemon.state.snapshot import freeze, is_snapshot, mistake_in_snapshot, restore

__all__ = [
    "Announcement",
    "Decided",
    "GraphInstalled",
    "GraphRemoved",
    "HoldingsChanged",
    "NotApplied",
    "ProgramDeployed",
    "ProgramRemoved",
    "Registry",
    "ResultsExpired",
    "RunBegun",
    "RunEnded",
    "RunQueued",
    "RunStopping",
    "RunsWaiting",
    "ViewInstalled",
    "apply",
    "freeze",
    "is_snapshot",
    "mistake_in_snapshot",
    "restore",
]
