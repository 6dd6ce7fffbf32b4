"""Declarations that several commands share: names of existing things, and events."""

from __future__ import annotations

from typing import Final, TypedDict

from shoal.api.command import Names
from shoal.api.errors import Usage

GRAPH: Final = Names("graph list", "graphs", "graph")
RUN: Final = Names("run list", "runs", "run")
PROGRAM: Final = Names("program list", "programs", "name")

GRAPH_NAME_RULE: Final = "a graph's name has 1 to 63 letters, digits, '.', '_' and '-'"


class Stage(TypedDict):
    """A progress event of a long command."""

    stage: str
    done: int
    total: int


def check_graph_name(name: str) -> None:
    """Raises `Usage` for a name that no graph can have."""
    if not (0 < len(name) <= 63 and all(c.isalnum() or c in "._-" for c in name)):
        raise Usage(GRAPH_NAME_RULE)
