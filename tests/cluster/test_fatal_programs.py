"""Programs that would end their daemons at every start: their runs fail with an error, and the cluster continues."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from tests.cluster.conftest import MADE
from tests.cluster.trial import said, shoalctl, wait_for, well

SETTINGS = """\
[ticks]
phase_timeout = "2s"
resend_interval = "100ms"
"""
SOURCE = '''\
"""A program for the tests."""

import os
import re
import time

import numpy as np

from shoal import Column, Param, Program, Table


class Fatal(Program):
    """Ends its daemon in the method that is named."""

    name = "fatal"
    columns = (Column("tick", np.int64),)
    tables = (Table("notes", (("tick", "int64"),)),)
    ticks_default = 4

    where = Param("", "in which method")
    how = Param("hold", "hold, exit or stay")

    def start(self, ws):
        ws.set("tick", 0)

    def advance(self, ws):
        if ws.tick == 3:
            self.perhaps("advance")
        ws.set("tick", ws.tick)

    def rows(self, ws, table, partition):
        self.perhaps("rows")
        return {"tick": np.array([ws.tick])}

    def perhaps(self, method):
        while method == self.where and self.how == "stay":
            try:
                time.sleep(60)
            except BaseException:
                pass
        if method == self.where:
            os._exit(3) if self.how == "exit" else re.match(r"(a+)+$", "a" * 60 + "b")
'''
Up = Callable[..., list[DevShard]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The program's file."""
    path = tmp_path_factory.mktemp("programs") / "fatal.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture(scope="module")
def pair(up: Up, program: Path) -> list[DevShard]:
    """Two daemons with a graph and the program, and short time limits."""
    shards = up(2, SETTINGS)
    deployed(shards[0], program)
    return shards


def deployed(shard: DevShard, program: Path) -> None:
    nodes = list(range(50))
    with shoal.connect(str(shard.socket)) as session:
        session.deploy(program)
        session.load("ring", data=shoal.from_arrays(nodes, [*nodes[1:], 0]))


def error_of(shard: DevShard, run: str) -> str:
    """Returns the error of a failed run; empty until it has failed, or if the daemon does not answer."""
    answer = shoalctl(shard, "--patience", "2s", "run", "show", run)
    return answer.output if answer.exit_code == 0 and "failed" in answer.output else ""


def test_a_program_that_holds_the_interpreter_fails_its_run(pair: list[DevShard]) -> None:
    """The daemons restart by themselves within their processes, and everything else continues."""
    pids = [shard.pid() for shard in pair]
    run = said(pair[0], "run", "start", "fatal", "--graph", "ring", "--param", "where=advance")["run"]
    told = wait_for(lambda: error_of(pair[0], run), 60, "the run has failed")
    assert "the program held the interpreter for 2 s in advance of tick 3" in told
    assert "in advance" in told.partition("File")[2]
    wait_for(lambda: well(pair), 30, "both in one view")
    assert [shard.pid() for shard in pair] == pids
    with shoal.connect(str(pair[1].socket)) as session:
        assert session.graph("ring").run("fatal", timeout=30).tick == 4


def test_a_program_that_cannot_be_interrupted_is_got_rid_of(pair: list[DevShard]) -> None:
    """It lets other threads run, but holds up all other runs: the daemons restart once its run must end."""
    pids = [shard.pid() for shard in pair]
    words = ("run", "start", "fatal", "--graph", "ring", "--param", "where=advance", "--param", "how=stay")
    run = said(pair[0], *words)["run"]
    assert shoalctl(pair[0], "run", "stop", run, "--force").exit_code in (0, 1)
    other = said(pair[0], "run", "start", "degree", "--graph", "ring")["run"]
    wait_for(
        lambda: "completed" in shoalctl(pair[0], "--patience", "2s", "run", "show", other).output, 90, "another run"
    )
    wait_for(lambda: well(pair), 30, "both in one view")
    assert [shard.pid() for shard in pair] == pids
    assert error_of(pair[0], run)


def test_a_table_that_holds_it_is_not_read_twice(pair: list[DevShard]) -> None:
    with shoal.connect(str(pair[0].socket)) as session:
        run = session.graph("ring").run("fatal", where="rows", timeout=30).name
    shoalctl(pair[0], "--patience", "20s", "run", "table", run, "notes")
    wait_for(lambda: well(pair), 60, "both in one view")
    answers = [shoalctl(shard, "--patience", "20s", "run", "table", run, "notes") for shard in pair]
    assert any("held the interpreter for 2 s in the reading of its tables" in answer.output for answer in answers)
    assert well(pair)


def test_a_program_that_ends_the_process_three_times_fails_its_run(up: Up, program: Path) -> None:
    """As `os._exit`, a fault in native code or the kernel's out-of-memory killer do."""
    (shard,) = up(1, SETTINGS)
    cluster = next(made for made in MADE if made.shards() == [shard])
    deployed(shard, program)
    run = said(shard, "run", "start", "fatal", "--graph", "ring", "--param", "where=advance", "--param", "how=exit")[
        "run"
    ]
    for _ in range(2):
        wait_for(lambda: shard.pid() is None, 60, "the daemon has ended")
        cluster._start(shard)
    wait_for(lambda: shard.pid() is None, 60, "the daemon has ended for the third time")
    cluster.start([1])
    told = wait_for(lambda: error_of(shard, run), 60, "the run has failed")
    assert "the daemon has ended 3 times in a row with the program in advance of tick 3" in told
