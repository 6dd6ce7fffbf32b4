r"""One run on one shard: the current phase, the shares received from peers, and when the next phase may begin.

    computing --computed--> waiting --data and counter--> settling --settled--> computing (the next phase)
            \-> holding --held--> waiting                        |-> paced (until the tick is granted)
               (a checkpoint's Advance)                          \-> holding, unless it is held --> over

A shard pushes its share of a phase to every member as soon as it has computed it. It continues when every member's
share is here and the barrier is passed: the counter, merged from shares and relayed entries, has every member at the
phase's entry. `barrier` says what an entry means, and why either condition may hold before the other. A peer can be at
most one phase ahead, so the machine keeps two phases' shares, to resend and to accept early.

    waiting  PhaseRequest ---------------> peer   (after `resend_interval`, then as soon as an answer is late)
             <--- BarrierRaised ----------        everyone's progress, as far as the peer knows
             <--- PhaseSent(1 copy) ------        follows the share on the same connection: has that arrived?
             PhaseRequest(1 copy lost) -->        if not
             <--- the share again --------

So a share is resent only when it is certainly lost, never because its link is slow.

No shard decides alone that the run ends: `flags` and `failure` travel on the shares of a phase, and every shard that
passes its barrier has seen everyone's. Checkpoints by time work the same way: once one shard's clock says that one is
due, the next tick is a checkpoint on all shards.

A *checkpoint* is a tick whose Advance a shard completes only once the tick's state is durable, here and on its
replicas. Its data is sent at once, in open shares, so it crosses while disks write; the entry follows. If any shard saw
a checkpoint committed, all holders have it. A run that loses a member resumes from there, with a new machine that
begins at Advance of that `tick`. Shards exchange the restored state as they do at the start and checkpoint it again,
which copies it to new replicas. A run is over when its last tick is held. Tick 0 needs no checkpoint: a program can
always start again.

Invariants: the own entry never falls, and no other shard raises it; no phase is computed before the preceding barrier
is passed; at most two phases of shares are kept; the entry of a checkpoint's Advance is raised only once the tick is
held; a run ends only once its last tick is held.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias, assert_never

from msgspec.structs import replace

from shoal.engine.engine import Outgoing
from shoal.lockstep.barrier import Barrier, entry_of
from shoal.lockstep.effects import (
    HoldTick,
    PhaseLate,
    RunOver,
    RunPhase,
    SendTick,
    SettlePhase,
    TickCommitted,
    TickEffect,
)
from shoal.lockstep.messages import DUE, OPEN, STOP, BarrierRaised, PhaseDone, PhaseRequest, PhaseSent
from shoal.lockstep.round_trip import RoundTrip
from shoal.lockstep.states import COMPUTING, HOLDING, OVER, SETTLING, WAITING, State
from shoal.lockstep.timing import AT_THE_END, COST_SHARE, Cadence, TickTiming
from shoal.program.failures import disagreement, told_once
from shoal.program.phase import Phase
from shoal.program.program import not_converged

RarerMessage: TypeAlias = PhaseRequest | PhaseSent | BarrierRaised
RunMessage: TypeAlias = PhaseDone | RarerMessage

FAILURE_CHARACTERS_MAX = 4000
FAILURES_CHARACTERS_MAX = 16_000  # all shards' together; a text in a message has at most 64 KiB
ASK_FACTOR_MAX = 8  # the interval between requests for a missing share doubles each time, up to this factor
ADVANCE = Phase.ADVANCE


class TickMachine:
    """The lockstep of one run.

    `step` handles peers' messages, `wake` the passing of time; the other methods handle the host's answers.
    """

    # Above 30 attributes, an instance without slots loses its fast layout, which costs 6% of an empty tick here.
    __slots__ = (
        "_again", "_ahead", "_ask_ns", "_asked_at", "_asks", "_by_time", "_cadence", "_checkpoint", "_due_at",
        "_figures", "_flags", "_floor", "_held", "_here", "_hold_at", "_horizon", "_kept", "_lost", "_must_halt",
        "_named_at", "_outcome", "_own", "_phases", "_reached", "_round_trip", "_sent", "_stopping", "_ticks",
        "_timing", "_waited", "barrier", "entry", "granted", "peers", "phase", "run", "shard", "since", "state",
        "tick",
    )  # fmt: skip

    def __init__(
        self,
        run: int,
        shard: str,
        members: Sequence[str],
        phases: Sequence[Phase],
        ticks: int,
        timing: TickTiming,
        granted: int | None = None,
        *,
        tick: int = 0,
        reached: int = 0,
        cadence: Cadence = AT_THE_END,
        must_halt: bool = False,
    ) -> None:
        """`granted` is the last tick that may run, None if the run is not paced. The run begins at Advance of `tick`: 0
        is the program's start, a later one the state that the host has restored. An older view has seen ticks up to
        `reached` committed: a stop takes effect only from there on. If the run `must_halt`, reaching its last tick
        before it halts is a failure, because what it has computed so far may depend on the cut.
        """
        assert shard in members, (shard, members)
        assert Phase.ADVANCE in phases, phases
        self.run, self.shard = run, shard
        self.peers = tuple(member for member in members if member != shard)
        self.barrier = Barrier(members)
        self.state = State.NEW
        self.tick, self.phase = tick, Phase.ADVANCE
        self.entry = entry_of(tick, ADVANCE)
        """The barrier entry that the current phase completes."""
        self.granted = granted
        self.since = 0
        self._phases, self._ticks, self._timing = tuple(phases), ticks, timing
        self._cadence, self._by_time, self._must_halt = cadence, cadence.ticks == 0, must_halt
        self._horizon = entry_of(tick + 1, self._phases[0])
        """The highest entry that a peer can have reached: the next used phase after the current one."""
        self._flags, self._stopping, self._reached = 0, False, reached
        self._checkpoint = tick if tick > 0 else cadence.after(0, ticks)
        """The next tick known to be a checkpoint."""
        self._held, self._hold_at, self._due_at = -1, 0, 0
        """The last checkpoint held here; when a hold began; when the next checkpoint is due by time."""
        self._floor = 0
        self._kept: tuple[Outgoing, int] | None = None
        """Until a checkpoint's state is captured: what to push then, and how long it took to compute."""
        self._outcome = ""
        """How the run has ended, set when the last tick passes its barrier and must still be held; empty if it has
        failed.
        """
        self._here: dict[str, PhaseDone] = {}
        self._ahead: dict[str, PhaseDone] = {}
        self._sent: dict[int, dict[str, PhaseDone]] = {}
        self._again: dict[tuple[int, str], int] = {}
        """How many copies of a share were sent, by entry and peer, if more than one."""
        self._lost: dict[str, int] = {}
        """How many copies of the awaited share are known to be lost, by peer."""
        self._own: PhaseDone | None = None
        self._round_trip = RoundTrip()
        """The round trip of share requests. On a slow link an answer waits behind the share, and the estimate includes
        that.
        """
        self._asks, self._ask_ns = 0, timing.resend_interval_ns
        """How many requests for the awaited share were sent, and the interval until the next."""
        self._asked_at = self._named_at = 0
        self._figures: list[tuple[Phase, tuple[tuple[int, int], ...]]] = []
        self._waited: list[tuple[Phase, int]] = []

    # -- entry points ----------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """When to wake; only waits for peers or for storage have a deadline."""
        if self.state is not WAITING:
            return self._named_at + self._timing.phase_timeout_ns if self.state is HOLDING else None
        return min(self._asked_at + self._ask_ns, self._named_at + self._timing.phase_timeout_ns)

    def begin(self, now: int) -> list[TickEffect]:
        """Begins the run: the program's start counts as Advance of tick 0, a restored state as Advance of its tick."""
        self.state, self.since = COMPUTING, now
        self._due_at = now + self._cadence.interval_ns
        return [RunPhase(self.run, self.tick, ADVANCE)]

    def step(self, sender: str, message: RunMessage, now: int) -> list[TickEffect]:
        """Handles a peer's message. One from a stranger, or outside the window of two phases, changes nothing."""
        if sender not in self.peers:
            return []
        if not isinstance(message, PhaseDone):  # most messages are PhaseDone
            return self._step_rarer(sender, message, now)
        entry = message.entry
        if self.state is OVER or (entry != self.entry and entry != self._horizon):
            return self._beyond(sender, entry)
        if not message.flags & OPEN:
            self.barrier.advance(sender, entry)
        if entry == self.entry:
            self._here.setdefault(sender, message)
        else:
            if not self._ahead:  # a peer that is a phase ahead has seen all others complete this one
                self.barrier.merge((peer, self.entry) for peer in self.peers)
            self._ahead.setdefault(sender, message)
        if self.state is WAITING and len(self._here) == len(self.peers) and self.barrier.passed(self.entry):
            return self._go_on(now)
        return self._beyond(sender, entry) if self._outcome else []

    def wake(self, now: int) -> list[TickEffect]:
        """Requests missing shares again, and reports late members. While holding, no member is known to be late."""
        deadline = self.deadline
        if deadline is None or now < deadline:
            return []
        effects: list[TickEffect] = []
        lacking = self.lacking() if self.state is WAITING else ()
        if lacking and now >= self._asked_at + self._ask_ns:
            self._asked_at = now
            self._asks += 1
            self._ask_ns = self._late_ns() if self._asks == 1 else 2 * self._ask_ns
            self._ask_ns = min(self._ask_ns, ASK_FACTOR_MAX * self._timing.resend_interval_ns)
            effects += [SendTick(peer, PhaseRequest(self.run, self.entry, self._lost.get(peer, 0))) for peer in lacking]
        if now >= self._named_at + self._timing.phase_timeout_ns:
            self._named_at = now
            effects.append(PhaseLate(self.run, self.tick, self.phase, lacking, now - self.since))
        return effects

    def relayed(self, entries: Sequence[tuple[str, int]], now: int) -> list[TickEffect]:
        """Merges entries from gossip or from a peer, which may pass the barrier.

        Data that the new entries announce is requested soon. No shard can be further than the next phase.
        """
        before = self.barrier.missing(self.entry)
        self.barrier.merge((shard, to) for shard, to in entries if shard != self.shard and to <= self._horizon)
        if self.state is not WAITING or self.barrier.missing(self.entry) == before:
            return []
        if len(self._here) == len(self.peers) and self.barrier.passed(self.entry):
            return self._go_on(now)
        self._ask_ns = self._timing.resend_interval_ns
        return []

    # -- the host's answers ----------------------------------------------------------------------------------------

    def computed(self, outgoing: Outgoing, compute_ns: int, now: int) -> list[TickEffect]:
        """The phase has run here: pushes everyone's share; for a checkpoint, only once its state is captured."""
        assert self.state is COMPUTING, self.state
        if self.phase is ADVANCE:
            if self.tick >= self._checkpoint:
                self._kept = (outgoing, compute_ns)
                return self._hold(now)
            if self._by_time:
                due = now >= self._due_at
                self._flags = self._flags & STOP | (DUE if due else 0)
        effects = self._push(outgoing, compute_ns, self._flags)
        effects += self._wait(now)
        return effects

    def captured(self) -> list[TickEffect]:
        """The state to be held has been captured: sends a checkpoint's data while the state is made durable."""
        assert self.state is HOLDING, self.state
        if self._kept is None:
            return []  # the last tick, which has passed its barrier
        (outgoing, compute_ns), self._kept = self._kept, None
        self._flags = self._flags & STOP | (DUE if self._by_time and not self._cadence.interval_ns else 0)
        return self._push(outgoing, compute_ns, self._flags | OPEN)

    def held(self, now: int) -> list[TickEffect]:
        """The tick's state is durable, here and on all replicas. Ignored if the run was aborted meanwhile."""
        if self.state is OVER:
            return []
        assert self.state is HOLDING, self.state
        self._held, self._due_at = self.tick, now + self._cadence.interval_ns
        if self._outcome:
            return [self._over(self._outcome, "")]
        assert self._kept is None, "it is captured before it is held"
        self._checkpoint = max(self.tick + 1, self._cadence.after(self.tick, self._ticks))
        out = self._sent[self.entry]
        self._sent[self.entry] = {peer: replace(share, flags=share.flags & ~OPEN) for peer, share in out.items()}
        waiting, raised = self._wait(now), BarrierRaised(self.run, self.barrier.entries())
        return [*(SendTick(peer, raised) for peer in self.peers), *waiting]

    def raised(self, failure: str, compute_ns: int, now: int) -> list[TickEffect]:
        """The program has failed here: tells everyone, in place of its share.

        While settling, and while the last tick is held after its barrier, the share has already been sent: the run ends
        only here, and consensus ends it elsewhere.
        """
        assert self.state in (COMPUTING, SETTLING, HOLDING), self.state
        assert self.state is not HOLDING or self._kept or self._outcome, "a program fails at capturing, not behind it"
        failure = f"{self.shard}: {failure}"[:FAILURE_CHARACTERS_MAX]
        if self.state is SETTLING or self._outcome:
            return [self._over("failed", failure)]
        self._kept = None
        own = PhaseDone(self.run, self.entry, 0, b"", self._flags, failure, compute_ns, 0)
        return self._send(dict.fromkeys(self.peers, own), own) + self._wait(now)

    def settled(self, halted: bool, now: int) -> list[TickEffect]:
        """Everyone's share is settled here: goes on to the next phase or tick, or ends the run."""
        assert self.state is SETTLING, self.state
        if self.phase is not ADVANCE:
            following = self._phases[self._phases.index(self.phase) + 1]
            return self._compute(self.tick, following, now)
        effects: list[TickEffect] = []
        if self.tick > 0:
            effects.append(TickCommitted(self.run, self.tick, tuple(self._figures), tuple(self._waited)))
        self._figures, self._waited = [], []
        is_held = self._held == self.tick
        if is_held:
            self._floor = self.tick
            self._due_at = now + max(self._cadence.interval_ns, COST_SHARE * (now - self._hold_at))
        stop = self._stopping
        if self._must_halt and self.tick >= self._ticks and not (halted or stop):
            return [*effects, self._over("failed", not_converged(self.tick))]
        if halted or stop or self.tick >= self._ticks:
            outcome = "stopped" if stop and not halted else "completed"
            if is_held:
                return [*effects, self._over(outcome, "")]
            self._outcome = outcome
            return [*effects, *self._hold(now)]
        return [*effects, *self._next_tick(now)]

    def grant(self, tick: int, now: int) -> list[TickEffect]:
        """Allows ticks up to this one. Grants only grow, so a repeated or late one does no harm."""
        if self.granted is not None:
            self.granted = max(self.granted, tick)
        return self._next_tick(now) if self.state is State.PACED else []

    def stop(self, now: int) -> list[TickEffect]:
        """Ends the run after a tick that all shards agree on: the first whose Advance carries any shard's stop."""
        self._flags |= STOP
        self.granted = None  # the tick that carries the stop might never be granted
        return self._next_tick(now) if self.state is State.PACED else []

    def abort(self, failure: str) -> list[RunOver]:
        """Ends the run at once, because consensus has ended it."""
        return [] if self.state is OVER else [self._over("failed", failure)]

    # -- read ------------------------------------------------------------------------------------------------------

    @property
    def result_tick(self) -> int | None:
        """The tick at which this shard has ended the run with a result; None before, and if the run failed."""
        return self.tick if self.state is OVER and self._outcome else None

    def lacking(self) -> tuple[str, ...]:
        """Returns the peers whose share of the current phase, or whose entry, has not arrived."""
        behind = self.barrier.missing(self.entry)
        return tuple(peer for peer in self.peers if peer not in self._here or peer in behind)

    def has_share_of(self, peer: str) -> bool:
        """Whether a peer's share of the current phase is here."""
        return peer in self._here

    def doing(self) -> str:
        """Returns the current activity in words, for operators."""
        where = f"{self.phase.word} of tick {self.tick}" if self.tick else "start of the run"
        return f"{self.state.value} {where}"

    def validate(self) -> None:
        """Asserts the machine's invariants."""
        assert all(share.entry == self.entry for share in self._here.values()), self._here
        assert all(share.entry == self._horizon for share in self._ahead.values()), self._ahead
        assert len(self._sent) <= 2, self._sent.keys()
        assert all(entry in self._sent and copies > 1 for (entry, _), copies in self._again.items()), self._again
        own = self.barrier.entry(self.shard)
        if self.state in (WAITING, SETTLING):
            assert own == self.entry, (own, self.entry)
        elif self.state is COMPUTING:
            assert own < self.entry, (own, self.entry)
            assert all(self.barrier.entry(peer) >= own for peer in self.peers), "computing past a barrier"
        if self.state is HOLDING:
            assert self.phase is ADVANCE, self.phase
            assert self._held < self.tick, (self._held, self.tick)
            assert not (self._kept and self._outcome), "either a share is held back, or the end"
            assert (own == self.entry) == bool(self._outcome), (own, self.entry)
            assert (self.entry in self._sent) == (self._kept is None), "data goes out once it is captured"
        elif self.state is not OVER:
            assert self._kept is None, self.state
            assert not self._outcome, self.state
        assert self._floor <= max(self._held, 0), (self._floor, self._held)

    # -- internal --------------------------------------------------------------------------------------------------

    def _step_rarer(self, sender: str, message: PhaseRequest | PhaseSent | BarrierRaised, now: int) -> list[TickEffect]:
        match message:
            case PhaseRequest():
                return self._wanted(sender, message)
            case PhaseSent():
                return self._was_sent(sender, message, now)
            case BarrierRaised():
                return self.relayed(message.entries, now)
        assert_never(message)

    def _wanted(self, sender: str, message: PhaseRequest) -> list[TickEffect]:
        """A peer lacks our share: tells it that a copy is on its way, or resends it if all copies are lost."""
        entry = message.entry
        share = self._sent.get(entry, {}).get(sender)
        if share is None:
            return self._beyond(sender, entry)
        copies = self._again.get((entry, sender), 1)
        if message.lost < copies:
            known = BarrierRaised(self.run, self.barrier.entries())
            return [SendTick(sender, known), SendTick(sender, PhaseSent(self.run, entry, copies))]
        self._again[entry, sender] = copies + 1
        return [SendTick(sender, share)]

    def _was_sent(self, sender: str, message: PhaseSent, now: int) -> list[TickEffect]:
        """A share that has not arrived before this message is lost: requests another copy."""
        if self.state is not WAITING or message.entry != self.entry:
            return []
        if self._asks == 1:
            self._round_trip.measured(now - self._asked_at)
        if sender in self._here or message.copies <= self._lost.get(sender, 0):
            return []
        self._lost[sender] = message.copies
        self._ask_ns = self._late_ns()
        return [SendTick(sender, PhaseRequest(self.run, self.entry, message.copies))]

    def _late_ns(self) -> int:
        """Returns the time after which a request or its answer must be lost."""
        interval_ns = self._timing.resend_interval_ns
        return self._round_trip.timeout_ns(interval_ns // 4, interval_ns)

    def _beyond(self, sender: str, entry: int) -> list[TickEffect]:
        """Fails the run if a peer is past the phase in which it ended here: both would wait for each other for ever."""
        if not self._outcome or entry <= self.entry:
            return []
        return [self._over("failed", f"{self.shard}: {disagreement(self.tick, sender)}"[:FAILURE_CHARACTERS_MAX])]

    def _next_tick(self, now: int) -> list[TickEffect]:
        if self.granted is not None and self.tick + 1 > self.granted:
            self.state, self.since = State.PACED, now
            return []
        return self._compute(self.tick + 1, self._phases[0], now)

    def _compute(self, tick: int, phase: Phase, now: int) -> list[TickEffect]:
        self.tick, self.phase = tick, phase
        self.entry = self._horizon
        if phase is ADVANCE:
            self._horizon = entry_of(tick + 1, self._phases[0])
        else:
            self._horizon = entry_of(tick, self._phases[self._phases.index(phase) + 1])
        self._here, self._ahead = self._ahead, {}
        self.state, self.since = COMPUTING, now
        return [RunPhase(self.run, tick, phase)]

    def _hold(self, now: int) -> list[TickEffect]:
        self.state, self.since = HOLDING, now
        self._named_at = self._hold_at = now
        return [HoldTick(self.run, self.tick, self._floor)]

    def _heed(self, flags: Sequence[int]) -> None:
        """Obeys the flags of an Advance; all shards see the same ones and act alike."""
        self._stopping = any(one & STOP for one in flags)
        if any(one & DUE for one in flags):
            self._checkpoint = min(self._checkpoint, self.tick + 1)

    def _push(self, outgoing: Outgoing, compute_ns: int, flags: int) -> list[TickEffect]:
        """Sends everyone's share of the phase."""
        run, entry, columns, aggregates = self.run, self.entry, outgoing.columns, outgoing.aggregates
        flags, sent = flags if self.tick >= self._reached else flags & ~STOP, outgoing.nbytes
        by_peer, shares = outgoing.frames, dict[str, PhaseDone]()
        own: PhaseDone | None = None
        for peer in self.peers:
            frames = by_peer[peer]
            if frames or own is None or own.frames:
                own = PhaseDone(run, entry, columns, aggregates, flags, "", compute_ns, sent, frames)
            shares[peer] = own  # consecutive peers that get no arrays share one message: the host encodes it once
        return self._send(shares, own or PhaseDone(run, entry, columns, aggregates, flags, "", compute_ns, sent))

    def _send(self, shares: dict[str, PhaseDone], own: PhaseDone) -> list[TickEffect]:
        self._own = own
        self._sent[self.entry] = shares
        if len(self._sent) > 2:
            del self._sent[next(iter(self._sent))]  # they are in the order of their entries
        if self._again:
            self._again = {key: copies for key, copies in self._again.items() if key[0] in self._sent}
        if self._lost:
            self._lost.clear()
        return [SendTick(peer, share) for peer, share in shares.items()]

    def _wait(self, now: int) -> list[TickEffect]:
        """The phase is completed here: raises the own entry, and waits for the others if necessary."""
        self.barrier.advance(self.shard, self.entry)
        self.state, self.since = WAITING, now
        self._asked_at = self._named_at = now
        self._asks, self._ask_ns = 0, self._timing.resend_interval_ns
        if len(self._here) == len(self.peers) and self.barrier.passed(self.entry):
            return self._go_on(now)
        return []

    def _go_on(self, now: int) -> list[TickEffect]:
        """Ends the wait: every share is here, and the barrier is passed."""
        here, own = self._here, self._own
        assert own is not None
        at_hand = [own if member == self.shard else here[member] for member in self.barrier.members]
        said = [share for share in at_hand if share.flags or share.failure]
        if said:
            failures = [share.failure for share in said if share.failure]
            if failures:
                return [self._over("failed", told_once(failures)[:FAILURES_CHARACTERS_MAX])]
            if self.phase is ADVANCE:
                self._heed([share.flags for share in said])
        self._figures.append((self.phase, tuple([(share.compute_ns, share.sent_bytes) for share in at_hand])))
        self._waited.append((self.phase, now - self.since))
        self.state = SETTLING
        return [SettlePhase(self.run, self.tick, self.phase, here)]

    def _over(self, outcome: str, failure: str) -> RunOver:
        committed = self.tick if outcome != "failed" else max(self.tick - 1, 0)
        self.state, self._outcome = OVER, outcome if outcome != "failed" else ""
        self._here, self._ahead, self._kept = {}, {}, None
        return RunOver(self.run, committed, outcome, failure)
