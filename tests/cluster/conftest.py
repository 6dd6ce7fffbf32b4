"""Real daemons for the tests: a shared cluster of three for tests that break nothing, separate ones for the others."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import GraphData
from tests.cluster.trial import DEBIAN, STARTED, TrialCluster, lives, processes_of, wait_for, well

SETTINGS = """\
[ticks]
phase_timeout = "400ms"
resend_interval = "100ms"

[transport]
frame_bytes_max = "32MiB"
"""
UP_SECONDS = 60.0
"""The time limit of a start on a busy machine; on an idle one it takes three seconds."""

collect_ignore = ["next_version"]
"""Importing it turns the process into the next version of Shoal."""

Up = Callable[..., list[DevShard]]
MADE: list[TrialCluster] = []


@pytest.fixture(scope="session")
def ground() -> Iterator[Path]:
    """Creates a folder with a path short enough for Unix sockets; at the end, no process runs in it any more."""
    with tempfile.TemporaryDirectory(prefix="shoal-", dir="/tmp") as folder:
        yield Path(folder)
        left = processes_of(Path(folder))
        assert not left, f"processes left behind: {left}"


@pytest.fixture(scope="session")
def up(ground: Path) -> Iterator[Up]:
    """Starts a cluster: `up(3)`; it is always stopped after all tests."""

    def start(count: int, settings: str = SETTINGS, encryption: str = "curve") -> list[DevShard]:
        MADE.append(TrialCluster(ground / f"c{len(MADE)}", settings))
        return MADE[-1].up(count, encryption, UP_SECONDS)

    try:
        yield start
    finally:
        while MADE:
            MADE.pop().down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Adds the daemons' last log lines to a failed test: their folders are gone when someone reads the report."""
    report = yield
    if report.failed:
        for shard in (shard for cluster in STARTED for shard in cluster.shards()):
            report.sections.append((f"log of {shard.folder.parent.name}", shard.last_words()))
    return report


@pytest.fixture(scope="session")
def trio(up: Up) -> list[DevShard]:
    """Three daemons that survive every test that uses them."""
    return up(3)


@pytest.fixture
def three(trio: list[DevShard], request: pytest.FixtureRequest) -> Iterator[list[DevShard]]:
    """The same, with a check that they are healthy after the test, too."""
    before = lives(trio)
    yield trio
    if request.node.get_closest_marker("new_life"):
        assert [pid for pid, _ in lives(trio)] == [pid for pid, _ in before], "a daemon died"
    else:
        assert lives(trio) == before, "a daemon died, or began another life"
    wait_for(lambda: well(trio), 20, "all three alive in one view")


@pytest.fixture(scope="session")
def debian() -> GraphData:
    """The Debian package graph."""
    return shoal.read_graph(DEBIAN / "nodes.csv.gz", edges=DEBIAN / "edges.csv.gz")


@pytest.fixture(scope="session")
def deps(trio: list[DevShard], debian: GraphData) -> str:
    """The name under which the three daemons hold it."""
    with shoal.connect(str(trio[0].socket)) as session:
        return session.load("deps", data=debian).name
