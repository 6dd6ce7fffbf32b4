"""Daemons with few file descriptors, flooded on all their ports at once: they survive, and serve their clients."""

from __future__ import annotations

import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.conftest import MADE, UP_SECONDS, Up
from tests.cluster.strangers import knocking
from tests.cluster.test_operators import Far, OpenToOperators
from tests.cluster.trial import ask, config_of, counting, lives, metrics, summed, wait_for, well

LIMIT = 300
SECONDS = 6.0


class FewDescriptors(OpenToOperators):
    """The same daemons in a shell that limits open files."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program: Any = ("/bin/sh", "-c", f'ulimit -n {LIMIT}; exec "$@"', "sh", *self._program)


@pytest.fixture(scope="module")
def far(ground: Path, up: Up) -> Far:
    cluster = FewDescriptors(ground / f"d{len(MADE)}")
    MADE.append(cluster)
    return Far(cluster.up(3, "curve", UP_SECONDS))


def scraped(page: str) -> str:
    """Returns the scraped metrics; nothing if a full daemon dropped its connection."""
    try:
        with urllib.request.urlopen(page, timeout=10) as answer:
            return str(answer.read(), "utf-8")
    except OSError:
        return ""


def test_a_flood_of_all_ports_at_once(far: Far) -> None:
    """More connections than the limit on each port, and a thousand new ones per second: the run goes on, no member is
    missing, every port answers, and the log has one line per port.
    """
    one, two, _ = far.shards
    alive = lives(far.shards)
    with counting(two, "pond") as run:
        lines = len(one.log.read_text().splitlines())
        begun, most = ask(two, "run show", run=run)["tick"], 0.0
        page = f"http://{config_of(one).metrics.listen}/metrics"
        with knocking(one.config, SECONDS, rate=1000, hold=LIMIT) as counted:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until - 1.0:
                assert ask(one, "status")["state"] == "joined"
                wait_for(lambda: "shoal_ticks_total" in scraped(page), 10, "a scrape")
                wait_for(lambda: far.shoalctl("status").exit_code == 0, 10, "an answer to an operator")
                most = max(most, metrics(one, "shoal_descriptors")['shoal_descriptors{state="open"}'])
                before = ask(two, "run show", run=run)["tick"]
                wait_for(lambda before=before: ask(two, "run show", run=run)["tick"] > before, 10, "ticks")  # type: ignore[misc]
        assert counted["made"] > 3 * LIMIT
        assert lives(far.shards) == alive
        assert ask(two, "run show", run=run)["tick"] > begun
        assert most < LIMIT
        wait_for(lambda: well(far.shards), 20, "all three in one view")
    said = one.log.read_text().splitlines()[lines:]
    turned_away = [line for line in said if "turned away" in line]
    assert {line.split(": ")[1] for line in turned_away} >= {"control", "ticks"}
    assert len(turned_away) <= 6, "a line a port and minute, and one more where a minute ended"
    assert not [line for line in said if "Traceback" in line]
    assert summed(one, "shoal_handshakes_failed_total", reason="oversize") > 0
    found = metrics(one, "shoal_connections_max")
    assert sum(found.values()) < LIMIT


def test_too_few_are_a_sentence(far: Far) -> None:
    command = f'ulimit -n 128; exec {sys.executable} -m daemon --config "$0"'
    folder = far.shards[0].folder
    own = folder / "own.toml"  # next to the other, whose data folder is in use
    own.write_text(far.shards[0].config.read_text().replace('data = "data"', 'data = "own"'))
    ended = subprocess.run(
        ["/bin/sh", "-c", command, str(own)], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 1
    assert "cannot start: this process may open at most 128 files, and a shard of 3 needs 230" in ended.stderr
    assert "LimitNOFILE" in ended.stderr
