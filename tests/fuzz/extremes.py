"""Well-formed messages of any class with extreme field values, generated from type hints and a seed.

Like `tests.fuzz.values`, but without hypothesis, for callers that need tens of thousands of them. The codec accepts
every value, so messages get as far as possible.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from random import Random
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from msgspec import Meta, Struct

from shoal.api.ranges import INT_MAX, Within
from shoal.lockstep.frames import Frames

ANY = Within(-INT_MAX, INT_MAX)
TRIES = 40
SHORT = 300
"""The maximum length of texts and bytes in collections: a message has to fit its header."""
TEXTS = (
    "",
    "x",
    "x" * 255,
    "x" * 60_000,
    "\u0000",
    "\u202e\u200b",
    "\U0010ffff" * 9,
    "é" * 30_000,
    "a/b",
    "../..",
    "%s",
)
BYTES = (b"", b"\0", b"\xff" * 40, bytes(4096), b"\x80" * 60_000, b"\xc1")
FLOATS = (0.0, -0.0, 1e308, -1e308, 5e-324, float("inf"), float("-inf"), float("nan"))


@dataclass(frozen=True)
class Known:
    """Numbers and texts that mean something in the cluster, to be hit by chance."""

    texts: Sequence[str] = ()
    numbers: Sequence[int] = ()
    bytes: Sequence[bytes] = ()


class Extremes:
    """Generates messages; the same seed generates the same ones."""

    def __init__(self, seed: int, known: Known | None = None) -> None:
        self._random = Random(seed)
        self._known = known or Known()
        self._hints: dict[type, Mapping[str, Any]] = {}
        self._inside = 0  # the current depth of nested collections

    def message(self, cls: type) -> Any:
        """Returns a message of this class, or None if the constructor accepts none of the attempts."""
        hints = self._hints.get(cls)
        if hints is None:
            hints = self._hints[cls] = get_type_hints(cls, include_extras=True)
        for _ in range(TRIES):
            try:
                return cls(*(self._value(hints[name]) for name in cls.__struct_fields__))
            except (ValueError, TypeError, AssertionError):
                continue
        return None

    def _value(self, hint: Any, bounds: Within = ANY) -> Any:
        random, origin, args = self._random, get_origin(hint), get_args(hint)
        if hint == Frames:
            return tuple(random.choice(BYTES) for _ in range(random.choice((0, 1, 3, 40))))
        if origin is Annotated:
            bounds = [Within(int(one.ge or 0), int(one.le or 0)) for one in args[1:] if isinstance(one, Meta)]
            return self._value(args[0], *bounds)
        if origin is Literal:
            return random.choice(args)
        if origin in (Union, UnionType):
            return self._value(random.choice(args))
        if origin in (tuple, frozenset):
            return self._collection(origin, args)
        match hint:
            case _ if hint is int:
                return self._number(bounds)
            case _ if hint is bool:
                return random.random() < 0.5
            case _ if hint is float:
                return random.choice(FLOATS)
            case _ if hint is str:
                return self._one_of(self._known.texts, TEXTS)
            case _ if hint is bytes:
                return self._one_of(self._known.bytes, BYTES)
            case _ if hint is None or hint is type(None):
                return None
            case type() if issubclass(hint, Enum):
                return random.choice(list(hint))
            case type() if issubclass(hint, Struct):
                made = self.message(hint)
                if made is None:
                    raise ValueError(f"no {hint.__name__} could be made")
                return made
        return self._value(hint.__supertype__)  # a NewType

    def _one_of(self, known: Sequence[Any], extreme: Sequence[Any]) -> Any:
        if known and self._random.random() < 0.6:
            return self._random.choice(known)
        chosen = self._random.choice(extreme)
        return chosen[:SHORT] if self._inside else chosen

    def _collection(self, origin: Any, args: tuple[Any, ...]) -> Any:
        self._inside += 1
        try:
            return self._collected(origin, args)
        finally:
            self._inside -= 1

    def _collected(self, origin: Any, args: tuple[Any, ...]) -> Any:
        random = self._random
        if origin is tuple and not (len(args) == 2 and args[1] is Ellipsis):
            return tuple(self._value(arg) for arg in args)
        many = random.choice((0, 1, 1, 2, 5, 300 if self._inside == 1 else 3))
        if many > 5:  # the same item repeatedly
            few = [self._value(args[0]) for _ in range(3)]
            return origin(few[n % 3] for n in range(many))
        return origin(self._value(args[0]) for _ in range(many))

    def _number(self, bounds: Within) -> int:
        random = self._random
        within = [n for n in self._known.numbers if bounds.least <= n <= bounds.most]
        if within and random.random() < 0.5:
            return random.choice(within) + random.choice((0, 0, 1)) * (bounds.most > max(within))
        low, high = bounds.least, bounds.most
        near = [n for n in (0, 1, 2, 3, 63, 64, 2**31, 2**32 - 1, 2**53) if low <= n <= high]
        return random.choice((low, min(low + 1, high), max(high - 1, low), high, *near))
