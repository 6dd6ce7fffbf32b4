"""Programs deployed to real daemons: deployed, run, replaced, removed, and interrupted when they hang."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import BadProgram, Graph, RunFailed, ShoalError, UnknownProgram
from shoal.api.errors import Refused, Usage
from shoal.client.admin_protocol import AdminConnection
from shoal.program.deployed import digest_of
from tests.cluster.conftest import Up
from tests.cluster.trial import ask, said, shoalctl, wait_for

SOURCE = '''\
"""A program for the tests."""

import numpy as np

from shoal import Column, Direction, Merge, Param, Program


class Wave(Program):
    """How far the greatest ordinal has come."""

    name = "wave"
    columns = (Column("height", np.int64, ghosts=Direction.IN),)
    ticks_default = 5

    factor = Param(1, "how much higher each tick")
    hangs_on = Param("", "the shard that does not return in tick 3")

    def start(self, ws):
        ws.set("height", ws.part.ordinals)

    def advance(self, ws):
        if ws.tick == 3 and ws.part.shard == self.hangs_on:
            while True:
                pass
        ws.set("height", np.maximum(ws.column("height"), ws.gather("height", Merge.MAX)) * self.factor)
'''
NODES = list(range(300))
RING = (NODES, [*NODES[1:], 0])


@pytest.fixture
def graph(three: list[DevShard]) -> Iterator[Graph]:
    with shoal.connect(str(three[0].socket)) as session:
        yield session.load("sea", data=shoal.from_arrays(*RING))
        for run in session.runs():
            if run.state in ("running", "stopping"):
                run.stop().wait(30)
        session.drop("sea")
        for row in session.programs():
            if row["origin"] == "deployed":
                ask(three[0], "program remove", program=row["name"])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "wave.py"
    path.write_text(SOURCE)
    return path


def listed(shard: DevShard) -> dict[str, Any]:
    return {row["name"]: row for row in said(shard, "program", "list")["programs"]}


def in_one_process(file: Path, **params: Any) -> str:
    with shoal.local(2) as session:
        session.deploy(file)
        return session.load("sea", data=shoal.from_arrays(*RING)).run("wave", **params).result("height").digest


def test_a_program_comes_by_the_command_line_and_runs_everywhere(
    three: list[DevShard], graph: Graph, file: Path
) -> None:
    digest = digest_of(SOURCE.encode())
    told = said(three[0], "program", "deploy", str(file))
    assert (told["program"], told["state"], told["digest"], told["origin"]) == ("wave", "deployed", digest, "deployed")
    for shard in three:
        row = listed(shard)["wave"]
        assert (row["digest"], row["columns"], row["phases"]) == (digest, ["height"], ["advance"])
    run = graph.run("wave", factor=3)
    assert run.show()["digest"] == digest
    assert run.result("height").digest == in_one_process(file, factor=3)
    shown = said(three[1], "program", "show", "wave")
    assert [(one["digest"], one["is_current"], one["runs"]) for one in shown["versions"]] == [
        (digest, True, [run.name])
    ]
    assert shoalctl(three[2], "program", "show", "wave", "--source").stdout == SOURCE
    assert said(three[2], "program", "remove", "wave")["state"] == "removed"
    with pytest.raises(UnknownProgram, match="no program is called 'wave'"):
        graph.run("wave")
    assert run.result("height").digest == in_one_process(file, factor=3), "its results stay"


def test_a_run_keeps_the_version_that_it_began_with(three: list[DevShard], graph: Graph, file: Path) -> None:
    with shoal.connect(str(three[1].socket)) as session:
        first = session.deploy(file)
        old = graph.start("wave", paced=True, factor=2)
        old.step()
        file.write_text(SOURCE.replace("* self.factor", "* self.factor + 1"))
        second = session.deploy(file)
        assert (second["state"], second["replaced"]) == ("replaced", first["digest"])
        new = graph.run("wave", factor=2)
        assert (old.show()["digest"], new.show()["digest"]) == (first["digest"], second["digest"])
        with pytest.raises(ShoalError, match=f"program 'wave' is in use by {old.name}: stop them first"):
            ask(three[2], "program remove", program="wave")
        for _ in range(4):
            old.step()
        assert old.wait(10).result("height").digest != new.result("height").digest
        assert new.result("height").digest == in_one_process(file, factor=2)
        file.write_text(SOURCE)
        assert old.result("height").digest == in_one_process(file, factor=2)


def test_a_program_that_hangs_is_named_and_stopped_and_nothing_else(
    three: list[DevShard], graph: Graph, file: Path
) -> None:
    """It does not return on one shard of three. That shard's daemon answers, and its other runs continue afterwards."""
    with shoal.connect(str(three[0].socket)) as session:
        session.deploy(file)
        beside = graph.start("trial-count", ticks=10**9)
        for force in (False, True):  # 400 ms is this cluster's phase timeout, and so its limit for a stop
            run = graph.start("wave", hangs_on="shard-3")
            wait_for(lambda run=run: run.show()["tick"] == 2, 10, "the tick before")  # type: ignore[misc]
            late = wait_for(
                lambda run=run: [  # type: ignore[misc]
                    row for row in ask(three[0], "barrier", run=run.name)["runs"] if row["missing"] == ["shard-3"]
                ],
                10,
                "the name of who is late",
            )
            wait_for(
                lambda late=late: (
                    "computing advance of tick 3" in late[0]["doing"].get("shard-3", "")  # type: ignore[misc]
                    or "advance of tick 3 has waited" in three[0].log.read_text()
                ),
                10,
                "what it is doing",
            )
            assert said(three[2], "status")["state"] == "joined"
            wait_for(
                lambda: "advance of tick 3 has been computing here for 0." in three[2].log.read_text(),
                10,
                "the word of the shard itself",
            )
            stopped = said(three[1], "run", "stop", run.name, *(["--force"] if force else []))
            assert stopped["state"] == "failed"
            with pytest.raises(RunFailed, match="shard-3: stopped: the program did not return from advance of tick 3"):
                run.wait(10)
            assert {ask(shard, "run show", run=run.name)["tick"] for shard in three} == {2}
        at = beside.show()["tick"]
        wait_for(lambda: beside.show()["tick"] > at + 10, 10, "the other run goes on")
        assert beside.stop().state == "stopped"
        assert graph.run("wave").result("height").digest == in_one_process(file)


def test_what_is_no_program_is_refused(three: list[DevShard], graph: Graph, file: Path, tmp_path: Path) -> None:
    with shoal.connect(str(three[0].socket)) as session:
        file.write_text("import no_such_thing\n")
        with pytest.raises(BadProgram, match=r"(?s)wave.py: its import fails.*ModuleNotFoundError"):
            session.deploy(file)
        file.write_text(SOURCE.replace('"wave"', '"pagerank"'))
        with pytest.raises(Refused, match="a program called 'pagerank' is already installed here: choose another name"):
            session.deploy(file)
    result = shoalctl(three[0], "program", "remove", "pagerank")
    assert (result.exit_code, "is installed, not deployed" in result.stderr) == (1, True)
    with (
        AdminConnection(three[0].socket) as connection,
        pytest.raises(Usage, match="bytes of one file"),
    ):
        connection.call("program deploy", {"file": "x.py"})
    large = tmp_path / "large.py"
    large.write_bytes(b"#" * (65 << 10))
    result = shoalctl(three[0], "program", "deploy", str(large))
    assert (result.exit_code, "is too large: a deployed program has at most 64 KiB" in result.stderr) == (1, True)


def test_another_version_of_an_installed_program_fails_the_run_before_its_first_tick(up: Up) -> None:
    one, _ = up(2)
    with shoal.connect(str(one.socket)) as session:
        graph = session.load("sea", data=shoal.from_arrays(*RING))
        before = {row["name"]: row["digest"] for row in session.programs()}
        site = one.folder.parent / "site" / "shoal_trials.py"
        site.write_text(site.read_text() + "# another version\n")  # shard 1 has imported it, shard 2 has not
        after = digest_of(site.read_bytes())
        with pytest.raises(RunFailed) as caught:
            graph.run("trial-count", ticks=3)
    told = f"shard-2: program 'trial-count' is installed here with digest {after[:12]}, and the run uses "
    assert told + before["trial-count"][:12] in str(caught.value)
    assert "at tick 0:" in str(caught.value)
