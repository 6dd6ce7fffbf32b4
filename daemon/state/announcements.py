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
    """A graph was removed, and these runs with it."""

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
    """A run waits for its turn."""

    run: RunRecord


@dataclass(frozen=True, slots=True)
class ResultsExpired:
    """The results of these runs are no longer kept."""

    runs: tuple[RunRecord, ...]


@dataclass(frozen=True, slots=True)
class HoldingsChanged:
    """A shard holds more or less than before, or is to be drained."""


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
    """From now on, what is new in this cluster version may be written."""

    version: int


@dataclass(frozen=True, slots=True)
class Decided:
    """The outcome of a proposal: an empty `error` means that it took effect; `name` is that of its subject.

    It was applied at `index`: a fencing token. 0: it was not applied at all, because it came too late.
    """

    request: Request
    error: str
    name: str
    index: int = 0


@dataclass(frozen=True, slots=True)
class NotApplied:
    """A command of the log broke something, so every shard rejected it: what, and how it broke."""

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
