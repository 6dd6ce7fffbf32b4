"""Round-robin over a random order (SWIM section 4.3).

Each name comes up once per round, so a failed member is probed at most 2n - 1 periods after the previous probe ("time
bounded strong completeness"). A new name enters at a random place; each round ends with a new random order. Gossip uses
an order of its own for its targets: it sends a record only a few times, and never twice to the same member.

>>> order = RoundRobin(Random(1))
>>> for name in "abc":
...     order.add(name)
>>> sorted(order.several(3))
['a', 'b', 'c']
"""

from __future__ import annotations

from random import Random


class RoundRobin:
    """An iterator over names in a random order. Invariants: no name twice; 0 <= next <= length."""

    __slots__ = ("_names", "_next", "_random")

    def __init__(self, random: Random) -> None:
        self._random = random
        self._names: list[str] = []
        self._next = 0

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def add(self, name: str) -> None:
        place = self._random.randint(0, len(self._names))
        self._names.insert(place, name)
        if place < self._next:  # it waits for the next round, and no name comes up twice in this one
            self._next += 1

    def remove(self, name: str) -> None:
        place = self._names.index(name)
        del self._names[place]
        if place < self._next:
            self._next -= 1

    def next(self) -> str | None:
        if not self._names:
            return None
        if self._next >= len(self._names):
            self._random.shuffle(self._names)
            self._next = 0
        self._next += 1
        return self._names[self._next - 1]

    def several(self, count: int) -> list[str]:
        """Returns the next ``count`` different names, or all names if there are fewer."""
        chosen: list[str] = []
        while len(chosen) < min(count, len(self._names)):
            name = self.next()
            if name is not None and name not in chosen:
                chosen.append(name)
        return chosen

    def validate(self, names: list[str]) -> None:
        assert sorted(self._names) == names, "the order is exactly the other live members"
        assert 0 <= self._next <= len(self._names)
