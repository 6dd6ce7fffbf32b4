"""The knowledge colony on real daemons: tables and rankings as in one process, although one is killed half-way."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from examples.colony import TABLES, documents
from shoal import GraphData
from shoal.client.session import Run
from shoal.colony import cross_shard_edges
from tests.cluster.conftest import SETTINGS, UP_SECONDS
from tests.cluster.trial import TrialCluster, ask, kill, shoalctl, wait_for, well

TICKS, CHECKPOINT, INTERVAL = 40, 5, 0.02
PARAMS: dict[str, Any] = {"documents_a_tick": 2, "training": 2, "degree_max": 6, "quorum": 2.0, "quorum_documents": 2}
QUERIES = ("tree with white flowers", "instrument", "relating to the blood and its vessels")


@pytest.fixture(scope="module")
def glosses() -> GraphData:
    return documents(600, partitions=16)


def told(run: Run) -> dict[str, Any]:
    digests = {name: run.table_rows(name).digest for name in TABLES}
    return {"digests": digests, "found": [run.search(words, 12) for words in QUERIES], "figures": run.show()["figures"]}


@pytest.fixture(scope="module")
def expected(glosses: GraphData) -> dict[str, Any]:
    """Returns the results without faults and without a cut."""
    with shoal.local() as session:
        found = told(session.load("glosses", data=glosses).run("knowledge", ticks=TICKS, **PARAMS))
    assert all(found["figures"][name] for name in ("insights", "anomalies", "moved", "edges_let_go"))
    return found


@pytest.fixture(scope="module")
def cluster(ground: Path, glosses: GraphData) -> Iterator[TrialCluster]:
    made = TrialCluster(ground / "colony", SETTINGS)
    try:
        one = made.up(3, "curve", UP_SECONDS)[0]
        with shoal.connect(str(one.socket)) as session:
            session.load("glosses", data=glosses)
        yield made
    finally:
        made.down()


def test_one_is_killed_and_the_colony_is_as_it_would_have_been(cluster: TrialCluster, expected: dict[str, Any]) -> None:
    three = cluster.shards()
    victim, *rest = three
    with shoal.connect(str(rest[0].socket)) as session:
        graph = session.graph("glosses")
        run = graph.start("knowledge", ticks=TICKS, interval=INTERVAL, checkpoint=CHECKPOINT, **PARAMS)
        wait_for(lambda: run.show()["tick"] > 3 * CHECKPOINT, 30, "some checkpoints")
        kill(victim)
        assert [run.search(words, 12) for words in QUERIES] == expected["found"], "while it goes on"
        run.wait(60)
        assert told(run) == expected
        assert "after tick 0" not in _last_begin(rest[0], run.name), "it went on from a checkpoint"

        cluster.start([victim.number])
        wait_for(lambda: well(three), 30, "all three well")
        with shoal.connect(str(victim.socket)) as other:
            again = other.get_run(run.name)
            assert told(again) == expected
            crossing = cross_shard_edges(again)
        assert crossing.keys() == {shard.name for shard in three}
        assert 0 < sum(crossing.values()) < expected["figures"]["cross_partition_edges"]
        kept = run.ticks_kept()
        assert kept[-2] == TICKS - CHECKPOINT
        assert run.at(kept[-2]).table_rows("edges").digest != expected["digests"]["edges"]


def test_what_shoalctl_shows_of_it(cluster: TrialCluster, expected: dict[str, Any], tmp_path: Path) -> None:
    one = cluster.shards()[0]
    (run,) = (row["run"] for row in ask(one, "run list")["runs"])
    hits = json.loads(shoalctl(one, "run", "search", run, *QUERIES[0].split(), "--top", "12", "--json").stdout)["hits"]
    assert [(hit["id"], hit["score"]) for hit in hits] == expected["found"][0]
    path = tmp_path / "edges.csv"
    assert expected["digests"]["edges"] in shoalctl(one, "run", "table", run, "edges", "--out", str(path)).stderr
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == expected["figures"]["edges"]
    said = json.loads(shoalctl(one, "run", "table", run, "edges", "--top", "3", "--json").stdout)
    assert (said["count"], said["digest"]) == (len(rows), expected["digests"]["edges"])
    assert [{key: str(value) for key, value in row.items()} for row in said["rows"]] == rows[:3]
    wrong = shoalctl(one, "run", "table", run, "edge")
    assert wrong.exit_code == 1
    assert "no table 'edge'; did you mean 'edges'" in wrong.stderr
    assert "no searchable words" in shoalctl(one, "run", "search", run, "the").stderr


def _last_begin(shard: DevShard, run: str) -> str:
    return [line for line in shard.log.read_text().splitlines() if f"run {run} on graph" in line and "begins" in line][
        -1
    ]
