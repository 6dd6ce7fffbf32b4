"""Observes a run on every daemon all the time, while other things happen to them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType

from daemon.cli.dev_cluster import DevShard
from shoal.api.errors import ShoalError
from shoal.client.admin_protocol import AdminConnection

ANSWER_SECONDS = 5.0
PAUSE_SECONDS = 0.03


class Watch:
    """Asserts that each live daemon always answers `run show`, and that its tick never falls within one life.

    Leave out a daemon before it is killed or paused: the silence of all others is a fault.
    """

    def __init__(self, shards: Sequence[DevShard], run: str) -> None:
        self._shards, self._run = set(shards), run
        self._ticks: dict[DevShard, int] = {}
        self._wrong: list[str] = []
        self.answers = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        if error is None:
            assert not self._wrong, self._wrong
            assert self.answers

    def leave_out(self, *shards: DevShard) -> None:
        """Stops polling these."""
        self._shards.difference_update(shards)

    def take_in(self, *shards: DevShard, new_life: bool) -> None:
        """Polls these, too. What one reported in a former life may not have been on its disk."""
        for shard in shards if new_life else ():
            self._ticks.pop(shard, None)
        self._shards.update(shards)

    def _look_on(self) -> None:
        while not self._over.wait(PAUSE_SECONDS):
            for shard in sorted(self._shards, key=lambda shard: shard.number):
                self._look(shard)

    def _look(self, shard: DevShard) -> None:
        try:
            with AdminConnection(shard.socket, ANSWER_SECONDS) as connection:
                shown = connection.call("run show", {"run": self._run})[0]
        except ShoalError as error:
            if shard in self._shards:
                self._wrong.append(f"{shard.name}: {error}")
            return
        before, tick = self._ticks.get(shard, 0), int(shown["tick"])
        if tick < before and shard in self._shards:
            self._wrong.append(f"{shard.name}: tick {tick} after {before}")
        self._ticks[shard] = tick
        self.answers += 1
