"""What the registry announces: what has changed, for the shard and its host to act on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from daemon.state.commands import AddGraph, ProgramVersion
from daemon.state.records import RunRecord, View


@dataclass(frozen=True, slots=True)
class ViewInstalled:
    view: View


@dataclass(frozen=True, slots=True)
class GraphInstalled:
    graph: AddGraph


@dataclass(frozen=True, slots=True)
class GraphRemoved:
    """A graph is gone, and these runs with it."""

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
    """The results of these runs are not to be kept any more."""

    runs: tuple[RunRecord, ...]


@dataclass(frozen=True, slots=True)
class HoldingsChanged:
    """Somebody holds more, or less, than before, or is to be drained."""


@dataclass(frozen=True, slots=True)
class RunsWaiting:
    """Runs have come that began elsewhere: they go on in this view once its members have said what states they have."""


@dataclass(frozen=True, slots=True)
class RunStopping:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class RunEnded:
    run: RunRecord


@dataclass(frozen=True, slots=True)
class Decided:
    """What became of a proposal: an empty `error` means that it took effect; `name` is that of what it was about."""

    request: str
    error: str
    name: str


@dataclass(frozen=True, slots=True)
class NotApplied:
    """A command of the log made something break, and was declined on every shard for it: what, and how it broke."""

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
    | Decided
    | NotApplied
)

Outcome: TypeAlias = tuple[str, list[Announcement]]
"""Of a decision that took effect: the name of what it was about, and what follows."""
