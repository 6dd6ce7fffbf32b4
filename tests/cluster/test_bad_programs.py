"""Programs that misbehave when the daemon calls methods other than their phases: this fails only their run."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import Graph, RunFailed
from shoal.api.errors import ProgramFailed
from tests.cluster.trial import ask, said, shoalctl, wait_for

SOURCE = '''\
"""A program for the tests."""

import numpy as np

from shoal import Column, Param, Program, Table


class Moody(Program):
    """Does what it is told to in the method that is named."""

    name = "moody"
    columns = (Column("tick", np.int64),)
    tables = (Table("notes", (("tick", "int64"),)),)
    ticks_default = 2
    saves = True

    where = Param("", "in which method")
    how = Param("raise", "raise, exit or hang")

    def prepare(self, ws):
        self.perhaps("prepare")

    def start(self, ws):
        ws.set("tick", 0)
        self.perhaps("start")

    def advance(self, ws):
        ws.set("tick", ws.tick)

    def halted(self, ws):
        if ws.tick:
            self.perhaps("halted")
        return self.where == "one shard" and ws.tick == 1 and ws.part.shard == "shard-2"

    def collect(self, ws):
        self.perhaps("collect")
        return {"tick": np.zeros(ws.part.size, np.int32)} if self.where == "narrow" else {}

    def save(self, ws, partition):
        self.perhaps("save")
        return b""

    def load(self, ws, partition, state):
        pass

    def resume(self, ws):
        self.perhaps("resume")

    def rows(self, ws, table, partition):
        self.perhaps("rows")
        return {"tick": np.array([ws.tick])}

    def perhaps(self, method):
        while method == self.where and self.how == "hang":
            pass
        if method == self.where and self.how == "odd":
            raise ValueError("no label " + b"caf\\xe9".decode("utf-8", "surrogateescape"))
        if method == self.where:
            raise {"raise": ValueError, "exit": SystemExit}[self.how]("as it was told")
'''


@pytest.fixture(scope="module")
def moods(trio: list[DevShard], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    """A graph, with the program deployed."""
    path, nodes = tmp_path_factory.mktemp("programs") / "moody.py", list(range(200))
    path.write_text(SOURCE)
    with shoal.connect(str(trio[0].socket)) as session:
        session.deploy(path)
        yield session.load("moods", data=shoal.from_arrays(nodes, [*nodes[1:], 0]))
        session.drop("moods")
        ask(trio[0], "program remove", program="moody")


@pytest.fixture
def graph(three: list[DevShard], moods: Graph) -> Graph:
    """The same, with checks of the daemons."""
    return moods


@pytest.mark.parametrize("how", ["raise", "exit"])
@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("prepare", "prepare of the run failed"),
        ("start", "start of the run failed"),
        ("collect", "collect after tick 2 failed"),
        ("save", "save after tick 2 failed"),
    ],
)
def test_its_run_fails_and_no_daemon(graph: Graph, where: str, told: str, how: str) -> None:
    with pytest.raises(RunFailed) as caught:
        graph.run("moody", where=where, how=how, timeout=30)
    failure = str(caught.value)
    assert f"shard-1, shard-2, shard-3: {told}\nTraceback" in failure
    assert f"in {where}" in failure
    assert {"raise": "ValueError: as it was told", "exit": "SystemExit: as it was told"}[how] in failure


@pytest.mark.parametrize("where", ["prepare", "start", "halted", "save"])
def test_words_that_are_not_utf_8_fail_the_run_and_are_written_out(
    three: list[DevShard], graph: Graph, where: str
) -> None:
    """They used to end every daemon, at each start again, because the log could not record the run's end."""
    with pytest.raises(RunFailed, match=r"ValueError: no label caf\\udce9"):
        graph.run("moody", where=where, how="odd", timeout=30)


def test_words_that_are_not_utf_8_are_an_answer_like_others(three: list[DevShard], graph: Graph) -> None:
    run = graph.run("moody", where="rows", how="odd", timeout=30)
    for shard in three:
        answer = shoalctl(shard, "--patience", "10s", "run", "table", run.name, "notes")
        assert (answer.exit_code, "ValueError: no label caf\\udce9" in answer.stderr) == (1, True)


@pytest.mark.parametrize("value", ["gewicht\udce9", "\udfff", ["a", {"b": "\ud800"}], 2**63, 10**30])
def test_what_no_log_can_hold_is_refused_by_whoever_is_asked(graph: Graph, value: object) -> None:
    with pytest.raises(shoal.ShoalError, match=r"params\.weight.*(UTF-8|64 bits)"):
        graph.start("sssp", source=1, weight=value)


@pytest.mark.parametrize(("how", "told"), [("raise", "ValueError: as it was told"), ("exit", "SystemExit: as it was")])
@pytest.mark.parametrize("where", ["rows", "resume"])
def test_a_table_that_cannot_be_read_is_an_answer_that_comes_at_once(
    three: list[DevShard], graph: Graph, where: str, how: str, told: str
) -> None:
    run = graph.run("moody", where=where, how=how, timeout=30)
    assert run.result("tick").digest, "columns need none of the program's code"
    for shard in three:  # the shard that holds the first partition
        answer = shoalctl(shard, "--patience", "10s", "run", "table", run.name, "notes")
        assert answer.exit_code == 1
        assert told in answer.stderr
    with pytest.raises(ProgramFailed, match="as it was told"):
        run.table_rows("notes")


@pytest.mark.parametrize(
    ("where", "doing", "told"),
    [
        ("save", "holding advance of tick 2", "save after tick 2"),
        ("halted", "settling advance of tick 1", "halted after tick 1"),
        ("prepare", "computing start of the run", "prepare of the run"),
    ],
)
def test_one_that_hangs_is_named_and_stopped_on_all_shards(
    three: list[DevShard], graph: Graph, where: str, doing: str, told: str
) -> None:
    run = graph.start("moody", where=where, how="hang")

    def named() -> list[str]:
        rows = ask(three[1], "barrier", run=run.name)["runs"]
        return [did for row in rows for did in row["doing"].values() if did.startswith(doing)]

    wait_for(named, 20, "word of what it does")
    stopped = said(three[2], "run", "stop", run.name, "--force")
    assert stopped["state"] == "failed"
    assert f"stopped: the program did not return from {told}" in stopped["error"]
    assert graph.run("moody", timeout=5).state == "completed", "no shard is still in it"


def test_one_that_ends_on_one_shard_alone_fails_and_so_does_one_with_columns_of_another_type(graph: Graph) -> None:
    """Daemons used to wait for either without end."""
    with pytest.raises(RunFailed, match="shard-2: halted after tick 1 says that the run is over, and on shard shard-"):
        graph.run("moody", where="one shard", ticks=9, timeout=20)
    told = r"keeping the state of tick 2 failed[^|]*collect gives column 'tick' as int32 of shape \(\d+,\): it has"
    with pytest.raises(RunFailed, match=told):
        graph.run("moody", where="narrow", timeout=20)


@pytest.mark.new_life
def test_a_run_that_is_stopped_by_force_ends_though_one_shard_never_answers(
    three: list[DevShard], graph: Graph
) -> None:
    """It is in a call that does not return to Python for a while; only a restart gets rid of it."""
    life = ask(three[1], "status")["generation"]
    run = graph.start("trial-sleep", shard="shard-2", phase="advance", tick=1, seconds=30.0)
    wait_for(lambda: ask(three[0], "barrier", run=run.name)["runs"][0]["missing"] == ["shard-2"], 10, "the others wait")
    said(three[0], "run", "stop", run.name, "--force")
    wait_for(lambda: ask(three[0], "run show", run=run.name)["state"] == "failed", 4, "its end")
    assert "stopped by force while waiting advance of tick 1" in ask(three[0], "run show", run=run.name)["error"]
    wait_for(lambda: (three[1].status() or {"generation": life})["generation"] != life, 20, "shard-2 starts again")
