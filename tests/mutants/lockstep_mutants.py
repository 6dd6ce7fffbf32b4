"""Faults in lockstep and in the engine: a different answer, a lost checkpoint, a run that never continues."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

BARRIER, MACHINE, ENGINE = "shoal/lockstep/barrier.py", "shoal/lockstep/machine.py", "shoal/engine/engine.py"
TESTS = ("tests/shoal/lockstep",)
MUTANTS = (
    Mutant(
        "the barrier is always passed",
        BARRIER,
        "return self.counter.reached(self.members, entry)",
        "return True",
        TESTS,
    ),
    Mutant(
        "entries that somebody relays are ignored",
        MACHINE,
        "        before = self.barrier.missing(self.entry)\n        self.barrier.merge(",
        "        return []\n        before = self.barrier.missing(self.entry)\n        self.barrier.merge(",
        TESTS,
    ),
    Mutant(
        "a phase is passed without its data",
        MACHINE,
        """            return []
        if len(self._here) == len(self.peers) and self.barrier.passed(self.entry):
            return self._go_on(now)
        self._ask_ns""",
        """            return []
        if self.barrier.passed(self.entry):
            return self._go_on(now)
        self._ask_ns""",
        TESTS,
    ),
    Mutant(
        "an entry beyond the next phase is believed",
        MACHINE,
        "if shard != self.shard and to <= self._horizon)",
        "if shard != self.shard)",
        TESTS,
    ),
    Mutant(
        "somebody else moves this shard's own entry",
        MACHINE,
        "for shard, to in entries if shard != self.shard and",
        "for shard, to in entries if",
        TESTS,
    ),
    Mutant(
        "the data of a checkpoint counts before its state is durable",
        MACHINE,
        "return self._push(outgoing, compute_ns, self._flags | OPEN)",
        "return self._push(outgoing, compute_ns, self._flags)",
        TESTS,
    ),
    Mutant(
        "a checkpoint's share that is asked for again stays open for ever",
        MACHINE,
        "flags=share.flags & ~OPEN)",
        "flags=share.flags)",
        TESTS,
    ),
    Mutant(
        "the tick that a run resumes from is not checkpointed again",
        MACHINE,
        "self._checkpoint = tick if tick > 0 else cadence.after(0, ticks)",
        "self._checkpoint = cadence.after(tick, ticks)",
        TESTS,
    ),
    Mutant(
        "a run ends before its last tick is durable",
        MACHINE,
        """            if is_held:
                return [*effects, self._over(outcome, "")]""",
        """            if outcome:
                return [*effects, self._over(outcome, "")]""",
        TESTS,
    ),
    Mutant(
        "only this shard's own stop counts",
        MACHINE,
        "self._stopping = any(one & STOP for one in flags)",
        "self._stopping = all(one & STOP for one in flags)",
        TESTS,
    ),
    Mutant(
        "the share of the phase before is forgotten while a peer may still ask for it",
        MACHINE,
        "if len(self._sent) > 2:",
        "if len(self._sent) > 1:",
        TESTS,
    ),
    Mutant(
        "a share is sent again although it may still be on its way",
        MACHINE,
        "if message.lost < copies:",
        "if message.lost > copies:",
        TESTS,
    ),
    Mutant(
        "a paced run does a tick more than it was granted",
        MACHINE,
        "if self.granted is not None and self.tick + 1 > self.granted:",
        "if self.granted is not None and self.tick > self.granted:",
        TESTS,
    ),
    Mutant(
        "a stranger's share counts",
        MACHINE,
        "        if sender not in self.peers:\n            return []\n        if not isinstance",
        "        if not isinstance",
        TESTS,
    ),
    Mutant(
        "an engine that stands at another tick is kept as the result of a run",
        "daemon/runtime/tick_thread.py",
        "machine is not None and machine.result_tick == tick",
        "machine is not None",
        ("tests/daemon/runtime/test_tick_thread.py",),
    ),
    Mutant(
        "aggregates are merged as they come, not in the order of partitions",
        ENGINE,
        "places[:, list(held)] = np.arange",
        "places[:, begin // max(aggregates, 1) : end // max(aggregates, 1)] = np.arange",
        ("tests/shoal/engine",),
    ),
    Mutant(
        "ghosts of a column that a peer has not written keep what they were two ticks ago",
        ENGINE,
        """                else:
                    ws.working[exchange.name][span] = ws.committed[exchange.name][span]
""",
        "",
        ("tests/shoal/engine",),
    ),
    Mutant(
        "own values of a column that was not written keep what they were two ticks ago",
        ENGINE,
        """                ws.working[column.name][: self.part.size] = ws.committed[column.name][: self.part.size]
""",
        "",
        ("tests/shoal/engine",),
    ),
    Mutant(
        "a state lacks what is written in the tick at hand",
        ENGINE,
        "written = self.ws.written if self._advancing else ()",
        "written = ()",
        ("tests/shoal/engine",),
    ),
)
