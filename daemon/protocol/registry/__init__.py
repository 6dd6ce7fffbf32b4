"""The replicated state machine: views, graphs, who holds what, and runs, as the log decides them.

Every member applies the same commands in the same order and so holds the same registry. It never looks at a clock, a
socket or a part of a graph; what follows from a change it announces, and the shard acts on it.

    state           all that is decided, and what can be read of it (`Registry`)
    applying        the next command of the log (`apply`), by way of views, graphs, holdings and runs, one file each
    announcements   what follows from it
    snapshot        all of it as bytes, for those who lack too much of the log (`freeze`, `restore`)

An epoch has one placement of each graph, worked out when its view is formed (or when the graph comes) from what the
members hold by then; what they come to hold later counts in the next epoch. A run belongs to the epoch in which it
began or was resumed; with a new view every run waits until the log says from which tick it goes on.

A command that makes no sense any more when its turn comes (two loads raced for one name) is declined, the same
everywhere. The values that it is made of (a view, a disk, a run) are in `protocol/records`.
"""

from daemon.protocol.registry.announcements import (
    Announcement,
    Decided,
    GraphInstalled,
    GraphRemoved,
    HoldingsChanged,
    ProgramDeployed,
    ProgramRemoved,
    RunBegun,
    RunEnded,
    RunStopping,
    RunsWaiting,
    ViewInstalled,
)
from daemon.protocol.registry.applying import apply
from daemon.protocol.registry.snapshot import freeze, restore
from daemon.protocol.registry.state import Registry

__all__ = [
    "Announcement",
    "Decided",
    "GraphInstalled",
    "GraphRemoved",
    "HoldingsChanged",
    "ProgramDeployed",
    "ProgramRemoved",
    "Registry",
    "RunBegun",
    "RunEnded",
    "RunStopping",
    "RunsWaiting",
    "ViewInstalled",
    "apply",
    "freeze",
    "restore",
]
