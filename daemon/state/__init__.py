"""The replicated state: the log's decisions, as machines that apply the same commands in the same order everywhere.

    machine         the contract of a machine (`Machine`), and the context of a command (`Applied`)
    envelope        entries of the log: which machine, whose request, when (`LogEntry`)
    sessions        a command that is proposed again takes effect once, and is answered with its outcome
    dispatch        all machines together (`ReplicatedState`): applies entries, freezes, thaws and restores
    snapshot        the state as chunks, for shards that lack too much of the log
    cluster         the machine of views, disks, graphs and runs; its state is the `Registry`
    programs        the machine of deployed programs
    announcements   the consequences, on which the control plane and its host act

An epoch has one placement of each graph, computed from the members' holdings when its view is formed (or when the graph
is added); later gains count in the next epoch. A run belongs to the epoch in which it began or was resumed.
A new view makes every run wait until the log decides from which tick it resumes.

A run belongs to one load of a graph and is dropped with it: while a run is known, the graph of its name is the one that
it ran on.

A command that no longer makes sense when its turn comes (two loads raced for one name) is rejected, identically
everywhere. So is one that breaks an invariant half-way: its changes are rolled back, because it stays in the log and
would otherwise stop every shard at each start. `state/records` has the values in the registry: a view, a disk, a run.
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
from daemon.state.dispatch import ReplicatedState, Thawed, command_codec
from daemon.state.registry import Registry

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
    "ReplicatedState",
    "ResultsExpired",
    "RunBegun",
    "RunEnded",
    "RunQueued",
    "RunStopping",
    "RunsWaiting",
    "Thawed",
    "VersionRaised",
    "ViewInstalled",
    "command_codec",
]
