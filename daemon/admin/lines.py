"""Lines of the admin socket: bytes to requests, answers to bytes. See `daemon.admin.server` for the protocol."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from daemon.admin.commands import Usage

ID_CHARACTERS_MAX: Final = 64
Tag = Mapping[str, int | str]
"""What is put into each line of an answer: the `id` of the request, if it has one."""
NO_TAG: Final[Tag] = MappingProxyType({})


ID_RULE: Final = f"id should be a whole number below 2^63 or text of at most {ID_CHARACTERS_MAX} characters"


def tag_of(said: Mapping[str, Any]) -> Tag | None:
    """The tag for all that is said to this request; None if its id is none that could be given back."""
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
    return f"{kind}: {message}\n\n".encode()


def text_of(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        raise Usage("that line is not UTF-8") from None


def json_object(line: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Usage(f"that line is not JSON: {error}") from None
    if not isinstance(said, dict):
        raise Usage("a request is a JSON object")
    return said


def encoded(answer: Mapping[str, Any]) -> bytes:
    try:
        text = json.dumps(answer, default=_plain, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(answer), default=_plain)
    return text.encode() + b"\n"


def _plain(value: object) -> object:
    """Numbers of numpy as Python's."""
    return value.item() if isinstance(value, np.generic) else str(value)


def _finite(value: Any) -> Any:
    """The same with numbers that JSON does not have as text."""
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return str(float(value))
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(inner) for inner in value]
    return value
