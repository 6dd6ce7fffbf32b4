"""A state that is larger than a message: taken, sent in chunks, resumed, and installed whole."""

from __future__ import annotations

import pytest

from consensus import InstallSnapshot
from consensus.messages import SnapshotReply
from consensus.stored import Snapshot, SnapshotHeader
from daemon.control.effects import ReadSnapshot, TakeSnapshot
from daemon.control.snapshots import SENDING_ENTRIES_FACTOR, SnapshotSchedule
from daemon.state.commands import StopRun
from daemon.state.records import FAILED, RunRecord
from tests.daemon.control.network import SETTINGS, Machine, ShardCluster
from tests.simulator.world import MS, SECOND

RUNS = 1000
CHUNK_BYTES_MAX = 256 << 10


class CountedCluster(ShardCluster):
    """Counts chunks on their way, and loses every so many of them."""

    def __init__(self, lost_every: int = 0) -> None:
        super().__init__(3, seed=5)
        self.chunks: list[int] = []
        self.sent: set[SnapshotHeader] = set()
        self.kept: dict[int, Snapshot] = {}
        """By their indexes, those that came into force on whatever disk."""
        self.largest = 0
        self._lost_every = lost_every

    def carry(self, sender: Machine, to: str, message: object) -> None:
        if isinstance(message, InstallSnapshot):
            self.chunks.append(message.number)
            self.sent.add(message.header)
            self.largest = max(self.largest, len(message.chunk))
        is_of_one = isinstance(message, InstallSnapshot | SnapshotReply)
        if is_of_one and self._lost_every and self._delays.randrange(self._lost_every) == 0:
            return
        super().carry(sender, to, message)

    def check(self, machine: Machine) -> None:
        if machine.drive.stored is not None:
            self.kept[machine.drive.stored.snapshot.index] = machine.drive.stored.snapshot
        super().check(machine)

    def grow(self) -> None:
        """Runs with long failures, in every shard's registry: some megabytes."""
        for machine in self.machines.values():
            for number in range(1, RUNS + 1):
                name = f"old-{number}"
                machine.registry.runs[name] = RunRecord(
                    name,
                    number,
                    "rank",
                    "web",
                    "load-web",
                    (),
                    9,
                    0,
                    False,
                    (),
                    (),
                    0,
                    state=FAILED,
                    failure="x" * 2000,
                )
            machine.registry.runs_begun = RUNS


@pytest.mark.parametrize("lost_every", [0, 4])
def test_one_that_lacks_the_log_is_sent_a_state_of_megabytes_in_chunks(lost_every: int) -> None:
    cluster = CountedCluster(lost_every).formed()
    assert isinstance(cluster, CountedCluster)
    cluster.grow()
    away = needs_a_snapshot(cluster)
    leader = cluster.led().up.raft
    assert leader is not None
    size = sum(map(len, leader.log.snapshot.chunks))
    assert size > 2_000 * RUNS
    cluster.chunks.clear()
    away.start()
    cluster.until(lambda: len(away.registry.runs) == RUNS)
    cluster.until(lambda: away.up.applied_index == cluster.led().up.applied_index)
    assert cluster.largest <= CHUNK_BYTES_MAX
    assert len(set(cluster.chunks)) == len(leader.log.snapshot.chunks) > size // CHUNK_BYTES_MAX
    if not lost_every:  # this network reorders, and what is out of order is sent again
        assert len(cluster.chunks) <= 3 * len(leader.log.snapshot.chunks)
    for sent in cluster.sent:
        assert sent.count < 2 or cluster.kept[sent.index].header == sent


def test_a_snapshot_that_could_not_be_written_is_taken_again_later() -> None:
    cluster = ShardCluster(3).formed()
    leader = cluster.led()
    raft = leader.up.raft
    assert raft is not None
    before = raft.log.snapshot.index
    leader.refuses_snapshots = True
    for _ in range(2 * SETTINGS.snapshot_entries):
        cluster.propose(StopRun("nothing"), leader)
    assert raft.log.snapshot.index == before
    leader.refuses_snapshots = False
    for _ in range(SETTINGS.snapshot_entries + 1):
        cluster.propose(StopRun("nothing"), leader)
    cluster.run(SECOND)
    assert raft.log.snapshot.index > before


def test_while_one_is_being_sent_the_log_may_grow_for_a_while() -> None:
    class Sending:
        is_sending = True

        def is_sending_snapshot(self, now: int) -> bool:
            return self.is_sending

    raft, schedule = Sending(), SnapshotSchedule(10)
    assert not schedule.begins(9, raft, 0)  # type: ignore[arg-type]
    assert not schedule.begins(10, raft, 0)  # type: ignore[arg-type]
    raft.is_sending = False
    assert schedule.begins(20, raft, 0)  # type: ignore[arg-type]
    assert not schedule.begins(90, raft, 0), "one at a time"  # type: ignore[arg-type]
    schedule.is_under_way, raft.is_sending = False, True
    assert not schedule.begins(19 + 10 * SENDING_ENTRIES_FACTOR, raft, 0)  # type: ignore[arg-type]
    assert schedule.begins(20 + 10 * SENDING_ENTRIES_FACTOR, raft, 0)  # type: ignore[arg-type]


def test_what_is_captured_does_not_change_with_the_state() -> None:
    cluster = ShardCluster(3).formed()
    leader = cluster.led()
    leader.keeps_snapshots = True
    for _ in range(SETTINGS.snapshot_entries + 1):
        cluster.propose(StopRun("nothing"), leader)
    taken = leader.saw(TakeSnapshot)[0]
    applied = leader.up.applied_index
    cluster.start_run()
    assert taken.index <= applied
    assert b"rank-1" not in b"".join(taken.chunks)


def needs_a_snapshot(cluster: ShardCluster) -> Machine:
    """Kills a follower, wipes its disk, and lets the log pass what it could still be sent in entries."""
    away = cluster.others()[0]
    away.kill()
    away.wipe()
    for _ in range(3 * SETTINGS.snapshot_entries):
        cluster.propose(StopRun("nothing"))
    return away


def test_a_leader_is_followed_while_its_snapshot_is_read_for_long() -> None:
    """Its last chunk is sent again and again meanwhile, and it is read once."""
    cluster = ShardCluster(3).formed()
    away = needs_a_snapshot(cluster)
    away.reading_ns = 8 * SECOND
    away.start()
    cluster.until(lambda: bool(away.saw(ReadSnapshot)))
    leader, term = cluster.led(), away.up.raft.term if away.up.raft else 0
    cluster.run(6 * SECOND)
    assert away.up.leader == leader.name
    assert away.up.applied_index == 0
    cluster.until(lambda: away.up.applied_index == leader.up.applied_index, 10 * SECOND)
    assert away.up.raft is not None
    assert away.up.raft.term == term
    read = [asked.snapshot.index for asked in away.saw(ReadSnapshot)]
    assert read == sorted(set(read))


def test_a_snapshot_that_is_read_after_a_later_one_has_come_is_not_installed() -> None:
    cluster = ShardCluster(3).formed()
    away = needs_a_snapshot(cluster)
    away.reading_ns = 60 * SECOND
    away.start()
    cluster.until(lambda: bool(away.saw(ReadSnapshot)))
    (first,) = away.saw(ReadSnapshot)
    away.reading_ns = 5 * MS
    for _ in range(9 * SETTINGS.snapshot_entries):  # a log that is being sent grows to eight times its length
        cluster.propose(StopRun("nothing"))
    cluster.until(lambda: len(away.saw(ReadSnapshot)) > 1)
    cluster.until(lambda: away.up.applied_index == cluster.led().up.applied_index, 10 * SECOND)
    before = away.up.applied_index
    away.perform(away.up.snapshot_read(first.snapshot, first.read(), cluster.world.now))
    assert away.up.applied_index == before > first.snapshot.index
