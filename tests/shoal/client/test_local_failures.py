"""A failure in one process says the same as on a cluster: which method, of which tick, and the program's own lines."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import shoal
from shoal import Column, NodeProgram, Param, Program, RunFailed, Workspace

DATA = shoal.from_arrays(["a", "b", "c"], ["b", "c", "a"])


class Somewhere(Program):
    """Fails where it is told to."""

    name = "somewhere"
    columns = (Column("x", np.float64),)
    ticks_default = 3
    where = Param("", "in which method")

    def prepare(self, ws: Workspace) -> None:
        self.at("prepare")

    def start(self, ws: Workspace) -> None:
        ws.set("x", 1.0)
        self.at("start")

    def decay(self, ws: Workspace) -> None:
        self.at("decay")

    def advance(self, ws: Workspace) -> None:
        ws.set("x", 2.0)

    def halted(self, ws: Workspace) -> bool:
        if ws.tick == 2:
            self.at("halted")
        return self.where == "one shard" and len(ws.part.partitions) == 1

    def at(self, method: str) -> None:
        if method == self.where:
            raise ValueError("as it was told")


class Node(NodeProgram):
    """Fails at a node."""

    name = "node"

    def on_start(self, node: Any) -> None:
        if node.id == "b":
            raise ValueError("as it was told")


@pytest.mark.parametrize(
    ("where", "told", "tick"),
    [
        ("prepare", "prepare of the run", 0),
        ("start", "start of the run", 0),
        ("decay", "decay of tick 1", 0),
        ("halted", "halted after tick 2", 1),
    ],
)
def test_the_method_is_named_and_the_traceback_is_the_programs(where: str, told: str, tick: int) -> None:
    with shoal.local(2) as session, pytest.raises(RunFailed) as caught:
        session.load("g", data=DATA).run(Somewhere, where=where)
    first, second, third, *_ = str(caught.value).splitlines()
    assert first == f"run 'somewhere-1' failed at tick {tick}: {told} failed"
    assert second == "Traceback (most recent call last):"
    assert third.endswith(f"in {where}")
    assert isinstance(caught.value.__cause__, ValueError)


def test_a_node_is_named_too() -> None:
    with shoal.local(2) as session, pytest.raises(RunFailed, match="start of the run failed at node 'b'\nTraceback"):
        session.load("g", data=DATA).run(Node)


def test_a_program_that_ends_on_one_shard_alone_fails_here_too() -> None:
    data = shoal.from_arrays(["a", "b", "c"], ["b", "c", "a"], partition_count=3)
    with shoal.local(2) as session, pytest.raises(RunFailed, match="failed at tick 0: halted after tick 0 says that"):
        session.load("g", data=data).run(Somewhere, where="one shard")
