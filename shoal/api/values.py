"""Checks of the values in a request, before anything uses them.

A value may end up in the log, on disk, in a frame to another shard or on a terminal. Text must therefore be valid
UTF-8, numbers must fit 64 bits, and nesting is limited. An error names the argument, the character and the remedy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from shoal.api.text import fault_in

DEPTH_MAX: Final = 16
NUMBER_MAX: Final = 2**63
SHOWN_MAX: Final = 60


def fault_of(value: Any, where: str, depth: int = 0) -> str:
    """Returns what is wrong with a JSON value, as a sentence that begins with `where`; empty if nothing is wrong.

    >>> fault_of({"a": [1, "caf\\udce9"]}, "params")
    "params.a[1]: character 4 ('\\\\udce9') is the byte E9, which is not UTF-8: give text in UTF-8"
    >>> fault_of({"k" * 500_000: 2**64}, "params").removeprefix("params." + "k" * SHOWN_MAX)
    '...: an integer has at most 64 bits, including its sign'
    >>> fault_of({"a": [1, 2.5, None, True, "é"]}, "params")
    ''
    """
    match value:
        case str():
            fault = fault_in(value)
            return fault and f"{where}: {fault}: give text in UTF-8"
        case bool() | None:
            return ""
        case int():
            return (
                ""
                if -NUMBER_MAX <= value < NUMBER_MAX
                else f"{where}: an integer has at most 64 bits, including its sign"
            )
        case float():
            return ""
        case Mapping() | list() | tuple() if depth >= DEPTH_MAX:
            return f"{where}: is nested deeper than {DEPTH_MAX} levels"
        case Mapping():
            for key, inner in value.items():
                if fault := fault_in(key):
                    return f"{where}: a name in it: {fault}: give text in UTF-8"
                if fault := fault_of(inner, f"{where}.{cut(key)}", depth + 1):
                    return fault
            return ""
        case list() | tuple():
            for number, inner in enumerate(value):
                if fault := fault_of(inner, f"{where}[{number}]", depth + 1):
                    return fault
            return ""
        case _:
            return f"{where}: {type(value).__name__} is not a value of JSON"


def is_finite(value: float) -> bool:
    """Returns whether a number is finite, also as a float."""
    try:
        return math.isfinite(value)
    except OverflowError:  # an int beyond the range of floats
        return False


def cut(text: str) -> str:
    """Returns a text shortened for a message."""
    return text if len(text) <= SHOWN_MAX else text[:SHOWN_MAX] + "..."


def shown(value: object) -> str:
    """Returns a short representation of a value for a message, however large the value is."""
    if isinstance(value, str):
        value = cut(value)
    elif isinstance(value, list | dict) and len(value) > SHOWN_MAX:
        return f"{'a list' if isinstance(value, list) else 'an object'} of {len(value)}"
    elif isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    text = repr(value)
    return text if len(text) <= SHOWN_MAX else text[: SHOWN_MAX - 3] + "..."
