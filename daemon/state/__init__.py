"""The replicated state machine: views, graphs, holdings and runs, as the log decides them.

Every member applies the same commands in the same order and so holds the same registry. It never reads a clock, a
socket or a part of a graph. It announces the consequences of a change, and the control plane acts on them.

    registry        all that is decided, and queries of it (`Registry`)
    applying        applies the log's next command (`apply`), through views, graphs, holdings and runs, one file each
    announcements   the consequences
    queue           runs that wait for their turn
    snapshot        all of it as bytes, for shards that lack too much of the log (`freeze`, `restore`)

An epoch has one placement of each graph, computed when its view is formed (or when the graph is added) from what the
members hold by then; later gains count in the next epoch. A run belongs to the epoch in which it began or was resumed.
A new view makes every run wait until the log decides from which tick it resumes.

A run belongs to one load of a graph and is dropped with it: as long as a run is known, the graph that it names is its
own.

A command that no longer makes sense when its turn comes (two loads raced for one name) is rejected, identically
everywhere. So is one that unexpectedly breaks something: its changes up to then are rolled back, because it remains in
the log and would otherwise end every shard at each start. `state/records` has the values that make up the registry: a
view, a disk, a run.
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
    VersionRaised,
    ViewInstalled,
)
from daemon.state.applying import apply
from daemon.state.registry import Registry
from daemon.state.snapshot import freeze, mistake_in_snapshot, restore

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
    "VersionRaised",
    "ViewInstalled",
    "apply",
    "freeze",
    "mistake_in_snapshot",
    "restore",
]
