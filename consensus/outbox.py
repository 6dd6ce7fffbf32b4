"""Tracks what a server's host has been told, so that each door returns exactly what is new.

This module alone makes the order that effects.py describes.
"""

from __future__ import annotations

from collections.abc import Iterable

from consensus.effects import (
    BecameLeader,
    Committed,
    Effect,
    Forgot,
    LeaderChanged,
    Readable,
    Received,
    Restored,
    Send,
)
from consensus.log import Log
from consensus.messages import Message
from consensus.stored import HardState, Snapshot


class EffectOutbox:
    """One server's outbox; collects sends, restores and reads until the door closes."""

    def __init__(self, hard_state: HardState, applied_index: int) -> None:
        self.applied_index = applied_index
        self._hard_state = hard_state
        self._leader: tuple[int, str] | None = None
        self._restored: Snapshot | None = None
        self._sends: list[Send] = []
        self._readable: list[Readable] = []
        self._received: Snapshot | None = None
        self._forgot: Forgot | None = None

    def send(self, to: str, message: Message) -> None:
        """Queues a message."""
        self._sends.append(Send(to, message))

    def received(self, snapshot: Snapshot) -> None:
        """Offers the host a complete snapshot."""
        self._received = snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Replaces the host's state by a snapshot's."""
        self._restored = snapshot
        self.applied_index = snapshot.index

    def forgot(self, news: Forgot) -> None:
        """Reports a server that has forgotten a promise."""
        self._forgot = news

    def readable(self, reads: Iterable[Readable]) -> None:
        """Queues the answers to reads."""
        self._readable += reads

    def news(
        self, hard_state: HardState, leader: str | None, is_leader: bool, log: Log, commit_index: int
    ) -> list[Effect]:
        """Returns all that has changed since the last door closed."""
        effects: list[Effect] = []
        persist = log.take_unsaved(hard_state if hard_state != self._hard_state else None)
        self._hard_state = hard_state
        if persist is not None:
            effects.append(persist)
        if self._restored is not None:
            effects.append(Restored(self._restored))
            self._restored = None
        announced = None if leader is None else (hard_state.term, leader)
        if announced != self._leader:
            self._leader = announced
            effects.append(BecameLeader(hard_state.term) if is_leader else LeaderChanged(hard_state.term, leader))
        effects += self._sends
        self._sends = []
        if self.applied_index < commit_index:
            effects.append(Committed(log.span(self.applied_index + 1, commit_index)))
            self.applied_index = commit_index
        effects += self._readable
        self._readable = []
        if self._received is not None:
            effects.append(Received(self._received))
            self._received = None
        if self._forgot is not None:
            effects.append(self._forgot)
            self._forgot = None
        return effects
