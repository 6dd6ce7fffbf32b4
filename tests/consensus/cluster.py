"""A small random world for Raft: a network that loses, repeats and reorders, and hosts that crash half-way.

Everything is drawn from one seed, so a failure replays exactly. A host keeps only what ``Persist`` told it to; a crash
may come between any two effects of a list. The big simulator hosts the whole daemon; this one is for consensus alone.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from random import Random

from consensus import (
    Committed,
    Configuration,
    Effect,
    EffectQueue,
    Entry,
    HardState,
    Limits,
    Message,
    Persist,
    Raft,
    Readable,
    Received,
    Refused,
    Restored,
    Send,
    Stored,
)
from tests.simulator.raft_safety import RaftSafety

MS = 1_000_000
LIMITS = Limits(
    heartbeat_interval_ns=50 * MS,
    election_timeout_ns=250 * MS,
    snapshot_timeout_ns=500 * MS,
    entries_per_message_max=4,
    bytes_per_message_max=40,
    inflight_max=3,
    chunks_inflight_max=2,
    uncommitted_max=20,
    reads_max=20,
    voters_max=5,
)


@dataclass
class Host:
    """One server: a disk, and while it runs, a machine, the state that it applies to, and what waits for the disk."""

    stored: Stored
    raft: Raft | None = None
    state: bytes = b""
    applied_index: int = 0
    queue: EffectQueue[Effect] = field(default_factory=EffectQueue)
    writing: Persist | None = None


@dataclass
class Weather:
    """How bad the network is, and how slow the disks."""

    loss: float = 0.0
    repetition: float = 0.0
    delay_max_ns: int = 5 * MS
    sync_max_ns: int = 2 * MS
    cut: set[frozenset[str]] = field(default_factory=set)


class Cluster:
    """Hosts, a network and a clock; ``run`` moves time, the rest disturbs."""

    def __init__(self, seed: int, voters: list[str], spares: list[str]) -> None:
        self.random = Random(seed)
        self.now = 0
        self.weather = Weather()
        self.safety = RaftSafety()
        first = Stored.bootstrap(Configuration.of(voters))
        self.hosts = {name: Host(first) for name in voters} | {name: Host(Stored()) for name in spares}
        self._network: list[tuple[int, int, str, str, Message]] = []
        self._disks: list[tuple[int, int, str, Persist]] = []
        self._sent = 0
        self.largest_write = self.restored = 0
        self._proposed = 0
        self._asked: dict[str, int] = {}
        self._questions: list[tuple[str, str, int]] = []
        self.reads = 0
        self._dozing: set[str] = set()
        self.steps = 0
        for name in sorted(self.hosts):
            self.start(name)

    # The world

    def start(self, name: str) -> None:
        host = self.hosts[name]
        assert host.raft is None
        host.raft = Raft(name, host.stored, LIMITS, Random(self.random.random()), self.now)
        host.state, host.applied_index = b"".join(host.stored.snapshot.chunks), host.stored.snapshot.index
        host.queue = EffectQueue()
        self.safety.restored(name, host.stored.snapshot.index)
        self._observe(name)

    def crash(self, name: str) -> None:
        """What was being written is there as a whole, or not at all; what waited is not."""
        host = self.hosts[name]
        host.raft = None
        if host.writing is not None and self.random.random() < 0.5:
            host.stored = host.writing.onto(host.stored)
        host.writing = None

    def running(self) -> Iterator[tuple[str, Raft]]:
        for name in sorted(self.hosts):
            raft = self.hosts[name].raft
            if raft is not None:
                yield name, raft

    def _awake(self) -> list[tuple[str, Raft]]:
        return [pair for pair in self.running() if pair[0] not in self._dozing]

    def leader(self) -> Raft | None:
        """The running leader of the highest term, if there is one."""
        return max((raft for _, raft in self.running() if raft.is_leader), key=lambda raft: raft.term, default=None)

    def run(self, duration_ns: int) -> None:
        """Let time pass: deliver what is due and wake who is due, in order of time."""
        end = self.now + duration_ns
        while (due := self._next_due()) <= end:
            self.now = max(self.now, due)
            if self._network and self._network[0][0] <= self.now:
                _, _, sender, to, message = heapq.heappop(self._network)
                raft = self.hosts[to].raft
                if raft is not None and to not in self._dozing and frozenset((sender, to)) not in self.weather.cut:
                    self._carry_out(to, raft.step(sender, message, self.now))
            while self._disks and self._disks[0][0] <= self.now:
                self._written(*heapq.heappop(self._disks)[2:])
            for name, raft in self._awake():
                if raft.deadline is not None and raft.deadline <= self.now:
                    self._carry_out(name, raft.wake(self.now))
        self.now = end

    def _next_due(self) -> int:
        deadlines = [raft.deadline for _, raft in self._awake() if raft.deadline is not None]
        return min(deadlines + [item[0] for item in self._network[:1] + self._disks[:1]], default=1 << 62)

    def _observe(self, name: str) -> None:
        raft = self.hosts[name].raft
        assert raft is not None
        raft.validate()
        self.steps += 1
        host = self.hosts[name]
        if host.queue.is_idle:
            self.safety.observe(name, raft)
            log = raft.log.span(raft.log.snapshot.index + 1, raft.last_index)
            assert host.stored == Stored(HardState(raft.term, raft.vote), raft.log.snapshot, log)

    def _carry_out(self, name: str, effects: list[Effect], crash_after: int | None = None) -> None:
        """Effects in order, behind those that wait for the disk; ``crash_after`` so many of them the power goes."""
        host = self.hosts[name]
        assert host.raft is not None
        for effect in effects:
            if isinstance(effect, Committed):
                self._check_held(host.raft, effect.entries)
        host.queue.put(effects)
        self._let_out(name, host, host.raft, crash_after)
        if crash_after is not None:
            self.crash(name)
        else:
            self._observe(name)

    def _let_out(self, name: str, host: Host, raft: Raft, crash_after: int | None) -> None:
        while crash_after != 0 and (effect := host.queue.next(self.now)) is not None:
            crash_after = None if crash_after is None else crash_after - 1
            match effect:
                case Persist():
                    self._sent += 1
                    due = self.now + self.random.randrange(self.weather.sync_max_ns)
                    host.writing = effect
                    self.largest_write = max(self.largest_write, len(effect.entries))
                    heapq.heappush(self._disks, (due, self._sent, name, effect))
                case Send():
                    self._post(name, effect)
                case Committed():
                    self.safety.committed(name, raft.term, effect.entries)
                    host.state += b"".join(entry.data for entry in effect.entries)
                    host.applied_index = effect.entries[-1].index
                case Restored():
                    host.state, host.applied_index = b"".join(effect.snapshot.chunks), effect.snapshot.index
                    self.restored += 1
                    self.safety.restored(name, effect.snapshot.index)
                case Received():
                    if self.random.random() < 0.9:  # or it can't be read, this time
                        self._carry_out(name, raft.install(effect.snapshot))
                case Readable():
                    self._read_at(effect)
                case _:
                    pass

    def _written(self, name: str, persist: Persist) -> None:
        host = self.hosts[name]
        if host.writing is not persist or host.raft is None:
            return  # of a life before
        host.stored, host.writing = persist.onto(host.stored), None
        host.queue.written()
        self._let_out(name, host, host.raft, None)
        self._carry_out(name, host.raft.persisted(persist, self.now))

    def _check_held(self, raft: Raft, entries: Iterable[Entry]) -> None:
        """What a leader commits is on the disks of a majority, whatever becomes of those who know of it."""
        for entry in entries if raft.is_leader else ():
            stored = [self.hosts[voter].stored for voter in raft.configuration.voters]
            held = [s.snapshot.index >= entry.index or entry in s.entries for s in stored]
            assert 2 * sum(held) > len(held), f"{raft.name} commits {entry}, which no majority holds: {held}"

    def _read_at(self, read: Readable) -> None:
        """What anybody had applied when it was asked for, this read sees (6.4)."""
        assert read.index >= self._asked[read.request], (read, self._asked[read.request])
        self.reads += 1

    def _post(self, sender: str, send: Send) -> None:
        weather = self.weather
        copies = 1 + (self.random.random() < weather.repetition) - (self.random.random() < weather.loss)
        for _ in range(copies):
            self._sent += 1
            due = self.now + 1 + self.random.randrange(weather.delay_max_ns)
            heapq.heappush(self._network, (due, self._sent, sender, send.to, send.message))

    # Disturbances

    def disturb(self) -> None:
        """One random thing happens."""
        happening = self.random.choice(
            [self._propose] * 8
            + [self._read] * 8
            + [self._doze] * 3
            + [self._crash_or_start] * 3
            + [self._change_weather, self._cut, self._compact, self._compact]
            + [self._change_members] * 5
            + [self._transfer, self._campaign, self._crash_half_way]
        )
        happening()

    def _some_raft(self) -> tuple[str, Raft] | None:
        """Mostly a leader, if there is one: others only refuse."""
        running = list(self.running())
        leaders = [pair for pair in running if pair[1].is_leader]
        chosen = leaders if leaders and self.random.random() < 0.8 else running
        return self.random.choice(chosen) if chosen else None

    def _order(self, order: str, *arguments: object) -> list[Effect] | None:
        pair = self._some_raft()
        if pair is None:
            return None
        try:
            effects: list[Effect] = getattr(pair[1], order)(*arguments, self.now)
        except Refused:
            return None
        self._carry_out(pair[0], effects)
        return effects

    def _propose(self) -> None:
        for _ in range(self.random.randrange(1, 6)):
            self._order("propose", self._commands())

    def _commands(self) -> list[bytes]:
        """A batch, of which all or none is taken."""
        first = self._proposed
        self._proposed += self.random.choice([1, 1, 2, 7])
        return [f"{number};".encode() for number in range(first, self._proposed)]

    def _ask(self) -> None:
        """Somebody wants to read, and says in which term it follows."""
        running = self._awake()
        if running:
            request = str(len(self._asked))
            self._asked[request] = self.safety.applied_index
            name, raft = self.random.choice(running)
            self._questions.append((request, name, raft.term))

    def _read(self) -> None:
        """A question reaches a leader, perhaps late, perhaps once more; and perhaps one that has been asleep and does
        not know that it is none any more.
        """
        self._ask()
        dozes = any(raft.is_leader for name, raft in self.running() if name in self._dozing)
        if not self._questions or (dozes and self.random.random() < 0.5):
            return
        self._dozing.clear()
        request, asker, term = self.random.choice(self._questions[-3:])
        chosen = self._some_raft()
        if chosen is None or not chosen[1].is_leader:
            return
        name, raft = chosen
        follower = asker if term == raft.term and asker != name and self.random.random() < 0.5 else None
        self._carry_out(name, raft.read(asker, request, self.now, follower))

    def _doze(self) -> None:
        """The leader, or who thinks to be it, does nothing and hears nothing until somebody wants to read."""
        self._dozing |= {name for name, raft in self.running() if raft.is_leader}

    def _crash_or_start(self) -> None:
        down = sorted(name for name in self.hosts if self.hosts[name].raft is None)
        up = [name for name, _ in self.running()]
        if not up or (down and self.random.random() < 0.7):
            self.start(self.random.choice(down))
        else:
            self.crash(self.random.choice(up))

    def _crash_half_way(self) -> None:
        """Carry out only a prefix of what a door returned, and die."""
        pair = self._some_raft()
        if pair is None:
            return
        name, raft = pair
        effects: list[Effect]
        if raft.is_leader:
            try:
                effects = raft.propose(self._commands(), self.now)
            except Refused:
                return
        else:
            mine = [item for item in self._network if item[3] == name]
            if not mine:
                return
            _, _, sender, _, message = self.random.choice(mine)
            effects = raft.step(sender, message, self.now)
        self._carry_out(name, effects, crash_after=self.random.randrange(len(effects) + 1))

    def _change_weather(self) -> None:
        weather = self.weather
        weather.loss = self.random.choice([0.0, 0.0, 0.05, 0.3])
        weather.repetition = self.random.choice([0.0, 0.1, 0.3])
        weather.delay_max_ns = self.random.choice([2, 5, 30, 200]) * MS
        weather.sync_max_ns = self.random.choice([1, 2, 10, 100]) * MS

    def _cut(self) -> None:
        """Split in two, or heal."""
        names = sorted(self.hosts)
        side = {name for name in names if self.random.random() < 0.4}
        self.weather.cut = (
            set()
            if self.random.random() < 0.6
            else {frozenset((a, b)) for a in names for b in names if a in side and b not in side}
        )

    def _compact(self) -> None:
        running = list(self.running())
        if running:
            name, raft = self.random.choice(running)
            host = self.hosts[name]
            if host.applied_index > raft.log.snapshot.index:
                self._carry_out(name, raft.compact(host.applied_index, chunks_of(host.state)))

    def _change_members(self) -> None:
        name = self.random.choice(sorted(self.hosts))
        if self.random.random() < 0.5:
            self._order("add_server", name, self.random.random() < 0.7)
        else:
            self._order("remove_server", name)

    def _transfer(self) -> None:
        self._order("transfer_leadership", self.random.choice(sorted(self.hosts)))

    def _campaign(self) -> None:
        self._order("campaign")

    # Liveness

    def heal(self) -> None:
        """Everything runs, and the network is good again."""
        self.weather = Weather()
        self._dozing.clear()
        for name in sorted(self.hosts):
            if self.hosts[name].raft is None:
                self.start(name)

    def settle(self) -> None:
        """Within a bounded time after healing, a leader commits, and its members all apply the same."""
        for _ in range(40):
            self.run(500 * MS)
            leader = self.leader()
            if leader is None:
                continue
            try:
                self._carry_out(leader.name, leader.propose([b"end;"], self.now))
            except Refused:
                continue
            index = leader.last_index
            self.run(2_000 * MS)
            members = [self.hosts[name].raft for name in leader.configuration.members]
            if leader.is_leader and all(raft is not None and raft.commit_index >= index for raft in members):
                states = {self.hosts[name].state for name in leader.configuration.members}
                assert len(states) == 1, states
                self._settle_read(leader)
                return
        raise AssertionError(f"no progress after healing: {[(n, r.role, r.term) for n, r in self.running()]}")

    def _settle_read(self, leader: Raft) -> None:
        """A read is answered in a round trip."""
        before = self.reads
        self._asked["end"] = leader.commit_index
        self._carry_out(leader.name, leader.read("anybody", "end", self.now))
        self.run(2 * self.weather.delay_max_ns + MS)
        assert self.reads > before, "a read is not answered"


def chunks_of(state: bytes) -> list[bytes]:
    """Cut in the same way everywhere; the longer the state, the more there are."""
    return [state[begin : begin + 40] for begin in range(0, len(state), 40)]
