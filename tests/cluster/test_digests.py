"""The promise: bit-identical results on real daemons and in one process, on any number of shards."""

from __future__ import annotations

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import GraphData, Session
from tests.cluster.conftest import Up
from tests.trials import Everything

WANTED = (("pagerank", "rank", 30), ("wcc", "component", 0), ("trial-everything", "a", 5))


def digests(session: Session, graph: str) -> dict[str, str]:
    found = {}
    for program, column, ticks in WANTED:
        run = session.graph(graph).run(Everything if program == Everything.name else program, ticks=ticks, timeout=60)
        found[column] = run.result(column).digest
    return found


@pytest.fixture(scope="module")
def expected(debian: GraphData) -> dict[str, str]:
    """Computed in this process, on one shard."""
    with shoal.local() as session:
        session.load("deps", data=debian)
        return digests(session, "deps")


def test_four_shards_in_one_process(debian: GraphData, expected: dict[str, str]) -> None:
    with shoal.local(4) as session:
        session.load("deps", data=debian)
        assert digests(session, "deps") == expected


def test_three_daemons_and_from_run_to_run(three: list[DevShard], deps: str, expected: dict[str, str]) -> None:
    for shard in three[:2]:
        with shoal.connect(str(shard.socket)) as session:
            assert digests(session, deps) == expected


def test_one_daemon_without_encryption(up: Up, debian: GraphData, expected: dict[str, str]) -> None:
    (lone,) = up(1, encryption="none")
    with shoal.connect(str(lone.socket)) as session:
        session.load("deps", data=debian)
        assert digests(session, "deps") == expected
