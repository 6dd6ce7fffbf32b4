"""A newcomer's first quarter of an hour: a new program of each style, unchanged, in this process and on a cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import Graph, Run
from tests.cluster.trial import said, shoalctl

NODES = [f"n{number:02}" for number in range(40)]
DATA = shoal.from_arrays(
    [*NODES, *NODES],
    [*NODES[1:], NODES[0], *NODES[7:], *NODES[:7]],
    nodes=NODES,
    node_columns={"topic": [("tea", "milk", "sugar")[number % 3] for number in range(40)]},
    edge_columns={"km": [1.0 + number % 4 for number in range(80)]},
)


@pytest.fixture
def graph(three: list[DevShard]) -> Iterator[Graph]:
    with shoal.connect(str(three[0].socket)) as session:
        yield session.load("paths", data=DATA)
        session.drop("paths")


def digest(run: Run, style: str) -> str:
    """Returns the digest of what a template computes."""
    if style == "colony":
        table = run.table_rows("edges")
        assert len(table)
        return table.digest
    return run.result({"vectorized": "level", "messages": "distance"}[style]).digest


@pytest.mark.parametrize(
    ("style", "ticks", "params"),
    [("vectorized", 0, {"cap": 9}), ("messages", 0, {"source": "n00", "weight": "km"}), ("colony", 12, {"crowd": 3.0})],
)
def test_a_new_program_does_the_same_here_and_on_a_cluster(
    three: list[DevShard], graph: Graph, tmp_path: Path, style: str, ticks: int, params: dict[str, Any]
) -> None:
    name, file = f"own-{style}", tmp_path / "own.py"
    assert shoalctl(three[0], "program", "new", name, "--style", style, "--out", str(file)).exit_code == 0
    with shoal.local(2) as session:
        session.deploy(file)
        expected = digest(session.load("paths", data=DATA).run(name, ticks=ticks, **params), style)
    assert said(three[1], "program", "deploy", str(file))["state"] == "deployed"
    words = [word for key, value in params.items() for word in ("--param", f"{key}={value}")]
    told = said(three[2], "run", "start", name, "--graph", "paths", "--ticks", str(ticks), *words, "--wait")
    assert told["state"] == "completed"
    with shoal.connect(str(three[0].socket)) as session:
        assert digest(session.get_run(told["run"]), style) == expected
    said(three[0], "program", "remove", name)
