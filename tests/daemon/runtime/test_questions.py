"""Questions of other shards: each is answered once, to its asker, so many at a time; what breaks is the question."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.runtime.questions import ANSWERING_MAX, ANSWERING_PEER_MAX, Questions
from daemon.runtime.service import Service
from daemon.runtime.tasks import Tasks
from daemon.services.graphs.messages import PartStatsReply, PartStatsRequest
from daemon.state.commands import Identity
from daemon.store import NoRoom, StoreFailed

PEER = Identity("b", 1)


class Answering(Service[PartStatsRequest, Any]):
    """Answers once `go` is set, or raises what it was given."""

    def __init__(self, error: Exception | None = None) -> None:
        self.heard: list[str] = []
        self.go = asyncio.Event()
        self._error = error

    async def on_message(self, sender: Identity, message: PartStatsRequest) -> PartStatsReply | None:
        self.heard.append(message.request)
        await self.go.wait()
        if self._error is not None:
            raise self._error
        return PartStatsReply(message.request, 1, 2, 3, 4, 5) if message.load else None


class Desk:
    """Questions, and what becomes of them."""

    def __init__(self, error: Exception | None = None) -> None:
        self.sent: list[tuple[str, Any]] = []
        self.counted: Counter[str] = Counter()
        self.fatal: list[BaseException] = []
        self.tasks = Tasks(self.fatal.append)
        self.service = Answering(error)
        messenger = SimpleNamespace(
            send=lambda to, message: self.sent.append((to, message)),
            refuse=lambda reason, sender: self.counted.update([f"{reason} {sender}"]),
        )
        metrics = SimpleNamespace(dropped=lambda reason: self.counted.update([reason]))
        self.questions = Questions(messenger, metrics, self.tasks.spawn)  # type: ignore[arg-type]

    def ask(self, request: str, peer: Identity = PEER, load: str = "load") -> None:
        self.questions.take(peer, PartStatsRequest(request, load), self.service)

    async def finish(self) -> None:
        self.service.go.set()
        while self.tasks.count:
            await asyncio.sleep(0)


def test_a_question_that_is_repeated_while_it_is_answered_is_answered_once() -> None:
    async def run() -> None:
        desk = Desk()
        for request in ("q1", "q1", "q2"):
            desk.ask(request)
        desk.ask("q1", Identity("c", 1))
        desk.ask("q3", load="")
        await desk.finish()
        assert sorted((to, reply.request) for to, reply in desk.sent) == [("b", "q1"), ("b", "q2"), ("c", "q1")]
        desk.ask("q1")
        await desk.finish()
        assert len(desk.sent) == 4, "it may have been lost: whoever asks again later is answered again"

    asyncio.run(run())


def test_one_peer_leaves_room_for_others_and_all_leave_room_for_the_daemon() -> None:
    async def run() -> None:
        desk = Desk()
        for n in range(ANSWERING_PEER_MAX + 3):
            desk.ask(f"q{n}")
        assert desk.counted == {"busy b": 3}
        for n in range(ANSWERING_MAX):
            desk.ask("q", Identity(f"s{n}", 1))
        await asyncio.sleep(0)
        assert len(desk.service.heard) == ANSWERING_MAX
        await desk.finish()
        desk.ask("again")
        await desk.finish()
        assert desk.sent[-1][1].request == "again", "there is room once they are answered"

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "is_fatal"), [(ValueError("odd"), False), (NoRoom("full"), False), (StoreFailed("broken"), True)]
)
def test_what_breaks_over_a_question_is_the_question_but_for_the_disk(error: Exception, is_fatal: bool) -> None:
    async def run() -> None:
        desk = Desk(error)
        desk.ask("q1")
        await desk.finish()
        assert (desk.fatal == [error]) is is_fatal
        assert desk.counted == ({} if is_fatal else {"unanswerable": 1})
        assert desk.sent == []

    asyncio.run(run())
