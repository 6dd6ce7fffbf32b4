"""Lists, dicts and sets in the class of an agent that no record could hold, such as `moves = [(0, 1), (1, 0)]`.

All agents of a process would share such a value, and changes to it would be lost when the run resumes elsewhere. They
therefore stay in the class as read-only constants, and changing one is an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

LIST_CHANGES: Final = (
    *("append", "extend", "insert", "remove", "pop", "clear", "sort", "reverse"),
    *("__setitem__", "__delitem__", "__iadd__", "__imul__"),
)
DICT_CHANGES: Final = (
    *("pop", "popitem", "clear", "setdefault", "update"),
    *("__setitem__", "__delitem__", "__ior__"),
)


def constant(value: Any) -> Any:
    """Returns a read-only equivalent whose contents are read-only, too; other values are returned unchanged."""
    made: Callable[[Any], Any] | None = _CONSTANTS.get(type(value))
    return value if made is None else made(value)


def _refuse(self: object, *_: object, **__: object) -> NoReturn:
    raise TypeError(
        "a list or dict in the class of an agent belongs to all agents, and this one holds what no agent can remember:"
        " it can't be changed; give each agent one of its own, of plain values"
    )


_LIST = type("list", (list,), {"__slots__": (), **dict.fromkeys(LIST_CHANGES, _refuse)})
_DICT = type("dict", (dict,), {"__slots__": (), **dict.fromkeys(DICT_CHANGES, _refuse)})
_CONSTANTS: Final[dict[type, Callable[[Any], Any]]] = {
    list: lambda value: _LIST(map(constant, value)),
    tuple: lambda value: tuple(map(constant, value)),
    dict: lambda value: _DICT((key, constant(each)) for key, each in value.items()),
    set: frozenset,
}
