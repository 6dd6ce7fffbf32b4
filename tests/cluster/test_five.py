"""Five daemons with two copies: an operator's command lines when one daemon fails, and the loss of both copies."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from daemon.cli.dev_cluster import DevCluster, DevShard
from shoal import GraphData
from shoal.api.errors import Refused
from tests.cluster.test_command_lines import line
from tests.cluster.trial import DEBIAN, ask, metrics, shoalctl, wait_for, wait_for_line, well

DAMPING = 0.999


@pytest.fixture(scope="module")
def five(ground: Path) -> Iterator[DevCluster]:
    folder = ground / "five"
    cluster = DevCluster(folder)
    try:
        line(f"shoalctl dev up -n 5 --replicas 2 --dir {folder} --timeout 60s")
        first = cluster.shards()[0].socket
        nodes, edges = DEBIAN / "nodes.csv.gz", DEBIAN / "edges.csv.gz"
        line(f"shoalctl --socket {first} graph load deps --nodes {nodes} --edges {edges}")
        yield cluster
    finally:
        cluster.down()


def test_one_of_five_is_killed_and_started_again_in_a_run(five: DevCluster, debian: GraphData) -> None:
    """Each command line, exactly as documented, in a separate process."""
    folder, first = five.folder, five.shards()[0].socket

    def told(words: str) -> Any:
        return json.loads(line(f"shoalctl {words} --json"))

    run = told(f"--socket {first} run start pagerank --graph deps --ticks 400 --interval 20ms")["run"]
    line(f"shoalctl dev kill 3 --dir {folder}")
    line(f"shoalctl dev start 3 --dir {folder}")
    shown = told(f"--socket {first} run show {run}")
    assert (shown["run"], shown["error"]) == (run, None)
    ended = told(f"--socket {first} run wait {run} --timeout 120s")
    assert (ended["state"], ended["tick"]) == ("completed", 400)
    result = told(f"--socket {first} run result {run} --column rank --top 1")
    with shoal.local() as session:
        expected = session.load("deps", data=debian).run("pagerank", ticks=400).result("rank")
    assert result["digest"] == expected.digest
    begun = five.shards()[0].log.read_text().count(f"run {run} on graph deps begins after tick")
    assert begun > 1, "it was interrupted, and went on"
    wait_for(lambda: well(five.shards()), 30, "all five well")


def _placed(shard: DevShard, graph: str) -> list[tuple[str, ...]]:
    return [(row["primary"], *row["replicas"]) for row in ask(shard, "ring", graph=graph)["partitions"]]


def test_both_copies_are_lost_and_the_graph_waits_for_one(five: DevCluster) -> None:
    """A graph that lost partitions is halted, with an error; nothing is invented, and it only needs one holder back."""
    shards = five.shards()
    nodes = list(range(600))
    data = shoal.from_arrays(nodes, [(n + 1) % 300 if n < 300 else n * n % 300 for n in nodes])
    with shoal.connect(str(shards[0].socket)) as session:
        session.load("small", data=data)
    wait_for(lambda: well(shards), 20, "all five well")
    pair = set(_placed(shards[0], "small")[0])
    lost = [p for p, holders in enumerate(_placed(shards[0], "small")) if set(holders) <= pair]
    gone = [shard for shard in shards if shard.name in pair]
    rest = [shard for shard in shards if shard not in gone]
    run = ask(
        rest[0],
        "run start",
        program="pagerank",
        graph="small",
        ticks=200,
        params={"damping": DAMPING},
        interval_seconds=0.01,
        checkpoint_ticks=20,
    )["run"]
    wait_for(lambda: ask(rest[0], "run show", run=run)["tick"] > 30, 20, "some ticks")
    five.kill([shard.number for shard in gone])

    def halted(shard: DevShard) -> dict[str, Any]:
        return {row["graph"]: row for row in ask(shard, "status")["halted"]}

    for shard in rest:
        wait_for(lambda shard=shard: "small" in halted(shard), 30, "the graph halted")  # type: ignore[misc]
    for shard in rest:
        assert halted(shard)["small"] == {"graph": "small", "partitions": lost, "shards": sorted(pair)}
        assert ask(shard, "status")["majority"] is True
        names = ",".join(sorted(pair))
        series = f'shoal_partition_lost{{graph="small",partition="{lost[0]}",shards="{names}"}}'
        assert metrics(shard, "shoal_partition_lost")[series] == 1
        said = f"graph small is halted: partitions {lost} are lost; {', '.join(sorted(pair))} had them"
        wait_for_line(shard, said)
        assert all(name in shoalctl(shard, "status").stdout for name in pair)
    with pytest.raises(Refused, match=f"graph 'small' is halted: .*{len(lost)} .*{', '.join(sorted(pair))} had them"):
        ask(rest[0], "run start", program="pagerank", graph="small")
    assert ask(rest[1], "graph show", graph="small")["state"] == "halted"
    assert ask(rest[1], "run show", run=run)["state"] == "running"

    five.start([gone[1].number], wait=True)
    shown = ask(rest[0], "run wait", run=run, timeout_seconds=60)
    assert (shown["state"], shown["tick"]) == ("completed", 200)
    with shoal.local() as session:
        expected = session.load("small", data=data).run("pagerank", ticks=200, damping=DAMPING).result("rank")
    for shard in [*rest, gone[1]]:
        assert ask(shard, "run result", run=run, column="rank")["digest"] == expected.digest
        assert ask(shard, "status")["halted"] == []
        assert not metrics(shard, "shoal_partition_lost")
