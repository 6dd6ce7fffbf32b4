"""The thread of `daemon.runtime.guard`; what it does is said in native/guard.c."""

from typing import Any

def begin(
    page: Any, wake_ns: int, held_ns_max: int, signal: int, argv: tuple[bytes, ...], manager: bytes, /
) -> None: ...
