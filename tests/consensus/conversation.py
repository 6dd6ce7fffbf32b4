"""Conversations: tests as text, in the manner of etcd-io/raft's datadriven ones.

A file is a list of blocks. A block is one or more commands, a line of dashes, and what then happened, up to an empty
line. ``SHOAL_REWRITE=1`` writes what happens into the file, to be read as a diff. Commands::

    cluster VOTERS [learners NAMES] [spares NAMES]   a new one; NAMES: a,b,c; spares start with nothing at all
    log NAME TERM TERM ... [term T]                  start NAME with this log; the first TERM is the first snapshot's
    campaign|propose|read|add|remove|transfer|compact     orders: campaign a | propose a x y z | add a d voter | ...
    slow NAME          the disk of NAME takes its time: what NAME gives waits there
    sync [NAME]        its disk, or every one, has written what it was given
    deliver [NAME]     what is on the way now (to NAME); what is sent in answer waits
    settle             deliver until nothing is on the way
    drop [NAME]        lose what is on the way (to NAME)
    cut NAME, heal     lose all from and to NAME, until healed
    pass MS            time passes, messages take none; only announcements are shown
    wake NAME          time passes until NAME has something to do, and nobody else does
    restart NAME       with what it had persisted, and nothing else
    show [NAME ...]    role, term, leader, commit index, log, configuration
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from consensus import (
    Append,
    AppendReply,
    BecameLeader,
    Committed,
    Configuration,
    Effect,
    EffectQueue,
    Entry,
    HardState,
    InstallSnapshot,
    LeaderChanged,
    Limits,
    Message,
    Persist,
    PreVoteReply,
    PreVoteRequest,
    Raft,
    Readable,
    Received,
    Refused,
    Restored,
    Send,
    SnapshotReply,
    Stored,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)
from tests.simulator.raft_safety import RaftSafety

MS = 1_000_000
LIMITS = Limits(
    heartbeat_interval_ns=100 * MS,
    election_timeout_ns=1_000 * MS,
    entries_per_message_max=3,
    snapshot_timeout_ns=5_000 * MS,
    inflight_max=2,
    chunks_inflight_max=2,
    uncommitted_max=6,
)


def replay(text: str) -> str:
    """Run every block and give the file back with what happened."""
    world, blocks = World(), []
    for block in text.strip("\n").split("\n\n"):
        above = block.split("\n----")[0]
        commands = [line for line in above.split("\n") if line and not line.startswith("#")]
        if not commands:
            blocks.append(above)
            continue
        shown = [line for command in commands for line in world.obey(command.split())]
        blocks.append("\n".join([above, "----", *(shown or ["(nothing)"])]))
    return "\n\n".join(blocks) + "\n"


class World:
    """Servers with a disk each, and the messages between them."""

    def __init__(self) -> None:
        self.now = 0
        self.stored: dict[str, Stored] = {}
        self.rafts: dict[str, Raft] = {}
        self.network: list[tuple[str, str, Message]] = []
        self.isolated: set[str] = set()
        self.queues: dict[str, EffectQueue[Effect]] = {}
        self.slow: dict[str, Persist | None] = {}
        self.safety = RaftSafety()

    def obey(self, words: list[str]) -> Iterator[str]:
        """One command; yields what is to be shown."""
        command, *arguments = words
        yield from getattr(self, f"_do_{command}")(*arguments)

    def _do_cluster(self, voters: str, *others: str) -> Iterator[str]:
        self.__init__()  # type: ignore[misc]
        named = dict(zip(others[::2], others[1::2], strict=True))
        learners = [name for name in named.get("learners", "").split(",") if name]
        configuration = Configuration.of(voters.split(","), learners)
        for name in configuration.members:
            self.stored[name] = Stored.bootstrap(configuration)
        for name in named.get("spares", "").split(","):
            if name:
                self.stored[name] = Stored()
        for name in sorted(self.stored):
            self._start(name)
        yield "ok"

    def _do_log(self, name: str, *words: str) -> Iterator[str]:
        terms = [int(word) for word in (words[: words.index("term")] if "term" in words else words)]
        term = int(words[-1]) if "term" in words else terms[-1]
        entries = tuple(Entry(index, term, b"x") for index, term in enumerate(terms[1:], start=2))
        self.stored[name] = Stored(HardState(term), self.stored[name].snapshot, entries)
        self._start(name)
        yield "ok"

    def _do_restart(self, name: str) -> Iterator[str]:
        self._start(name)
        yield "ok"

    def _start(self, name: str) -> None:
        self.queues[name] = EffectQueue()
        self.slow.pop(name, None)
        self.rafts[name] = Raft(name, self.stored[name], LIMITS, Random(name), self.now)
        self.safety.restored(name, self.stored[name].snapshot.index)

    def _do_campaign(self, name: str) -> Iterator[str]:
        yield from self._order(name, "campaign", self.now)

    def _do_propose(self, name: str, *commands: str) -> Iterator[str]:
        yield from self._order(name, "propose", [command.encode() for command in commands], self.now)

    def _do_slow(self, name: str) -> Iterator[str]:
        self.slow[name] = None
        yield "ok"

    def _do_sync(self, *names: str) -> Iterator[str]:
        for name in names or sorted(self.slow):
            persist, self.slow[name] = self.slow[name], None
            if persist is not None:
                yield from self._written(name, persist)

    def _do_read(self, name: str, request: str) -> Iterator[str]:
        yield from self._order(name, "read", "somebody", request, self.now)

    def _do_add(self, name: str, other: str, kind: str) -> Iterator[str]:
        yield from self._order(name, "add_server", other, kind == "voter", self.now)

    def _do_remove(self, name: str, other: str) -> Iterator[str]:
        yield from self._order(name, "remove_server", other, self.now)

    def _do_transfer(self, name: str, to: str) -> Iterator[str]:
        yield from self._order(name, "transfer_leadership", to, self.now)

    def _do_compact(self, name: str, index: str) -> Iterator[str]:
        yield from self._order(name, "compact", int(index), [b"state", b" at ", index.encode()])

    def _order(self, name: str, order: str, *arguments: object) -> Iterator[str]:
        try:
            effects = getattr(self.rafts[name], order)(*arguments)
        except Refused as refused:
            yield f"{name}  refused: {refused.reason.name} (leader {refused.leader or 'unknown'})"
        else:
            yield from self._carry_out(name, effects)

    def _do_deliver(self, name: str | None = None) -> Iterator[str]:
        due = [item for item in self.network if name in (None, item[1])]
        self.network = [item for item in self.network if name not in (None, item[1])]
        for sender, to, message in due:
            if not self.isolated & {sender, to}:
                yield from self._carry_out(to, self.rafts[to].step(sender, message, self.now))

    def _do_settle(self) -> Iterator[str]:
        for _ in range(50):
            yield from self._do_deliver()
        assert not self.network, self.network

    def _do_drop(self, name: str | None = None) -> Iterator[str]:
        lost = [item for item in self.network if name in (None, item[1])]
        self.network = [item for item in self.network if item not in lost]
        yield f"lost {len(lost)}"

    def _do_cut(self, name: str) -> Iterator[str]:
        self.isolated.add(name)
        yield "ok"

    def _do_heal(self) -> Iterator[str]:
        self.isolated.clear()
        yield "ok"

    def _do_pass(self, duration_ms: str) -> Iterator[str]:
        end = self.now + int(duration_ms) * MS
        while True:
            yield from filter(_is_announcement, self._do_settle())
            deadlines = {name: self.rafts[name].deadline for name in sorted(self.rafts)}
            due = {name: deadline for name, deadline in deadlines.items() if deadline is not None}
            if not due or min(due.values()) > end:
                break
            name = min(due, key=lambda name: due[name])
            self.now = max(self.now, due[name])
            yield from filter(_is_announcement, self._carry_out(name, self.rafts[name].wake(self.now)))
        self.now = end

    def _do_wake(self, name: str) -> Iterator[str]:
        self.now = max(self.now, self.rafts[name].deadline or 0)
        yield from self._carry_out(name, self.rafts[name].wake(self.now))

    def _do_show(self, *names: str) -> Iterator[str]:
        for name in names or sorted(self.rafts):
            raft = self.rafts[name]
            terms = [raft.log.term_at(index) for index in range(raft.log.snapshot.index, raft.last_index + 1)]
            yield (
                f"{name}  {raft.role.value} of term {raft.term}, leader {raft.leader or 'unknown'}, commit"
                f" {raft.commit_index}, log {raft.log.snapshot.index}: {' '.join(map(str, terms))},"
                f" {_configuration(raft.configuration)}"
            )

    def _carry_out(self, name: str, effects: list[Effect]) -> Iterator[str]:
        queue = self.queues[name]
        queue.put(effects)
        while (effect := queue.next(self.now)) is not None:
            yield _show(name, effect)
            match effect:
                case Persist() if name in self.slow:
                    self.slow[name] = effect
                case Persist():
                    yield from self._written(name, effect)
                case Send(to, message):
                    self.network.append((name, to, message))
                case Committed(entries):
                    self.safety.committed(name, self.rafts[name].term, entries)
                case Received(snapshot):
                    yield from self._carry_out(name, self.rafts[name].install(snapshot))
                case Restored(snapshot):
                    self.safety.restored(name, snapshot.index)
                case _:
                    pass
        self.rafts[name].validate()
        if queue.is_idle:
            self.safety.observe(name, self.rafts[name])

    def _written(self, name: str, persist: Persist) -> Iterator[str]:
        self.stored[name] = persist.onto(self.stored[name])
        self.queues[name].written()
        yield from self._carry_out(name, self.rafts[name].persisted(persist, self.now))


def _is_announcement(line: str) -> bool:
    return any(word in line for word in ("  leads", "  sees", "  lost", "  commits", "  restores", "  may"))


def _show(name: str, effect: Effect) -> str:
    match effect:
        case Send(to, message):
            return f"{name} -> {to}  {_message(message)}"
        case Persist(hard_state, snapshot, truncate_from, entries):
            parts = []
            if hard_state:
                parts.append(f"term {hard_state.term} vote {hard_state.vote or 'none'}")
            if snapshot:
                parts.append(f"snapshot {snapshot.index}/{snapshot.term}")
            if truncate_from is not None:
                parts.append(f"truncate from {truncate_from}")
            if entries:
                parts.append(_entries(entries))
            return f"{name}  persists {', '.join(parts)}"
        case Committed(entries):
            return f"{name}  commits {_entries(entries)}"
        case Restored(snapshot):
            return f"{name}  restores {snapshot.index}/{snapshot.term} {_configuration(snapshot.configuration)}"
        case BecameLeader(term):
            return f"{name}  leads term {term}"
        case LeaderChanged(term, None):
            return f"{name}  lost its leader in term {term}"
        case LeaderChanged(term, leader):
            return f"{name}  sees that {leader} leads term {term}"
        case Received(snapshot):
            return f"{name}  has all of {snapshot.index}/{snapshot.term}"
        case Readable(_, request, index):
            return f"{name}  may have {request} read at {index}"


def _message(message: Message) -> str:
    match message:
        case PreVoteRequest() | VoteRequest():
            forced = " at the leader's wish" if isinstance(message, VoteRequest) and message.transfer else ""
            last = f"last {message.last_index}/{message.last_term}"
            return f"{type(message).__name__} term {message.term} {last}{forced}"
        case PreVoteReply(term, granted) | VoteReply(term, granted):
            return f"{type(message).__name__} term {term} {'granted' if granted else 'refused'}"
        case Append(term, prev_index, prev_term, entries, commit, round):
            return (
                f"Append term {term} after {prev_index}/{prev_term} commit {commit}{_round(round)}: {_entries(entries)}"
            )
        case AppendReply(term, True, index, _, _, round):
            return f"AppendReply term {term} accepted up to {index}{_round(round)}"
        case AppendReply(term, _, index, conflict_term, conflict_index, round):
            rejected = f"AppendReply term {term} rejected at {index}, term {conflict_term} from {conflict_index}"
            return rejected + _round(round)
        case InstallSnapshot(term, header, number):
            return f"InstallSnapshot term {term}: {header.index}/{header.term} chunk {number} of {header.count}"
        case SnapshotReply(term, index, _, held):
            return f"SnapshotReply term {term}: {held} chunks of {index}"
        case TimeoutNow(term):
            return f"TimeoutNow term {term}"


def _round(number: int) -> str:
    return f" round {number}" if number else ""


def _entries(entries: tuple[Entry, ...]) -> str:
    return " ".join(f"{entry.index}/{entry.term}={_payload(entry)}" for entry in entries) or "nothing"


def _payload(entry: Entry) -> str:
    if entry.configuration is not None:
        return f"[{_configuration(entry.configuration)}]"
    return entry.data.decode() or "no-op"


def _configuration(configuration: Configuration) -> str:
    learners = f" learners {','.join(configuration.learners)}" if configuration.learners else ""
    return f"voters {','.join(configuration.voters) or 'none'}{learners}"
