"""Questions to other shards: asked again, believed from whom they were put to alone, and gone with their asker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from daemon.runtime.rpc import NoReply, Patience, Rpc, once, together
from daemon.services.graphs.messages import PartStatsReply, PartStatsRequest
from daemon.services.results.messages import KeptTicksReply

T = TypeVar("T")
QUESTION, ANSWER = PartStatsRequest("", "load-1"), PartStatsReply("", 1, 2, 3, 4, 5)
SHORT = Patience(first=0.01, most=0.04, silence=0.1)


class Shards:
    """What one shard asks of others; `hear` is called with each question."""

    def __init__(self, hear: Callable[[str, Any], None]) -> None:
        self.sent: list[tuple[str, Any]] = []
        self._hear = hear
        self.rpc = Rpc(self._send, lambda: f"q{len(self.sent)}")

    def _send(self, to: str, question: Any) -> None:
        self.sent.append((to, question))
        self._hear(to, question)


def asked(hear: Callable[[Shards, str, Any], None], work: Callable[[Shards], Awaitable[T]]) -> tuple[T, Shards]:
    async def run() -> tuple[T, Shards]:
        shards = Shards(lambda to, question: hear(shards, to, question))
        result = await work(shards)
        assert shards.rpc._waiting == {}, "nothing is left of a question"
        return result, shards

    return asyncio.run(run())


def answer(shards: Shards, to: str, question: PartStatsRequest) -> None:
    asyncio.get_running_loop().call_soon(shards.rpc.deliver, to, replace(ANSWER, request=question.request))


def nobody(shards: Shards, to: str, question: Any) -> None:
    pass


def test_a_question_that_is_lost_is_asked_again_under_its_name() -> None:
    def third_time(shards: Shards, to: str, question: Any) -> None:
        if len(shards.sent) == 3:
            answer(shards, to, question)

    got, shards = asked(third_time, lambda shards: shards.rpc.call("b", QUESTION, PartStatsReply, SHORT))
    assert (got.nodes, got.request) == (1, "q0")
    assert {question.request for _, question in shards.sent} == {"q0"}


def test_it_is_asked_ever_more_rarely_and_then_given_up() -> None:
    async def work(shards: Shards) -> str:
        with pytest.raises(NoReply) as error:
            await shards.rpc.call("b", QUESTION, PartStatsReply, SHORT)
        return str(error.value)

    told, shards = asked(nobody, work)
    assert told == "shard 'b' has not answered for 0.1 s"
    assert len(shards.sent) == 4, "after 10, 20 and 40 ms, and 30 more until the end"


@pytest.mark.parametrize(
    "wrong",
    [
        ("c", replace(ANSWER, request="q0")),
        ("b", replace(ANSWER, request="q1")),
        ("b", KeptTicksReply("q0", 1, ())),
    ],
    ids=["of another sender", "to another question", "of another type"],
)
def test_an_answer_counts_only_from_whom_was_asked(wrong: tuple[str, Any]) -> None:
    def both(shards: Shards, to: str, question: Any) -> None:
        assert not shards.rpc.deliver(*wrong)
        answer(shards, to, question)

    got, _ = asked(both, lambda shards: shards.rpc.call("b", QUESTION, PartStatsReply, once(5)))
    assert got == replace(ANSWER, request="q0")


def test_who_is_silent_is_left_out_of_what_all_answer() -> None:
    def all_but_c(shards: Shards, to: str, question: Any) -> None:
        if to != "c":
            answer(shards, to, question)

    got, shards = asked(all_but_c, lambda shards: shards.rpc.call_each("bcd", QUESTION, PartStatsReply, once(0.05)))
    assert list(got) == ["b", "d"]
    assert [to for to, _ in shards.sent] == ["b", "c", "d"], "all at once, and once each"


def test_what_comes_slowly_is_waited_for_and_not_asked_for_again() -> None:
    came = [None, 1, 2, 3, 4]

    def progress() -> int | None:
        return came.pop(0) if len(came) > 1 else came[0]

    async def work(shards: Shards) -> float:
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoReply):
            await shards.rpc.exchange(
                "b", "q0", PartStatsReply, lambda: shards.sent.append(("b", None)), Patience(0.02, 0.02, 0.06), progress
            )
        return asyncio.get_running_loop().time() - began

    seconds, shards = asked(nobody, work)
    assert len(shards.sent) == 2, "as long as nothing of it had come"
    assert seconds >= 0.02 * (1 + 4 + 3) * 0.9, "three silent pauses, counted from when it had stopped"


def test_a_question_goes_with_its_asker() -> None:
    async def work(shards: Shards) -> int:
        task = asyncio.ensure_future(shards.rpc.call("b", QUESTION, PartStatsReply, SHORT))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        sent = len(shards.sent)
        await asyncio.sleep(0.05)
        assert not shards.rpc.deliver("b", replace(ANSWER, request="q0"))
        return len(shards.sent) - sent

    again, _ = asked(nobody, work)
    assert again == 0


def test_the_first_to_fail_ends_the_others() -> None:
    ended: list[str] = []

    async def slow() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("slow")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise NoReply("nobody")

    async def run() -> None:
        work: list[Coroutine[Any, Any, None]] = [slow(), fail()]
        with pytest.raises(NoReply, match="nobody"):
            await together(work)

    asyncio.run(run())
    assert ended == ["slow"]
