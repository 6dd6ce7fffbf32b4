"""Parameters of a program, read from the values that an operator or a script passes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from shoal.api.errors import BadParameter

if TYPE_CHECKING:
    from shoal.program.program import Program

T = TypeVar("T")
VALUE_CHARACTERS_MAX = 80
"""Characters of a value in an error."""


class Param(Generic[T]):
    """A parameter of a program: a typed attribute with a default, a description and bounds (inclusive).

    On the wire and on a command line it is text or a number; `read` converts it to the attribute's type. A parameter
    with `node` is the id of a node and is required; a run on a graph without that node fails before its first tick.
    """

    def __init__(
        self,
        default: T,
        doc: str,
        *,
        kind: type | None = None,
        least: float | None = None,
        most: float | None = None,
        node: bool = False,
    ) -> None:
        self.default, self.doc, self.least, self.most, self.node = default, doc, least, most, node
        self.kind: type = kind or type(default)
        self.name = ""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, instance: None, owner: type) -> Param[T]: ...
    @overload
    def __get__(self, instance: Program, owner: type) -> T: ...
    def __get__(self, instance: Program | None, owner: type) -> Param[T] | T:
        return self if instance is None else instance.params.get(self.name, self.default)

    def read(self, given: Any) -> T:
        """Returns a value in the attribute's type. Raises `BadParameter` for another type or a value out of bounds."""
        if given is None and self.default is None:
            return self.default
        try:
            value = self._convert(given)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            shown = f"{given!r}"[:VALUE_CHARACTERS_MAX]
            raise BadParameter(f"parameter '{self.name}': {shown} is not {_article(self.kind)}") from error
        if self.kind in (int, float):
            self._check_bounds(value)
        return value  # type: ignore[no-any-return]

    def _convert(self, given: Any) -> Any:
        if self.kind is bool:
            if isinstance(given, bool):
                return given
            return {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[str(given).lower()]
        if isinstance(given, bool) or (self.kind is int and isinstance(given, float) and not given.is_integer()):
            raise TypeError(given)
        return self.kind(given)

    def _check_bounds(self, value: float) -> None:
        below = self.least is not None and not value >= self.least
        above = self.most is not None and not value <= self.most
        if below or above or math.isnan(value):
            low = "" if self.least is None else f" from {self.least:g}"
            high = "" if self.most is None else f" up to {self.most:g}"
            raise BadParameter(f"parameter '{self.name}': {value!r} is out of bounds; give a value{low}{high}")


def _article(kind: type) -> str:
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    return words.get(kind, kind.__name__)
