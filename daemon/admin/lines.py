"""The lines of the admin socket: bytes to requests, replies to bytes. See `daemon.admin.server` for the protocol."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from shoal.api.errors import Usage
from shoal.api.text import LINES, printable

PLAIN_BYTES_MAX: Final = 4096
"""The limit for typed words; splitting them is quadratic in their length, and takes a millisecond at this one."""
VALUES_MAX: Final = 8192
"""The limit for values in a JSON request; so many take a few milliseconds to parse and check."""
TEXTS_BYTES_MAX: Final = 128 * 1024
DIGITS_MAX: Final = 400
_TEXT: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')

ID_CHARACTERS_MAX: Final = 64
Tag = Mapping[str, int | str]
"""Added to each line of a reply: the `id` of the request, if it has one."""
NO_TAG: Final[Tag] = MappingProxyType({})


ID_RULE: Final = f"id should be a whole number below 2^63 or text of at most {ID_CHARACTERS_MAX} characters"


def tag_of(said: Mapping[str, Any]) -> Tag | None:
    """Returns the tag for all replies to this request; None if its id can't be repeated."""
    match said.get("id"):
        case None:
            return {}
        case int() | str() as number if not isinstance(number, bool) and _is_short(number):
            return {"id": number}
    return None


def _is_short(number: int | str) -> bool:
    return len(number) <= ID_CHARACTERS_MAX if isinstance(number, str) else abs(number) < 2**63


def json_error(kind: str, message: str, what: str = "", tag: Tag = NO_TAG) -> bytes:
    error = {"kind": kind, "message": message}
    if what:
        error["what"] = what
    return encoded({"ok": False, "error": error, **tag})


def plain_error(kind: str, message: str, _: str = "", __: Tag = NO_TAG) -> bytes:
    return f"{kind}: {printable(message, LINES)}\n\n".encode()


def text_of(line: bytes) -> str:
    if len(line) > PLAIN_BYTES_MAX:
        raise Usage(f"a line of plain words has at most {PLAIN_BYTES_MAX} bytes: send JSON")
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise Usage("that line is not UTF-8") from None


def json_object(line: bytes) -> Mapping[str, Any]:
    if _values_in(line) > VALUES_MAX:
        raise Usage(f"a request has at most {VALUES_MAX} values: send data as frames")
    try:
        said = json.loads(line, parse_int=_whole_number)
    except RecursionError:
        raise Usage("that line is nested too deep") from None
    except ValueError as error:
        raise Usage(f"that line is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise Usage("a request is a JSON object")
    return said


def _values_in(line: bytes) -> int:
    """Returns an upper bound: each value but the first follows one of these marks. Inside texts, marks don't count."""
    count = sum(line.count(mark) for mark in (b",", b"[", b"{"))
    if count <= VALUES_MAX or len(line) > TEXTS_BYTES_MAX:
        return count
    return _values_in(_TEXT.sub(b"", line)) if line.count(b'"') > 1 else count


def _whole_number(digits: str) -> int:
    if len(digits) > DIGITS_MAX:
        raise ValueError("an integer has at most 64 bits, including its sign")
    return int(digits)


def encoded(answer: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(answer, default=_plain, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(answer), default=_plain)
    return text.encode() + b"\n"


def _plain(value: object) -> object:
    """Converts numpy's numbers to Python's."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _finite(value: Any) -> Any:
    """Replaces numbers that JSON lacks by text."""
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
