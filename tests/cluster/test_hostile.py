"""A member that means harm and strangers, at three daemons with a run going on; `tests.cluster.siege` is longer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from daemon.cli.dev_cluster import DevShard
from tests.cluster.conftest import MADE, UP_SECONDS, Up
from tests.cluster.siege import HOSTILE, Besieged, Stopwatch, besieged, what_is_known
from tests.cluster.trial import ask, counting, lives, summed, wait_for, well

SECONDS = 4.0
RATE = 300.0


@pytest.fixture(scope="module")
def shards(ground: Path, up: Up) -> list[DevShard]:
    cluster = Besieged(ground / f"h{len(MADE)}")
    MADE.append(cluster)
    return cluster.up(3, "curve", UP_SECONDS)


def test_a_hostile_member_and_strangers(shards: list[DevShard]) -> None:
    """Nobody ends or is missed, the run goes on at more than half its rate even on a machine that the attackers share,
    and the log says who it was: a line a minute and port."""
    before = lives(shards)
    key = shards[0].folder.parent / f"{HOSTILE}.secret_key"
    with counting(shards[0], "siege") as run:
        watch = Stopwatch(shards, run)
        time.sleep(SECONDS / 2)
        quiet = watch.pace()
        known = what_is_known(shards, run)
        with besieged(shards, key, known, messages=int(RATE * SECONDS), rate=RATE, strangers=60, seed=1):
            watch = Stopwatch(shards, run)
            time.sleep(SECONDS / 2)
            during = watch.pace()
        assert lives(shards) == before
        wait_for(lambda: well(shards), 30, "all three in one view")
        tick = ask(shards[1], "run show", run=run)["tick"]
        wait_for(lambda: ask(shards[1], "run show", run=run)["tick"] > tick, 20, "the run goes on")
    assert max(during.a_second / quiet.a_second, during.a_processor_second / quiet.a_processor_second) > 0.5
    for shard in shards:
        assert summed(shard, "shoal_events_total", event="membership_nonsense") > 0
        told = [line for line in shard.log.read_text().splitlines() if "messages dropped" in line]
        assert len(told) == 1
        assert f"({HOSTILE})" in told[0]
        assert "Traceback" not in shard.log.read_text()


def test_one_who_speaks_with_a_members_own_key(shards: list[DevShard]) -> None:
    """Of the view and in its present life: that one can ruin what is computed, but ends no daemon, and once it is
    silent all is as it was."""
    before, twin = lives(shards), shards[2]
    key = twin.folder / f"{twin.name}.secret_key"
    with counting(shards[0], "siege") as run:
        known = what_is_known(shards, run, ask(twin, "status")["generation"])
        with besieged(shards[:2], key, known, messages=int(RATE * SECONDS), rate=RATE, strangers=0, seed=7):
            pass
        assert lives(shards) == before
        wait_for(lambda: well(shards), 60, "all three in one view")
        if ask(shards[0], "run show", run=run)["state"] == "running":
            tick = ask(shards[1], "run show", run=run)["tick"]
            wait_for(lambda: ask(shards[1], "run show", run=run)["tick"] > tick, 20, "the run goes on")
