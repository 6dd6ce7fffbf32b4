"""The registry's announcements: changes on which the control plane and its host act."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from daemon.state.commands import AddGraph, ProgramVersion
from daemon.state.machine import Request
from daemon.state.records import RunRecord, View


@dataclass(frozen=True, slots=True)
class ViewInstalled:
    view: View


@dataclass(frozen=True, slots=True)
class GraphInstalled:
    graph: AddGraph


@dataclass(frozen=True, slots=True)
class GraphRemoved:
    """The log removed a graph, and these runs with it."""

    graph: AddGraph
    runs: tuple[RunRecord, ...] = ()


@dataclass(frozen=True, slots=True)
class ProgramDeployed:
    version: ProgramVersion


@dataclass(frozen=True, slots=True)
class ProgramRemoved:
    version: ProgramVersion


@dataclass(frozen=True, slots=True)
class RunBegun:
    """A run begins in the view of this epoch, for the first time or again."""

    run: RunRecord


@dataclass(frozen=True, slots=True)
class RunQueued:
    """A run waits in the queue."""

    run: RunRecord


@dataclass(frozen=True, slots=True)
class ResultsExpired:
    """The results of these runs are no longer kept."""

    runs: tuple[RunRecord, ...]


@dataclass(frozen=True, slots=True)
class HoldingsChanged:
    """A shard's holdings have changed, or whether it drains."""


@dataclass(frozen=True, slots=True)
class RunsWaiting:
    """Runs that began elsewhere wait: they resume in this view once its members have reported their states."""


@dataclass(frozen=True, slots=True)
class RunStopping:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class RunEnded:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class VersionRaised:
    """From now on, shards may write what is new in this cluster version."""

    version: int


@dataclass(frozen=True, slots=True)
class Decided:
    """The outcome of a proposal. An empty `error` means that it took effect; `name` is its subject's.

    `index` is where it was applied, a fencing token; 0 means that it came too late to be applied.
    """

    request: Request
    error: str
    name: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class NotApplied:
    """A command broke an invariant, so every shard rejected it; says which command, and how."""

    what: str
    error: str


Announcement: TypeAlias = (
    ViewInstalled
    | GraphInstalled
    | GraphRemoved
    | ProgramDeployed
    | ProgramRemoved
    | RunQueued
    | RunBegun
    | ResultsExpired
    | RunsWaiting
    | RunStopping
    | RunEnded
    | HoldingsChanged
    | VersionRaised
    | Decided
    | NotApplied
)
