"""Keys of members and operators that are revoked while they are connected, at real daemons with a run."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal.api.errors import Unreachable
from tests.cluster.conftest import MADE, UP_SECONDS, Up
from tests.cluster.test_operators import Far, OpenToOperators
from tests.cluster.trial import ask, config_of, counting, summed, wait_for, wait_for_line, well

ONE_SECOND = 1.0


@pytest.fixture(scope="module")
def far(ground: Path, up: Up) -> Far:
    cluster = OpenToOperators(ground / f"r{len(MADE)}")
    MADE.append(cluster)
    return Far(cluster.up(3, "curve", UP_SECONDS))


@pytest.fixture
def whole(far: Far) -> Iterator[str]:
    """The list of keys, which is restored on all daemons after the test."""
    text = far.allowed.read_text()
    yield text
    far.allowed.write_text(text)
    reload(far.shards)
    wait_for(lambda: well(far.shards), 30, "all three in one view again")


def reload(shards: list[DevShard]) -> None:
    for shard in shards:
        size, pid = shard.log.stat().st_size, shard.pid()
        assert pid is not None
        os.kill(pid, signal.SIGHUP)
        wait_for_line(shard, "allowed keys", size)


def connected(shard: DevShard, to: DevShard) -> int:
    """Returns the number of a daemon's established connections to another's planes, according to the kernel."""
    listen = config_of(to).listen
    ports = {int(address.rsplit(":", 1)[1]) for address in (listen.control, listen.ticks)}
    found = psutil.Process(shard.pid()).net_connections("tcp")
    return sum(each.status == psutil.CONN_ESTABLISHED and each.raddr.port in ports for each in found)


def without(text: str, name: str) -> str:
    return re.sub(rf"^{name} .*\n", "", text, flags=re.MULTILINE)


def test_a_member_whose_key_is_taken_away_is_out_at_once_on_both_planes(far: Far, whole: str) -> None:
    """Whichever side connected: within a second its connections to the others and theirs to it are closed. The run
    continues without it, it is told why, and with its key back it is a member again.
    """
    one, two, three = far.shards
    with counting(one, "pond") as run:
        assert connected(three, one) == connected(one, three) == 2
        far.allowed.write_text(without(whole, three.name))
        reload([one, two])
        began = time.monotonic()
        wait_for(lambda: not any(connected(three, to) + connected(to, three) for to in (one, two)), 5, "all cut")
        assert time.monotonic() - began < ONE_SECOND
        wait_for(lambda: ask(one, "status")["members"]["alive"] == 2, 30, "the others know")
        before = ask(two, "run show", run=run)["tick"]
        wait_for(lambda: ask(two, "run show", run=run)["tick"] > before, 30, "the run goes on")
        assert summed(one, "shoal_events_total", event="connections_cut_revoked") >= 1
        wait_for(lambda: "refuses our key" in three.log.read_text(), 30, "it is told")
        reload([three])
        wait_for_line(three, "own key is not in the list of allowed keys under the name shard-3")
        far.allowed.write_text(whole)
        reload(far.shards)
        wait_for(lambda: well(far.shards), 30, "all three in one view again")
        before = ask(three, "run show", run=run)["tick"]
        wait_for(lambda: ask(three, "run show", run=run)["tick"] > before + 10, 30, "the run goes on with it")


@pytest.mark.parametrize("spoken", [True, False])
def test_an_operator_who_becomes_a_member_is_no_operator_any_more(far: Far, whole: str, spoken: bool) -> None:
    with shoal.connect(far.address(), 10.0, key=far.key(), known_keys=far.allowed) as session:
        if spoken:
            session.status()
        line = re.search(r"^carol .*$", whole, re.MULTILINE)
        assert line is not None
        far.allowed.write_text(whole.replace(line[0], line[0].removesuffix(" operator")))
        reload(far.shards)
        with pytest.raises(Unreachable):
            session.status()
    with pytest.raises(Unreachable, match="does not accept 'carol' as an operator"):
        shoal.connect(far.address(), 10.0, key=far.key(), known_keys=far.allowed)


@pytest.mark.parametrize("content", [b"", b"# nobody\n", b"\xff\x00" * 100, b"shard-1 short\n", None])
def test_a_list_that_cannot_be_used_changes_nothing(far: Far, whole: str, content: bytes | None) -> None:
    text = far.allowed.read_text()
    before = [connected(shard, far.shards[0]) for shard in far.shards[1:]]
    if content is None:
        far.allowed.unlink()
        far.allowed.mkdir()
    else:
        far.allowed.write_bytes(content)
    size = far.shards[0].log.stat().st_size
    reload(far.shards[:1])
    if content is None:
        far.allowed.rmdir()
    far.allowed.write_text(text)
    wait_for_line(far.shards[0], "the list of allowed keys is unchanged", size)
    assert before == [connected(shard, far.shards[0]) for shard in far.shards[1:]] == [2, 2]
    assert well(far.shards)
