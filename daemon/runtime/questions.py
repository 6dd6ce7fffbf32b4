"""The questions of other shards that this one is answering: limited per peer and in total, and each only once."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Coroutine
from typing import Any, Final

from daemon.observe.metrics import Metrics
from daemon.runtime.messenger import Messenger
from daemon.runtime.service import Service
from daemon.state.commands import Identity
from daemon.store import NoRoom, NotHeld, StoreFailed

log = logging.getLogger("shoal.questions")

ANSWERING_MAX: Final = 256
ANSWERING_PEER_MAX: Final = 64
"""Per peer: an answer may be much larger than its question. Further ones are dropped; the peer can ask again."""


class Questions:
    """One host's questions. `spawn` runs a task beside the loop's turns."""

    def __init__(
        self, messenger: Messenger, metrics: Metrics, spawn: Callable[[Coroutine[Any, Any, None]], object]
    ) -> None:
        self._messenger, self._metrics, self._spawn = messenger, metrics, spawn
        self._asked: set[tuple[str, type, str]] = set()
        self._of_peer: Counter[str] = Counter()

    def take(self, asker: Identity, question: Any, service: Service[Any, Any]) -> None:
        """Lets a service answer a question, unless it is already doing so: peers repeat a question until answered."""
        key = asker.name, type(question), question.request
        if key in self._asked:
            return
        if len(self._asked) >= ANSWERING_MAX or self._of_peer[asker.name] >= ANSWERING_PEER_MAX:
            self._messenger.refuse("busy", asker.name)
            return
        self._asked.add(key)
        self._of_peer[asker.name] += 1
        self._spawn(self._answer(asker, question, service, key))

    async def _answer(
        self, asker: Identity, question: Any, service: Service[Any, Any], key: tuple[str, type, str]
    ) -> None:
        """Answers a question, which changes nothing here: an exception fails it alone, unless the disk has failed."""
        try:
            answer = await service.on_message(asker, question)
            if answer is not None:
                self._messenger.send(asker.name, answer)
        except Exception as error:
            if isinstance(error, StoreFailed) and not isinstance(error, NotHeld | NoRoom):
                raise
            self._metrics.dropped("unanswerable")
            log.warning("%s of shard %s can't be answered", type(question).__name__, asker.name, exc_info=True)
        finally:
            self._asked.discard(key)
            self._of_peer[asker.name] -= 1
            if not self._of_peer[asker.name]:
                del self._of_peer[asker.name]
