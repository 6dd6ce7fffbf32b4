"""A hostile member and strangers attack three daemons during a run; `tests.cluster.siege` takes longer."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

import shoal
from consensus import Configuration, InstallSnapshot, Snapshot
from consensus.stored import CHUNK_BYTES_MAX, CHUNKS_MAX
from daemon.cli.dev_cluster import DevShard
from daemon.config.keys import load_pair
from tests.cluster.conftest import MADE, UP_SECONDS, Up
from tests.cluster.siege import HOSTILE, Besieged, Stopwatch, besieged, what_is_known
from tests.cluster.test_identity import speaker
from tests.cluster.trial import ask, counting, leader_of, lives, summed, wait_for, well

SECONDS = 4.0
REPEATED, RESIDENT_BYTES_MAX = 150, 64 << 20
"""How often a chunk of the largest size is sent, and how much a daemon's memory may grow from all of them."""
RATE = 300.0


@pytest.fixture(scope="module")
def shards(ground: Path, up: Up) -> list[DevShard]:
    cluster = Besieged(ground / f"h{len(MADE)}")
    MADE.append(cluster)
    return cluster.up(3, "curve", UP_SECONDS)


def test_a_hostile_member_and_strangers(shards: list[DevShard]) -> None:
    """No daemon ends or is missing, the run keeps over half its rate even on a machine shared with the attackers, and
    the log says who it was: one line per minute and port.
    """
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
    """With a valid key, in the view and in its present life, it can ruin what is computed, but ends no daemon, and once
    it is silent everything is as before.
    """
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


# -- forged snapshots
# ---------------------------------------------------------------------------------------------------


def forged(term: int, index: int) -> dict[str, list[InstallSnapshot]]:
    """Returns pieces of a forged snapshot, as no leader sends them."""
    bodies = tuple(bytes([number]) * 50_000 for number in range(1, 5))
    header = Snapshot(index, term, Configuration.of(["mallory/1"]), bodies).header
    good = [InstallSnapshot(term, header, number, body) for number, body in enumerate(bodies)]
    largest = InstallSnapshot(term, replace(header, index=index + 1), 0, bytes(CHUNK_BYTES_MAX - 1000))

    def headed(**changes: object) -> list[InstallSnapshot]:
        return [replace(piece, header=replace(header, **changes)) for piece in good]

    return {
        "out of order": [good[number] for number in (3, 1, 0, 2)],
        "duplicated": [good[number] for number in (0, 0, 1, 1, 0, 2, 2)],
        "too large": [replace(good[0], chunk=bytes(size)) for size in (CHUNK_BYTES_MAX + 1, 3 * CHUNK_BYTES_MAX)],
        "empty": [replace(good[0], chunk=b""), InstallSnapshot(term, replace(header, count=0), 0, b"")],
        "a wrong digest": headed(digest=bytes(16)),
        "a digest of another length": headed(digest=b"short"),
        "fewer than there are": headed(count=2),
        "more than there are": headed(count=CHUNKS_MAX) + headed(count=CHUNKS_MAX + 1) + headed(count=2**62),
        "one beyond the last": [replace(good[3], number=number) for number in (4, CHUNKS_MAX, 2**62)],
        "an index far ahead": headed(index=2**62),
        "a term to come": [replace(piece, term=term + 1000) for piece in good],
        "of nobody": headed(configuration=Configuration()),
        "the largest again and again": [largest] * REPEATED,
        "a whole one of nonsense": good,
    }


def put_together(shard: DevShard) -> float:
    """Returns how many complete snapshots it received but could not read."""
    return summed(shard, "shoal_events_total", event="consensus_snapshots_unsound")


@pytest.mark.parametrize("who", ["a stranger to the view", "a follower", "the leader"])
def test_forged_pieces_of_a_snapshot(shards: list[DevShard], who: str) -> None:
    """With a valid key: no daemon ends, keeps what it received, or accepts it as decided. From a sender that does not
    lead, the pieces are not even assembled.
    """
    wait_for(lambda: well(shards), 60, "all three in one view")
    leader = next(shard for shard in shards if shard.name == leader_of(shards[0]))
    follower, target = (shard for shard in shards if shard is not leader)
    if who == "a stranger to the view":
        pair, generation = load_pair(shards[0].folder.parent / f"{HOSTILE}.secret_key"), time.time_ns()
    else:
        liar = follower if who == "a follower" else leader
        pair = load_pair(liar.folder / f"{liar.name}.secret_key")
        generation = ask(liar, "status")["generation"]
    with shoal.connect(str(target.socket)) as session:
        graph = session.load(f"web-{who.split()[-1]}", data=shoal.from_arrays([1, 2, 3, 3], [2, 3, 1, 4]))
        digest = graph.run("pagerank", ticks=3).result("rank").digest
        before, listed = lives(shards), [ask(shard, "run list")["runs"] for shard in shards]
        resident = [psutil.Process(shard.pid()).memory_info().rss for shard in shards]
        unsound = put_together(target)
        for what, pieces in forged(ask(target, "status")["term"], 1_000_000).items():
            refused = summed(target, "shoal_dropped_total", reason="malformed")
            with speaker(pair, generation, target) as send:
                for piece in pieces:
                    send(piece)
                send(b"nothing that can be read")
                wait_for(
                    lambda count=refused: summed(target, "shoal_dropped_total", reason="malformed") > count, 20, what
                )
            assert lives(shards) == before, what
        if who == "the leader":
            wait_for(lambda: put_together(target) == unsound + 1, 20, "the whole one is found to be nonsense")
        assert put_together(target) == unsound + (who == "the leader")
        for shard, bytes_before in zip(shards, resident, strict=True):
            assert psutil.Process(shard.pid()).memory_info().rss - bytes_before < RESIDENT_BYTES_MAX
        wait_for(lambda: well(shards), 30, "all three in one view")
        assert [ask(shard, "run list")["runs"] for shard in shards] == listed
        assert graph.run("pagerank", ticks=3).result("rank").digest == digest
    assert lives(shards) == before
