"""Who owns a name, and which cluster a daemon belongs to: neither depends on who claims it."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from daemon.cli.dev_cluster import DevCluster, DevShard
from daemon.config.keys import KeyPair, load_pair
from daemon.membership.messages import ALIVE, DEAD, LEFT, Gossip, Member, PushPull, Record
from daemon.vocabulary import CONTROL_TYPES
from daemon.wire import Codec, WireLimits
from tests.cluster.conftest import UP_SECONDS
from tests.cluster.trial import TrialCluster, ask, config_of, shoalctl, summed, wait_for, wait_for_line

FOLDERS = itertools.count()
FORGED_BYTES_MAX = 4 << 20
"""More than a daemon accepts."""


def names(shard: DevShard, state: str = "alive") -> list[str]:
    return [row["name"] for row in ask(shard, "members")["members"] if row["state"] == state]


def rewritten(shard: DevShard, *changes: tuple[str, str]) -> None:
    text = shard.config.read_text()
    for pattern, new in changes:
        text, found = re.subn(pattern, new, text, flags=re.MULTILINE)
        assert found, pattern
    shard.config.write_text(text)


@pytest.fixture
def clusters(ground: Path) -> Iterator[Any]:
    """Creates dev clusters, which the test starts; they are stopped after it."""
    made: list[DevCluster] = []

    def make(count: int, encryption: str = "none") -> DevCluster:
        cluster = TrialCluster(ground / f"i{next(FOLDERS)}", "")
        cluster._make([cluster._shard(number) for number in range(1, count + 1)], encryption, 2)
        made.append(cluster)
        return cluster

    yield make
    for cluster in made:
        cluster.down()


@contextlib.contextmanager
def forger(liar: DevShard, to: DevShard) -> Iterator[Callable[[Any], None]]:
    """Sends messages to a shard in another's name and with its key."""
    pair = load_pair(liar.folder / f"{liar.name}.secret_key")
    with speaker(pair, ask(liar, "status")["generation"], to) as send:
        yield send


@contextlib.contextmanager
def speaker(pair: KeyPair, generation: int, to: DevShard) -> Iterator[Callable[[Any], None]]:
    """Sends messages to a shard with that key, in that life; bytes are sent unchanged."""
    codec = Codec("dev", CONTROL_TYPES, WireLimits(header_bytes_max=FORGED_BYTES_MAX))

    def send(message: Any) -> None:
        (frame,) = (message,) if isinstance(message, bytes) else codec.encode(1, pair.name, generation, message)
        sender.send(bytes(frame))

    with zmq.Context() as context, context.socket(zmq.PUSH) as sender:
        sender.curve_serverkey = load_pair(to.folder / f"{to.name}.secret_key").public
        sender.curve_secretkey, sender.curve_publickey = pair.secret, pair.public
        sender.connect(config_of(to).listen.control)
        yield send


# -- names -------------------------------------------------------------------------------------------------------------


def test_a_member_that_forges_later_lives_of_another_ends_nobody(three: list[DevShard]) -> None:
    """With its own key, it claims of the third what only the third could: to the third, and to the first."""
    forged = []
    for number, status in enumerate((ALIVE, DEAD, LEFT)):
        (row,) = (row for row in ask(three[0], "members")["members"] if row["name"] == "shard-3")
        for generation in (row["generation"] + 1 + number, 2**62):
            for control in (row["control"], "tcp://127.0.0.1:9"):
                member = Member("shard-3", generation, control, row["ticks"], b"", ())
                forged.append(Record(member, number, status, "shard-2"))
    before = summed(three[0], "shoal_events_total", event="membership_claims_refuted")
    for to in (three[0], three[2]):
        with forger(three[1], to) as send:
            for record in forged:
                for message in (Gossip((record,)), PushPull((record,), "tcp://127.0.0.1:9")):
                    send(message)
    wait_for(
        lambda: summed(three[0], "shoal_events_total", event="membership_claims_refuted") > before,
        20,
        "it is found out",
    )
    assert names(three[0]) == ["shard-1", "shard-2", "shard-3"]
    (row,) = (row for row in ask(three[0], "members")["members"] if row["name"] == "shard-3")
    assert row["generation"] == ask(three[2], "status")["generation"]


def test_a_member_that_says_that_another_has_ended_changes_no_view(three: list[DevShard]) -> None:
    """It repeatedly sends the right message for that: the member's generation and newest incarnation."""
    said = len(three[0].log.read_text())
    epoch = ask(three[0], "status")["epoch"]

    def incarnation() -> int:
        (row,) = (row for row in ask(three[0], "members")["members"] if row["name"] == "shard-3")
        member = Member("shard-3", row["generation"], row["control"], row["ticks"], b"", tuple(row["tags"].items()))
        for status in (DEAD, LEFT):
            send(Gossip((Record(member, row["incarnation"], status, "shard-2"),)))
        assert isinstance(row["incarnation"], int)
        return row["incarnation"]

    with forger(three[1], three[0]) as send:
        first = incarnation()
        wait_for(lambda: incarnation() >= first + 5, 20, "it has refuted that five times")
    wait_for(lambda: names(three[0]) == ["shard-1", "shard-2", "shard-3"], 20, "nobody is suspected any more")
    heard = three[0].log.read_text()[said:]
    assert "member shard-3 is suspected by shard-2" in heard
    assert "member shard-3 has failed" not in heard
    assert "member shard-3 left" not in heard
    assert ask(three[0], "status")["epoch"] == epoch


def test_a_copy_of_a_machine_waits_until_the_first_one_is_gone(clusters: Any) -> None:
    cluster = clusters(3, "curve")
    cluster.up(3, "curve", UP_SECONDS)
    _, second, _ = cluster.shards()
    copy = cluster._shard(4)
    copy.folder.mkdir()
    for name in ("config.toml", "shard-2.secret_key"):
        (copy.folder / name).write_bytes((second.folder / name).read_bytes())
    (copy.folder / "shard-2.secret_key").chmod(0o600)
    for key in ("control", "ticks", "listen"):
        rewritten(copy, (rf"^({key} = .*:)\d+", rf"\g<1>{cluster.ports.next()}"))
    cluster.start([4], timeout_seconds=UP_SECONDS)
    wait_for(lambda: "another daemon runs under this shard's name" in ask(copy, "status")["waiting"], 30, "told")
    wait_for_line(copy, "another daemon runs under the name 'shard-2'")
    assert (ask(second, "status")["state"], ask(copy, "status")["state"]) == ("joined", "starting")
    cluster.kill([2])
    wait_for(lambda: ask(copy, "status")["state"] == "joined", 30, "it is let in")


# -- clusters ----------------------------------------------------------------------------------------------------------


def test_two_clusters_that_hear_each_other_stay_two(clusters: Any) -> None:
    """Same names, no keys: one daemon has a seed of the other cluster, and the address of its killed member."""
    ours, theirs = clusters(2), clusters(2)
    for cluster in (ours, theirs):
        cluster.up(2, "none", UP_SECONDS)
    (a1, a2), (b1, b2) = ours.shards(), theirs.shards()
    founded = [ask(shard, "status")["founding"] for shard in (a1, b1)]
    assert founded[0] != founded[1]
    ours.kill([2])
    theirs.kill([2])
    where = [config_of(a2).listen.control, config_of(a2).listen.ticks]
    for key, value in zip(("control", "ticks"), where, strict=True):
        rewritten(b2, (rf"^{key} = .*$", f'{key} = "{value}"'))
    rewritten(b2, (r"^seeds = \[", f'seeds = ["{config_of(a1).listen.control}", '))
    theirs.start([2], wait=True, timeout_seconds=UP_SECONDS)
    wait_for(lambda: ask(a1, "members")["other_clusters"], 30, "it is noticed")
    (heard,) = {(row["cluster"], row["name"], row["address"]) for row in ask(a1, "members")["other_clusters"]}
    assert heard == (founded[1], "shard-2", "127.0.0.1")
    wait_for_line(a1, f"'shard-2' at 127.0.0.1 belongs to another cluster, founded as {founded[1]}")
    assert f"belongs to another cluster, founded as {founded[1]}" in " ".join(shoalctl(a1, "members").stdout.split())
    assert [ask(shard, "status")["founding"] for shard in (a1, b1, b2)] == [founded[0], founded[1], founded[1]]
    assert a1.pid() is not None
    wait_for(lambda: names(b1) == ["shard-1", "shard-2"], 20, "theirs is whole")
    assert names(a1) == ["shard-1"]


def test_shards_with_seeds_that_expect_nobody_found_one_cluster_when_they_are_told_to(clusters: Any) -> None:
    cluster = clusters(3)
    for shard in cluster.shards():
        rewritten(shard, (r"^expect = .*$", "expect = 1"))
    cluster.start([1, 2, 3], timeout_seconds=UP_SECONDS)
    one, two, three = cluster.shards()
    wait_for(lambda: all(len(names(shard)) == 3 for shard in (one, two, three)), 20, "they see each other")
    assert {ask(shard, "status")["founding"] for shard in (one, two, three)} == {""}
    assert "shoalctl found" in ask(two, "status")["waiting"]
    assert "founded as" not in shoalctl(two, "status").stdout
    done = shoalctl(two, "found")
    assert done.exit_code == 0, done.output
    wait_for(lambda: all(ask(shard, "status")["state"] == "joined" for shard in (one, two, three)), 30, "all are in")
    assert len({ask(shard, "status")["founding"] for shard in (one, two, three)}) == 1
    again = shoalctl(three, "found")
    assert again.exit_code == 1
    assert again.stderr == "shoalctl: no cluster was founded: this shard belongs to a cluster\n"


def test_an_empty_folder_and_a_clock_of_1970(clusters: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = clusters(3)
    cluster.up(3, "none", UP_SECONDS)
    one, two, _ = cluster.shards()
    cluster.kill([2])
    (two.folder / "data").rename(two.folder / "before")
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n_now = time.time_ns\n_start = _now()\ntime.time_ns = lambda: _now() - _start + 10**9\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    cluster.start([2], timeout_seconds=UP_SECONDS)
    wait_for(
        lambda: "starting again: a former life of this shard is remembered" in two.log.read_text(), 30, "it is told"
    )
    wait_for(lambda: (two.status() or {}).get("state") == "joined", 30, "it is in")
    assert one.pid() is not None
