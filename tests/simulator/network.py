"""A virtual network of two planes: it delays (and so reorders), loses and repeats messages; links can be cut in one
direction or both.

Messages are the real codec's bytes. Frames are copied when sent, as a socket does, so that a sender that writes into an
array later is detected.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tests.simulator.world import MS, World

CONTROL: Final = "control"
TICKS: Final = "ticks"
PLANES: Final = (CONTROL, TICKS)

Receive = Callable[[str, list[bytes]], None]


@dataclass(frozen=True, slots=True)
class Weather:
    """How bad a plane is. Shares are of messages; delays are uniformly distributed."""

    loss: float = 0.0
    repetition: float = 0.0
    delay_min_ns: int = MS // 10
    delay_max_ns: int = 2 * MS


FAIR = Weather()
LOSSY = Weather(loss=0.2, repetition=0.15, delay_max_ns=5 * MS)


class Network:
    """All links between all hosts."""

    def __init__(self, world: World) -> None:
        self.weather = dict.fromkeys(PLANES, FAIR)
        self.counts: Counter[str] = Counter()
        self._world = world
        self._random = world.random("network")
        self._receivers: dict[str, Receive] = {}
        self._cuts: Counter[tuple[str, str, str]] = Counter()

    def attach(self, name: str, receive: Receive) -> None:
        """Registers the function that receives a host's messages, in all its lives."""
        self._receivers[name] = receive

    def cut(self, plane: str, links: Iterable[tuple[str, str]], by: int = 1) -> None:
        """Cuts links (from, to); cuts add up, and `by=-1` undoes one of each."""
        for sender, to in links:
            self._cuts[plane, sender, to] += by

    def mend_all(self) -> None:
        """Restores fair weather and removes all cuts."""
        self._cuts.clear()
        self.weather = dict.fromkeys(PLANES, FAIR)

    def is_cut(self, plane: str, sender: str, to: str) -> bool:
        return self._cuts[plane, sender, to] > 0

    def send(self, plane: str, sender: str, to: str, frames: Sequence[Any]) -> None:
        """Sends a message, which may arrive late, twice or never."""
        weather, draw = self.weather[plane], self._random.random
        self.counts[f"{plane} sent"] += 1
        if to not in self._receivers or self.is_cut(plane, sender, to):
            self.counts["cut off"] += 1
            return
        copies = 1
        if draw() < weather.loss:
            self.counts["lost"] += 1
            copies = 0
        elif draw() < weather.repetition:
            self.counts["repeated"] += 1
            copies = 2
        copied = [bytes(frame) for frame in frames]
        for _ in range(copies):
            delay = self._random.randint(weather.delay_min_ns, weather.delay_max_ns)
            self._world.after(delay, lambda: self._deliver(plane, sender, to, copied))

    def _deliver(self, plane: str, sender: str, to: str, frames: list[bytes]) -> None:
        if self.is_cut(plane, sender, to):
            self.counts["cut off"] += 1
            return
        self._receivers[to](plane, frames)
