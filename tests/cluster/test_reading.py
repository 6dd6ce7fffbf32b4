"""Reading runs of real daemons: at kept ticks, while they are in progress, and into files, in stretches."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import Graph, ShoalError
from shoal.api.errors import Refused, TickNotKept
from shoal.query.rows import STRETCH
from tests.cluster.trial import ask, shoalctl, wait_for
from tests.trials import Count, Everything, Halves

NODES = STRETCH + 1000
"""More than one stretch."""


@pytest.fixture
def graph(three: list[DevShard]) -> Iterator[Graph]:
    """A ring of two stretches."""
    nodes = np.arange(NODES)
    with shoal.connect(str(three[0].socket)) as session:
        loaded = session.load("large", data=shoal.from_arrays(nodes, np.roll(nodes, -1)))
        yield loaded
        for run in session.runs():
            if run.state in ("running", "stopping"):
                run.stop().wait(30)
        session.drop("large")


def test_a_run_is_read_at_the_ticks_that_are_kept(three: list[DevShard], graph: Graph) -> None:
    """The same bits as a run that ended there, from any daemon."""
    run = graph.run(Everything, ticks=9, checkpoint=2)
    assert run.ticks_kept() == [6, 8, 9]
    assert {tuple(ask(shard, "run ticks", run=run.name)["ticks"]) for shard in three} == {(6, 8, 9)}
    early = graph.run(Everything, ticks=6)
    for column in ("a", "b"):
        assert run.at(6).result(column).digest == early.result(column).digest
        assert run.at(6).result(column).digest != run.result(column).digest
    assert (graph.at(tick=8, run=run.name).tick, graph.at().run, run.at().tick) == (8, early.name, 9)
    with shoal.connect(str(three[2].socket)) as other:
        assert other.get_run(run.name).at(8).result("a").digest == run.at(8).result("a").digest
    for tick in (1, 7, 10):
        with pytest.raises(TickNotKept, match=f"can't be read at tick {tick}: .* are 6, 8, 9"):
            run.at(tick)
        with pytest.raises(Refused, match=f"can't be read at tick {tick}: .* are 6, 8, 9"):
            ask(three[1], "run result", run=run.name, tick=tick)


def test_a_run_that_goes_on_is_read_at_its_last_checkpoint(three: list[DevShard], graph: Graph) -> None:
    run = graph.start(Count, ticks=10**9, checkpoint=50)
    wait_for(run.ticks_kept, 20, "a checkpoint")
    for shard in three:
        said = ask(shard, "run result", run=run.name, column="tick", top=1)
        assert said["tick"] % 50 == 0
        assert [row["value"] for row in said["rows"]] == [said["tick"]]
    seen = 0
    for _ in range(5):
        column = run.result("tick")
        assert set(column.values.tolist()) == {column.tick}, "one tick, and no mixture"
        assert column.tick >= seen
        seen = column.tick
    batches = run.stream(["tick"])
    first = next(batches)
    wait_for(lambda: run.ticks_kept()[0] > column.tick + 200, 30, "it has gone on")
    rest = list(batches)
    assert len({value for batch in (first, *rest) for value in batch["tick"].to_pylist()}) == 1, (
        "a stream stays at its tick"
    )
    last = run.stop().wait(30).tick
    assert run.ticks_kept()[-1] == last
    assert len(run.ticks_kept()) == 3


def test_a_run_without_a_checkpoint_has_nothing_to_read(three: list[DevShard], graph: Graph) -> None:
    run = graph.start(Count, ticks=10**9, checkpoint=-1)
    assert run.ticks_kept() == []
    with pytest.raises(TickNotKept, match="has no result: it is running, and has no checkpoint to read yet"):
        run.result("tick")
    run.stop()


def test_a_stream_is_cut_and_its_columns_can_be_chosen(graph: Graph) -> None:
    run = graph.run(Everything, ticks=2)
    table = run.table()
    assert table.column_names == ["id", *run.show()["columns"]]
    assert [batch.num_rows for batch in run.stream(["b"])] == [STRETCH, NODES - STRETCH]
    assert table["id"].to_pylist() == list(range(NODES))
    for column in ("a", "b"):
        assert table[column].to_numpy().tobytes() == run.result(column).values.tobytes()
    assert run.table(["b", "a"]).column_names == ["id", "b", "a"]
    with pytest.raises(ShoalError, match="has no column 'z'"):
        run.table(["z"])


@pytest.mark.parametrize("ending", [".csv", ".parquet", ".arrow"])
def test_shoalctl_writes_files(three: list[DevShard], graph: Graph, tmp_path: Path, ending: str) -> None:
    run = graph.run(Everything, ticks=3, checkpoint=1)
    out, expected = tmp_path / f"out{ending}", run.result("b")
    done = shoalctl(three[1], "run", "result", run.name, "--column", "b", "--out", str(out))
    assert done.exit_code == 0, done.stderr
    assert f"{NODES} values in {out}, after tick 3, digest {expected.digest}" in done.stderr
    name = "value" if ending == ".csv" else "b"
    assert read(out) == {"id": list(range(NODES)), name: expected.values.tolist()}
    both = ("--column", "b", "--column", "a", "--tick", "2")
    assert shoalctl(three[2], "run", "result", run.name, *both, "--out", str(out)).exit_code == 0
    assert list(read(out)) == ["id", "b", "a"]
    assert read(out)["a"] == run.at(2).result("a").values.tolist()
    assert [path.name for path in tmp_path.iterdir()] == [out.name]


def read(path: Path) -> dict[str, list[Any]]:
    if path.suffix == ".parquet":
        return dict(pq.read_table(path).to_pydict())
    if path.suffix == ".arrow":
        return dict(pa.ipc.open_file(path).read_all().to_pydict())
    with path.open(newline="") as file:
        header, *rows = csv.reader(file)
    ids, *values = zip(*rows, strict=True)
    return {
        header[0]: [int(node) for node in ids],
        **{n: [float(v) for v in c] for n, c in zip(header[1:], values, strict=True)},
    }


def test_what_stands_for_none_is_shown_as_none(three: list[DevShard], graph: Graph, tmp_path: Path) -> None:
    run, out = graph.run(Halves, ticks=1), tmp_path / "half.csv"
    for column, third in (("half", 1), ("ratio", 1.0)):
        said = ask(three[1], "run result", run=run.name, column=column, top=NODES)
        values = [row["value"] for row in said["rows"]]
        assert values[:2] == [NODES // 2 - 1, NODES // 2 - 2]
        assert values[NODES // 2 :] == [None] * (NODES // 2)
        assert [row["id"] for row in said["rows"][NODES // 2 :]] == list(range(1, NODES, 2))
        assert shoalctl(three[0], "run", "result", run.name, "--column", column, "--out", str(out)).exit_code == 0
        assert out.read_text().splitlines()[:5] == ["id,value", f"0,{third - third}", "1,", f"2,{third}", "3,"]
    assert run.result("ratio").digest == said["digest"], "it is over the values themselves"
    assert run.table()["half"].null_count == NODES // 2


def test_what_cannot_be_written_is_said(three: list[DevShard], graph: Graph, tmp_path: Path) -> None:
    run = graph.run("degree")
    for out, told in (
        (tmp_path / "x.txt", "should end in .csv, .parquet, .arrow"),
        (tmp_path / "no" / "x.csv", "cannot be written"),
    ):
        done = shoalctl(three[0], "run", "result", run.name, "--out", str(out))
        assert (done.exit_code, told in done.stderr) == (1, True), done.stderr
    assert shoalctl(three[0], "run", "result", "nothing-1", "--out", str(tmp_path / "x.csv")).exit_code == 1
    assert list(tmp_path.iterdir()) == []


def test_a_run_whose_every_tick_is_a_checkpoint_can_be_read(graph: Graph) -> None:
    """Its states are deleted a few ticks later: a reader of the last tick retries until it has all of one."""
    run = graph.start(Count, ticks=10**9, checkpoint=1)
    wait_for(run.ticks_kept, 20, "a checkpoint")
    until, read = time.monotonic() + 3, 0
    while time.monotonic() < until and read < 10:
        column = run.result("tick")
        assert set(column.values.tolist()) == {column.tick}
        read += 1
    assert read
    run.stop()
