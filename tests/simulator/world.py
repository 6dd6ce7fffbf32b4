"""Virtual time: one queue of events, one seed, and a trace for comparing two runs of a seed.

Nothing in the simulator reads the machine's time or randomness; `World.random` returns a separate source for each
purpose, so that drawing more for one does not change what the others draw.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from random import Random

US, MS, SECOND = 1_000, 1_000_000, 1_000_000_000
UNIX_EPOCH_NS = 1_700_000_000 * SECOND
"""The wall clock at the beginning."""
EVENTS_MAX = 3_000_000
"""A scenario has some ten thousand; one that reaches this runs in circles."""


class World:
    """The clock and all future events."""

    traces = True
    """Whether the fingerprint includes each frame that arrives; soaks omit them."""

    def __init__(self, seed: int, verbose: bool = False) -> None:
        self.seed, self.verbose = seed, verbose
        self.now = 0
        self.events = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._numbered = 0
        self._trace = blake2b(digest_size=16)
        self.process: Callable[[], AbstractContextManager[None]] = nullcontext
        """The context in which simulated code runs."""
        self.failure: BaseException | None = None
        """The error that must end the scenario, wherever it was raised."""

    def random(self, purpose: str) -> Random:
        """Returns a separate source for each purpose. Strings seed by their SHA-512, which no interpreter salts."""
        return Random(f"{self.seed} {purpose}")

    def at(self, due: int, action: Callable[[], None]) -> None:
        """Schedules an action at a time; actions at the same time run in the order of these calls."""
        self._numbered += 1
        heapq.heappush(self._queue, (max(due, self.now), self._numbered, action))

    def after(self, delay: int, action: Callable[[], None]) -> None:
        """Schedules an action after a delay."""
        self.at(self.now + delay, action)

    def run(self, duration: int) -> None:
        """Lets time pass."""
        end = self.now + duration
        with self.process():
            while self._queue and self._queue[0][0] <= end:
                self.now, _, action = heapq.heappop(self._queue)
                self.events += 1
                assert self.events < EVENTS_MAX, "the simulated cluster does not come to rest"
                action()
                if self.failure is not None:
                    raise self.failure
        self.now = end

    def run_until(self, done: Callable[[], bool], limit: int, every: int = 50 * MS) -> bool:
        """Lets time pass until something holds, at most `limit`; returns whether it does."""
        end = self.now + limit
        while not done():
            if self.now >= end:
                return False
            self.run(every)
        return True

    def tell(self, line: str, data: bytes = b"") -> None:
        """Adds to the trace; `data` counts in the comparison but is not shown."""
        self._trace.update(f"{self.now} {line}\n".encode())
        self._trace.update(data)
        if self.verbose:
            print(f"{self.now / SECOND:11.6f}  {line}", flush=True)

    @property
    def fingerprint(self) -> str:
        """Returns the fingerprint of everything told so far: equal for equal runs."""
        return self._trace.hexdigest()
