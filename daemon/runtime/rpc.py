"""Questions to other shards and their answers: repeated at growing intervals, and given up after a silence.

A question has a field `request`, an id drawn here, which its answer repeats. An answer counts only if it comes from the
shard that was asked, under that id, and with an expected type; anything else is dropped. A question may arrive twice,
so answering it must change nothing. Cancelling the caller cancels its question: it is not repeated, and a late answer
is dropped.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Coroutine, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from msgspec.structs import replace

from shoal.api.errors import Failed

R = TypeVar("R")
T = TypeVar("T")


class Reply(Protocol):
    """An answer on the wire."""

    @property
    def request(self) -> str:
        """The question's request id."""


class NoReply(Failed):
    """No answer came in time."""


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: the first and the longest interval between repetitions, and the silence after which to give up."""

    first: float
    most: float
    silence: float


PATIENT: Final = Patience(first=1.0, most=8.0, silence=15.0)
"""A slow answer comes once for each time that it was asked for."""


def once(seconds: float) -> Patience:
    """Returns the patience to ask once, and wait so long."""
    return Patience(seconds, seconds, seconds)


@dataclass(slots=True)
class _Waiting:
    sender: str
    kinds: tuple[type, ...]
    answer: asyncio.Future[Any]


class Rpc:
    """One shard's questions. `send` sends a message to a member; `new_id` draws a request id."""

    def __init__(self, send: Callable[[str, object], None], new_id: Callable[[], str]) -> None:
        self._send, self._new_id = send, new_id
        self._waiting: dict[str, _Waiting] = {}

    async def call(self, member: str, question: Any, reply: type[R], patience: Patience = PATIENT) -> R:
        """Returns a member's answer. Raises `NoReply`."""
        asked = replace(question, request=self._new_id())
        return await self.exchange(member, asked.request, reply, lambda: self._send(member, asked), patience)

    async def call_each(
        self, members: Iterable[str], question: Any, reply: type[R], patience: Patience
    ) -> dict[str, R]:
        """Returns the members' answers; silent members are left out."""

        async def ask(member: str) -> R | None:
            try:
                return await self.call(member, question, reply, patience)
            except NoReply:
                return None

        names = list(members)
        answers = await together(ask(member) for member in names)
        return {name: answer for name, answer in zip(names, answers, strict=True) if answer is not None}

    async def exchange(
        self,
        sender: str,
        request: str,
        reply: type[R] | tuple[type[R], ...],
        ask: Callable[[], None],
        patience: Patience,
        progress: Callable[[], object | None] = lambda: None,
    ) -> R:
        """Asks in any way, and returns the answer that `deliver` takes under that request id. Raises `NoReply`.

        `progress` tells how much of a long answer has arrived, or None before it begins: once it has begun, the
        question is not repeated, and the caller waits as long as more arrives.
        """
        kinds = reply if isinstance(reply, tuple) else (reply,)
        answer: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting[request] = _Waiting(sender, kinds, answer)
        pause, quiet, here = patience.first, 0.0, None
        try:
            while quiet < patience.silence:
                if here is None:
                    ask()
                wait = min(pause, patience.silence - quiet)
                done, _ = await asyncio.wait([answer], timeout=wait)
                if done:
                    return answer.result()
                before, here = here, progress()
                quiet = quiet + wait if here == before else 0.0
                pause = min(2 * pause, patience.most)
            raise NoReply(f"shard '{sender}' has not answered for {patience.silence:g} s")
        finally:
            del self._waiting[request]

    def deliver(self, sender: str, answer: Reply) -> bool:
        """Takes an answer; returns whether it was expected."""
        waiting = self._waiting.get(answer.request)
        if waiting is None or waiting.sender != sender or type(answer) not in waiting.kinds:
            return False
        if not waiting.answer.done():
            waiting.answer.set_result(answer)
        return True


async def together(work: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Returns all results, in order; the first failure cancels the others, and its error is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        await _ended(tasks)


async def _ended(tasks: Collection[asyncio.Future[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
