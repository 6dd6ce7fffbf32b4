"""The host of one server whose disk is as fast as it is asked: for tests of the server's word alone."""

from __future__ import annotations

from consensus import Effect, Persist, Raft


def synced(raft: Raft, effects: list[Effect], now: int = 0) -> list[Effect]:
    """What a door gave, and what follows once what it wants persisted is durable."""
    follows = [each for effect in effects if isinstance(effect, Persist) for each in raft.persisted(effect, now)]
    return [*effects, *follows]
