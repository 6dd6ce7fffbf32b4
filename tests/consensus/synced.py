"""The host of one server whose disk is as fast as it is asked: for tests of the server's word alone."""

from __future__ import annotations

from consensus import Append, Effect, InstallSnapshot, Persist, Raft, Received, Snapshot


def synced(raft: Raft, effects: list[Effect], now: int = 0) -> list[Effect]:
    """What a door gave, and what follows once what it wants persisted is durable."""
    follows = [each for effect in effects if isinstance(effect, Persist) for each in raft.persisted(effect, now)]
    return [*effects, *follows]


def sent_whole(term: int, snapshot: Snapshot) -> list[InstallSnapshot]:
    """All messages that carry a snapshot."""
    chunks = snapshot.chunks or (b"",)
    return [InstallSnapshot(term, snapshot.header, number, chunk) for number, chunk in enumerate(chunks)]


def installed(raft: Raft, sender: str, term: int, snapshot: Snapshot, now: int = 0) -> list[Effect]:
    """What a server gives that is sent a snapshot, by a host that can read it."""
    effects = raft.step(sender, Append(term, 1, 1, (), 1), now)
    effects += [each for message in sent_whole(term, snapshot) for each in raft.step(sender, message, now)]
    for effect in effects:
        if isinstance(effect, Received):
            effects += raft.install(effect.snapshot)
    return effects
