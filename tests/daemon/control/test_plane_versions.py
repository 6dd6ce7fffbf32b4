"""Shards of two versions: what one of them can't read stops it, and is never passed over."""

from __future__ import annotations

from dataclasses import replace

import pytest

from consensus import Append, Entry, InstallSnapshot, Persist, Snapshot
from daemon.control.effects import Effect, LogUnreadable, Send, SnapshotRefused
from daemon.control.messages import Proposal, ProposalRefused
from daemon.control.unreadable import ELECTION_TIMEOUTS
from daemon.control.versions import OWN, VERSION_TAG, Version
from daemon.state import command_codec, snapshot
from daemon.state.cluster import Cluster
from daemon.state.commands import DropGraph, HoldParts, StopRun
from daemon.state.dispatch import TABLES
from daemon.state.envelope import CommandCodec, LogEntry
from daemon.state.machine import Command, Request
from daemon.wire import Codec
from daemon.wire.version import NEWEST
from shoal.api.struct import Struct
from tests.daemon.control.network import SETTINGS, Machine, ShardCluster
from tests.simulator.world import MS, SECOND

LATER = Version("9.1.0", 4, 5)
DROP_TAG = 3
FAR_NS = 10**15
PATIENCE_NS = ELECTION_TIMEOUTS * SETTINGS.consensus.election_timeout_ns


class LaterDropGraph(Struct):
    """`DropGraph` of a version that knows one thing more."""

    name: str
    load: str
    by_force: bool = False
    keeps_results: bool = False


class LaterCodec(CommandCodec):
    """Of that version."""

    def __init__(self) -> None:
        super().__init__(TABLES)
        self._later = Codec(Cluster.name, {DROP_TAG: LaterDropGraph})

    def encode(self, command: Command) -> bytes:
        if not isinstance(command, DropGraph):
            return super().encode(command)
        later = LaterDropGraph(command.name, command.load, command.by_force)
        return bytes(self._later.encode(0, "log", 0, later)[0])

    def decode(self, machine: str, data: bytes) -> Command:
        if machine != Cluster.name or self._later.label(data)[1] != DROP_TAG:
            return super().decode(machine, data)
        later = self._later.decode([data]).message
        return DropGraph(later.name, later.load, later.by_force)


def upgrade(machine: Machine) -> None:
    """Have a machine that runs be of the later version from now on."""
    machine.up._replica._codec = machine.up._proposals.codec = LaterCodec()


class MixedCluster(ShardCluster):
    """Three shards; on its way to `older`, a snapshot becomes one of a later version."""

    older = ""

    def __init__(self, seed: int) -> None:
        super().__init__(seed=seed)
        self._chunks: dict[int, bytes] = {}

    def carry(self, sender: Machine, to: str, message: object) -> None:
        if isinstance(message, InstallSnapshot) and to == self.older:
            header = message.header
            self._chunks[message.number] = message.chunk
            if len(self._chunks) < header.count:
                return
            whole = tuple(self._chunks[number] for number in range(header.count))
            altered = later(Snapshot(header.index, header.term, header.configuration, whole))
            message = InstallSnapshot(message.term, altered.header, 0, altered.chunks[0])
        super().carry(sender, to, message)


def later(taken: Snapshot) -> Snapshot:
    """With a machine more, which only a later version knows."""
    sections = [(name, iter(pieces)) for name, pieces in snapshot.read(taken.chunks).items()]
    return replace(taken, chunks=(b"".join(snapshot.write([*sections, ("locks", iter([b"held"]))])),))


def mixed(seed: int = 3) -> tuple[MixedCluster, Machine, Machine, Machine]:
    """A cluster with a graph: its leader and another one, which are upgraded, and one that is not."""
    cluster = MixedCluster(seed=seed)
    cluster.formed()
    leader, (other, older) = cluster.led(), cluster.others()
    upgrade(leader)
    upgrade(other)
    return cluster, leader, other, older


DROP = DropGraph("web", "load-web")


def sealed(codec: CommandCodec, command: Command, number: int) -> bytes:
    """An entry as a leader appends it, of a life that nobody else has."""
    return codec.seal(LogEntry(Cluster.name, "fox", 1, number, 1, 0, codec.encode(command)))


def why(machine: Machine) -> str:
    (stopped,) = machine.saw(LogUnreadable)
    return stopped.why


def test_a_committed_command_that_a_shard_can_not_read_stops_it_before_it_counts() -> None:
    cluster, leader, other, older = mixed()
    shard, index = older.up, older.up.applied_index + 1
    assert cluster.propose(DROP, other).decided
    cluster.until(lambda: older.shard is None)
    assert f"entry {index} of the log" in why(older)
    assert f"a command (machine 'cluster', tag 3, DropGraph) of version {NEWEST}: fields: 4 fields" in (why(older))
    assert f"ant, bee, cat run {OWN}" in why(older)
    assert "shoalctl log show" in why(older)
    assert (shard.applied_index, list(shard.registry.graphs)) == (index - 1, ["web"])
    cluster.until(lambda: not leader.registry.graphs and not other.registry.graphs)


def appended(older: Machine, *commands: bytes, is_committed: bool) -> Append:
    """As the leader would send it."""
    raft = older.up.raft
    assert raft is not None
    assert raft.last_index == raft.commit_index
    entries = [Entry(index, raft.term, data) for index, data in enumerate(commands, start=raft.last_index + 1)]
    commit = entries[-1].index if is_committed else raft.commit_index
    return Append(raft.term, raft.last_index, raft.log.last_term, tuple(entries), commit)


def test_nothing_behind_it_is_applied_and_no_snapshot_is_taken_over_it() -> None:
    cluster, leader, _, older = mixed()
    shard, applied = older.up, older.up.applied_index
    others = [sealed(command_codec(), StopRun("nothing"), n) for n in range(1, 2 * SETTINGS.snapshot_entries)]
    append = appended(older, others[0], sealed(LaterCodec(), DROP, 99), *others[1:], is_committed=True)
    effects = shard.step(leader.up.identity, append, cluster.world.now)
    assert sum(isinstance(effect, LogUnreadable) for effect in effects) == 1
    assert [e.snapshot for e in effects if isinstance(e, Persist)] == [None]
    assert shard.applied_index == applied + 1
    assert list(shard.registry.graphs) == ["web"]
    assert shard.state.sessions.outcome(Request("fox", 1, 1)) is not None
    assert shard.state.sessions.outcome(Request("fox", 1, 2)) is None
    assert is_mute(shard.step(leader.up.identity, append, cluster.world.now + 1))
    assert is_mute(shard.propose("r", StopRun("nothing"), FAR_NS, cluster.world.now + 2))
    assert is_mute(shard.wake(cluster.world.now + 20 * SECOND))
    assert (shard.leader, shard.applied_index) == (None, applied + 1)


def is_mute(effects: list[Effect]) -> bool:
    """Of consensus, that is; membership may speak."""
    return not [e for e in effects if isinstance(e, Persist | LogUnreadable)] and not [
        e for e in effects if isinstance(e, Send) and type(e.message).__module__.startswith("consensus")
    ]


def test_it_stops_at_each_start_until_it_is_upgraded_and_then_catches_up() -> None:
    cluster, leader, other, older = mixed()
    cluster.propose(DROP, other)
    cluster.until(lambda: older.shard is None)
    told = why(older)
    older.start()
    cluster.until(lambda: older.shard is None)
    assert why(older).partition("which `shoalctl")[0] == told.partition("which `shoalctl")[0]
    older.start()
    upgrade(older)
    cluster.until(lambda: cluster.have_view(*cluster.machines) and not older.registry.graphs)
    assert list(older.up.state.freeze()) == list(leader.up.state.freeze())


def test_one_that_leads_stops_too_and_the_others_go_on() -> None:
    """What it can't read was in its log when it was elected: it commits that with the first entry of its term."""
    cluster, leader, other, older = mixed()
    append = appended(older, sealed(LaterCodec(), DROP, 1), is_committed=False)
    older.perform(older.up.step(leader.up.identity, append, cluster.world.now))
    leader.kill()
    cluster.until(lambda: older.shard is None)
    assert "tag 3, DropGraph" in why(older)
    leader.start()
    upgrade(leader)
    cluster.until(lambda: not other.registry.graphs and other.up.leader is not None)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (LaterCodec().encode(DROP), "the tick leader runs an older version that does not know this command"),
        (command_codec().encode(DROP)[:-1] + b"\xc0", "the tick leader can't read this command"),
        (b"nonsense", "the tick leader can't read this command"),
    ],
)
def test_a_leader_appends_nothing_that_it_can_not_read_and_says_so(command: bytes, told: str) -> None:
    cluster = ShardCluster(seed=3).formed()
    leader, other = cluster.led(), cluster.others()[0]
    raft = leader.up.raft
    assert raft is not None
    before = raft.last_index
    effects = leader.up.step(other.up.identity, Proposal(99, 99, Cluster.name, command), cluster.world.now)
    ((to, refused),) = [(e.to, e.message) for e in effects if isinstance(e, Send)]
    assert isinstance(refused, ProposalRefused)
    assert (to, raft.last_index) == (other.name, before)
    assert refused.reason.startswith(told)


@pytest.mark.parametrize("leads", [False, True])
def test_who_asks_an_older_leader_for_what_only_later_versions_know_is_told_why_not(leads: bool) -> None:
    cluster = ShardCluster(seed=3).formed()
    asker = cluster.led() if leads else cluster.others()[0]
    asker.up._proposals.codec = LaterCodec()
    answer = cluster.propose(DROP, asker)
    assert "older version that does not know this command" in answer.error
    assert not answer.decided
    assert all("web" in machine.registry.graphs for machine in cluster.running())


def test_what_a_shard_asks_for_by_itself_it_asks_an_older_leader_for_at_its_pace() -> None:
    """A refusal comes back within a round trip: whoever asked again at once would do nothing else."""
    cluster = ShardCluster(seed=3).formed()
    leader, other = cluster.led(), cluster.others()[0]
    refused = 0
    carry = cluster.carry

    def refuse(sender: Machine, to: str, message: object) -> None:
        nonlocal refused
        if isinstance(message, Proposal) and isinstance(
            command_codec().decode(message.machine, message.command), HoldParts
        ):
            refused += 1
            carry(leader, sender.name, ProposalRefused(message.sequence, "an older version"))
        else:
            carry(sender, to, message)

    cluster.carry = refuse  # type: ignore[method-assign]
    other.kill()
    other.start()
    cluster.run(5 * SECOND)
    assert 1 <= refused <= 6
    cluster.carry = carry  # type: ignore[method-assign]
    cluster.until(lambda: cluster.have_view(*cluster.machines))


# -- snapshots -----------------------------------------------------------------------------------------------------


def lagging() -> tuple[MixedCluster, Machine]:
    """One that has been away for so long that it needs a snapshot."""
    cluster, _, other, older = mixed()
    cluster.cut = frozenset({older.name})
    for _ in range(2 * SETTINGS.snapshot_entries):
        cluster.propose(StopRun("nothing"), other)
    cluster.older = older.name
    return cluster, older


def test_one_that_needs_a_snapshot_of_a_later_version_keeps_what_it_has_and_stops() -> None:
    cluster, older = lagging()
    shard, applied, stored = older.up, older.up.applied_index, older.drive.stored
    assert stored is not None
    cluster.cut = frozenset()
    cluster.until(lambda: bool(older.saw(SnapshotRefused)))
    assert "this version has no machine 'locks'" in older.saw(SnapshotRefused)[0].why
    took = cluster.until(lambda: older.shard is None, 30 * SECOND)
    assert took >= PATIENCE_NS - 100 * MS
    assert "which leads, can't be read" in why(older)
    assert len(older.saw(SnapshotRefused)) == 1
    assert shard.applied_index == applied
    assert older.drive.stored is not None
    assert (older.drive.stored.snapshot, older.drive.stored.entries) == (stored.snapshot, stored.entries)
    cluster.older = ""
    older.start()
    upgrade(older)
    cluster.until(lambda: cluster.have_view(*cluster.machines))


@pytest.mark.parametrize("is_cut_off", [False, True])
def test_a_member_that_forges_a_term_ends_nobody_with_a_snapshot_of_nonsense(is_cut_off: bool) -> None:
    """Time and again, in the name of the leader, too: the victim has what the leader has, or follows nobody."""
    cluster = ShardCluster(seed=3).formed()
    leader, (liar, victim) = cluster.led(), cluster.others()
    before = victim.up.raft
    assert before is not None
    configuration, names = before.configuration, [liar, liar, liar if is_cut_off else leader]
    told = [machine.up.identity for machine in names]
    if is_cut_off:
        cluster.cut = frozenset({victim.name})
        cluster.run(5 * SECOND)
    for number in range(60):
        raft = victim.up.raft
        assert raft is not None
        term = raft.term + (number % 3 == 0 and not is_cut_off)
        snapshot = Snapshot(raft.commit_index + 50, term, configuration, (b"\x93garbage",))
        chunk = InstallSnapshot(term, snapshot.header, 0, snapshot.chunks[0])
        victim.perform(victim.up.step(told[number % 3], chunk, cluster.world.now))
        cluster.run(SECOND // 2)
        assert victim.shard is not None
    assert not victim.saw(LogUnreadable)
    cluster.cut = frozenset()
    cluster.until(lambda: cluster.have_view(*cluster.machines))
    cluster.propose(StopRun("nothing"), victim)


def test_a_snapshot_on_its_own_disk_that_it_can_not_read_stops_it() -> None:
    _, _, _, older = mixed()
    older.kill()
    assert older.drive.stored is not None
    kept = older.drive.stored = replace(older.drive.stored, snapshot=later(older.drive.stored.snapshot))
    older.start()
    assert older.shard is None
    assert "on this shard's disk, can't be read: unknown_type: this version has no machine 'locks'" in why(older)
    assert older.drive.stored == kept


def test_each_member_says_what_it_runs() -> None:
    cluster = ShardCluster(seed=3)
    cluster["cat"].tags = ((VERSION_TAG, LATER.tag),)
    cluster.formed()
    told = cluster["ant"].up._replica._versions()
    assert told == {"ant": OWN, "bee": OWN, "cat": LATER}
