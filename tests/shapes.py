"""Whether a value has the shape that a command declares: every key and no other, all of the declared types."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any


def misfit(value: Any, hint: Any, where: str = "reply") -> str:
    """Returns what about a value is not of a type, as JSON has it; empty if all is.

    >>> misfit({"a": [1, "x"]}, dict[str, list[int]])
    "reply.a[1]: 'x' is no int"
    """
    origin, parameters = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any:
        return ""
    if origin in (typing.Annotated, typing.NotRequired):
        return misfit(value, parameters[0], where)
    if origin in (types.UnionType, typing.Union):
        faults = [misfit(value, each, where) for each in parameters]
        return "" if "" in faults else "; ".join(faults)
    if origin is typing.Literal:
        return "" if value in parameters else f"{where}: {value!r} is none of {parameters}"
    if typing.is_typeddict(hint):
        return _misfit_object(value, hint, where)
    if origin is list:
        if not isinstance(value, list):
            return f"{where}: {value!r} is no list"
        return next((f for i, v in enumerate(value) if (f := misfit(v, parameters[0], f"{where}[{i}]"))), "")
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            return f"{where}: {value!r} is no object"
        keys = (misfit(key, parameters[0], f"{where}, a key") for key in value)
        values = (misfit(v, parameters[1], f"{where}.{k}") for k, v in value.items())
        return next((fault for fault in (*keys, *values) if fault), "")
    if hint is float:
        return "" if type(value) in (float, int) else f"{where}: {value!r} is no float"
    return "" if type(value) is hint else f"{where}: {value!r} is no {getattr(hint, '__name__', hint)}"


def _misfit_object(value: Any, hint: Any, where: str) -> str:
    if not isinstance(value, Mapping):
        return f"{where}: {value!r} is no object"
    hints = typing.get_type_hints(hint, include_extras=True)
    # Not `__required_keys__`: where annotations are not evaluated, it has what is not required, too.
    needed = {
        key for key, each in hints.items() if hint.__total__ and typing.get_origin(each) is not typing.NotRequired
    }
    if missing := needed - value.keys():
        return f"{where}: lacks {sorted(missing)}"
    if more := value.keys() - hints.keys():
        return f"{where}: has {sorted(more)}, which {hint.__name__} does not"
    return next((fault for key, v in value.items() if (fault := misfit(v, hints[key], f"{where}.{key}"))), "")


def shape(value: Any) -> Any:
    """Returns what two replies about the same have in common: keys and types, and of lists what their items share."""
    match value:
        case Mapping():
            return {key: shape(inner) for key, inner in value.items()}
        case list() | tuple():
            shapes = [shape(inner) for inner in value]
            return [inner for i, inner in enumerate(shapes) if inner not in shapes[:i]]
        case bool() | None:
            return type(value).__name__
        case int() | float():
            return "number"
    return type(value).__name__
