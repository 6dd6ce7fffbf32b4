"""Questions to members and their answers: asked again while nothing comes, ever more rarely, for a while."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from shoal.api.errors import Failed

PATIENCE_SECONDS = (1.0, 2.0, 4.0, 8.0)
"""After the first question and each one that repeats it. An answer that is only slow comes once for each of them."""
GIVE_UP_SECONDS = sum(PATIENCE_SECONDS)


class Asking:
    """What one shard is waiting for. `send` hands a message to a member's control plane.

    A question has a field `request`, and the answer has the same one; a question may be asked twice.
    """

    def __init__(self, send: Callable[[str, object], None]) -> None:
        self._send = send
        self._waiting: dict[tuple[str, str], asyncio.Future[Any]] = {}

    async def ask(self, member: str, question: Any) -> Any:
        """A member's answer. Raises `Failed` if none comes."""
        request = uuid.uuid4().hex
        asked = replace(question, request=request)
        waiting = self._waiting[member, request] = asyncio.get_running_loop().create_future()
        try:
            for patience in PATIENCE_SECONDS:
                self._send(member, asked)
                done, _ = await asyncio.wait([waiting], timeout=patience)
                if done:
                    return waiting.result()
            raise Failed(f"shard '{member}' has not answered for {GIVE_UP_SECONDS:.0f} s")
        finally:
            del self._waiting[member, request]

    def told(self, sender: str, answer: Any) -> None:
        """An answer has come; one that nobody waits for is dropped."""
        waiting = self._waiting.get((sender, answer.request))
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)
