"""Faults in consensus."""

from __future__ import annotations

from tests.mutants.mutant import Mutant

RAFT = "consensus/raft.py"
MUTANTS = (
    Mutant(
        "a majority is one voter fewer",
        "consensus/quorum.py",
        "return size // 2 + 1",
        "return (size + 1) // 2",
        ("tests/consensus/test_thesis.py", "consensus/quorum.py"),
    ),
    Mutant(
        "messages leave before what they rely on is durable",
        "consensus/outbox.py",
        """        if persist is not None:
            effects.append(persist)
        if self._restored""",
        """        if persist is not None:
            effects += [*self._sends, persist]
            self._sends = []
        if self._restored""",
        ("tests/consensus/test_conversations.py",),
    ),
    Mutant(
        "a vote is given twice in one term",
        RAFT,
        "is_free = self.vote == sender or (self.vote is None and self.leader is None)",
        "is_free = self.leader is None",
        ("tests/consensus/test_thesis.py", "tests/consensus/test_conversations.py"),
    ),
    Mutant(
        "a vote goes to a candidate whose log lacks what is committed",
        RAFT,
        "granted = is_free and is_up_to_date(self.log, request.last_term, request.last_index)",
        "granted = is_free",
        ("tests/consensus/test_thesis.py", "tests/consensus/test_conversations.py"),
    ),
    Mutant(
        "an entry of an earlier term is committed by counting its copies",
        RAFT,
        "if index <= self.commit_index or self.log.term_at(index) != self.term:",
        "if index <= self.commit_index:",
        ("tests/consensus/test_thesis.py", "tests/consensus/test_conversations.py"),
    ),
    Mutant(
        "a read waits for the round that was under way when it was asked",
        "consensus/read_index.py",
        "self._waiting[key] = Read(readable, self.round + 1)",
        "self._waiting[key] = Read(readable, max(1, self.round))",
        ("tests/consensus/test_read_index.py",),
    ),
    Mutant(
        "a leader counts what it has yet to write",
        "consensus/leadership.py",
        "self.followers.agreed_index(self._log.configuration.voters, self.saved_index)",
        "self.followers.agreed_index(self._log.configuration.voters, self._log.last_index)",
        ("tests/consensus/test_batches.py", "tests/consensus/test_random_cluster.py"),
    ),
    Mutant(
        "two writes in one keep what the second has cut off",
        "consensus/effects.py",
        "and (later.truncate_from is None or entry.index < later.truncate_from)",
        "and (later.truncate_from is None or entry.index <= later.truncate_from)",
        ("tests/consensus/test_batches.py",),
    ),
    Mutant(
        "a snapshot is taken for whole whatever its digest",
        "consensus/transfer.py",
        "if self._digest.digest() == header.digest:",
        "if header.digest:",
        ("tests/consensus/test_transfer.py",),
    ),
    Mutant(
        "a snapshot is installed before it was read",
        RAFT,
        "            self._outbox.received(self._incoming.whole)",
        "            self._install(self._incoming.whole, sender)",
        ("tests/consensus/test_transfer.py",),
    ),
)
