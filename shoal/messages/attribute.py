"""Declarations of a program of messages: attributes of a node, which are a run's columns, and combiners."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from shoal.messages.values import LEAST, MOST
from shoal.program.declarations import Column, Merge


class Attribute:
    """A typed value that every node has: `node.rank`, and column `rank` of the result.

    The default determines the type: float, int or bool. With `null`, the value that stands for none in a result, a
    node's value may be None, which is then also the usual default: `Attribute(None, null=math.inf)`. Raises `TypeError`
    for another type, `ValueError` if `null` is NaN.
    """

    def __init__(self, default: float | int | bool | None, *, null: float | int | None = None, hidden: bool = False):
        told = null if default is None else default
        if type(told) not in (float, int, bool):
            raise TypeError(f"an attribute is a float, an int or a bool, and {default!r} is none of these")
        if null is not None and math.isnan(null):
            raise ValueError("NaN equals nothing, so it can't represent a missing value: use math.inf")
        if null is not None and type(null) is not type(told):
            raise TypeError(f"the default {default!r} and null {null!r} are of two types")
        self.kind: type = type(told)
        self.default, self.null, self.hidden = default, null, hidden
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @property
    def column(self) -> Column:
        """The column in which the run keeps the attribute."""
        dtype = np.float64 if self.kind is float else np.int64
        return Column(self.name, dtype, hidden=self.hidden, null=self.null)

    def read(self, value: Any) -> Any:
        """Returns a value in the attribute's type. Raises `TypeError` or, beyond 64 bits, `ValueError`."""
        if value is None and self.null is not None:
            return None
        if isinstance(value, np.generic):
            value = value.item()
        fits = isinstance(value, float | int) if self.kind is float else isinstance(value, int)
        if not fits or (self.kind is bool and type(value) is not bool):
            raise TypeError(f"attribute '{self.name}' is a {self.kind.__name__}, not {value!r}")
        value = self.kind(value)
        if self.kind is int and not LEAST <= value <= MOST:
            raise ValueError(f"attribute '{self.name}': {value} does not fit an integer of 64 bits")
        return None if self.null is not None and value == self.null else value

    def fits(self, values: list[Any]) -> bool:
        """Returns whether all values are certainly as `read` would return them: the quick check of every tick."""
        if not set(map(type, values)) <= ({self.kind} if self.null is None else {self.kind, type(None)}):
            return False
        if self.null is not None and self.null in values:
            return False
        if self.kind is not int:
            return True
        known = values if self.null is None else [value for value in values if value is not None]
        return not known or LEAST <= min(known) <= max(known) <= MOST

    def stored(self, values: list[Any]) -> np.ndarray[Any, Any]:
        """Returns values of `read` as the column stores them."""
        if self.null is not None:
            values = [self.null if value is None else value for value in values]
        return np.array(values, self.column.dtype)

    def loaded(self, values: np.ndarray[Any, Any]) -> list[Any]:
        """Returns the column's values as nodes have them."""
        plain = [self.kind(value) for value in values.tolist()]
        return plain if self.null is None else [None if value == self.null else value for value in plain]


@dataclass(frozen=True)
class Combine:
    """Replaces a node's messages of a tick by one: their sum, least or greatest, as a float or an int.

    All messages must be numbers. Integers have 64 bits, and their sum wraps around. Raises `ValueError` for another
    merge or type.
    """

    merge: Merge
    kind: type[float] | type[int] = float

    def __post_init__(self) -> None:
        if self.merge not in (Merge.SUM, Merge.MIN, Merge.MAX) or self.kind not in (float, int):
            raise ValueError("messages are combined by sum, min or max, as float or int")

    @property
    def exact(self) -> bool:
        """Whether shards may combine messages before they send them, because the order does not matter."""
        return self.merge is not Merge.SUM or self.kind is int

    @property
    def dtype(self) -> type[np.float64] | type[np.int64]:
        """The numpy type."""
        return np.float64 if self.kind is float else np.int64

    def read(self, value: Any) -> float | int:
        """Returns a message in the type of the combination. Raises `TypeError`."""
        if isinstance(value, np.generic):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, int | float if self.kind is float else int):
            raise TypeError(f"messages are combined as {self.kind.__name__}, not {value!r}")
        return self.kind(value)
