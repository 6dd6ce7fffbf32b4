"""Real daemons for the tests: one cluster of three for all that break nothing, and their own for those that do."""

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
"""For a start on a machine that is busy with other things; on an idle one it takes three."""

collect_ignore = ["next_version"]
"""Whoever imports it is the next version of Shoal."""

Up = Callable[..., list[DevShard]]
MADE: list[TrialCluster] = []


@pytest.fixture(scope="session")
def ground() -> Iterator[Path]:
    """A folder with a path short enough for unix sockets, in which nothing runs any more when all is over."""
    with tempfile.TemporaryDirectory(prefix="shoal-", dir="/tmp") as folder:
        yield Path(folder)
        left = processes_of(Path(folder))
        assert not left, f"processes left behind: {left}"


@pytest.fixture(scope="session")
def up(ground: Path) -> Iterator[Up]:
    """Start a cluster: `up(3)`; it is stopped when all tests are over, whatever has become of it."""

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
    """With a failed test, what the daemons last said: their folders are gone when somebody reads of it."""
    report = yield
    if report.failed:
        for shard in (shard for cluster in STARTED for shard in cluster.shards()):
            report.sections.append((f"log of {shard.folder.parent.name}", shard.last_words()))
    return report


@pytest.fixture(scope="session")
def trio(up: Up) -> list[DevShard]:
    """Three daemons that outlive every test that uses them."""
    return up(3)


@pytest.fixture
def three(trio: list[DevShard], request: pytest.FixtureRequest) -> Iterator[list[DevShard]]:
    """The same, and they must be as well after the test as before."""
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
    """The name under which the three hold it."""
    with shoal.connect(str(trio[0].socket)) as session:
        return session.load("deps", data=debian).name
