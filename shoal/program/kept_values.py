"""Checks the values that nodes and agents keep from tick to tick: plain, and not referenced elsewhere (native/plain.c).

State is saved by value, so a list under two names becomes two lists when a run resumes from a checkpoint. The run
therefore fails in the tick that creates such a list, on any number of shards and with or without checkpoints, instead
of giving another answer after a machine is lost.
"""

from __future__ import annotations

import gc
import inspect
import logging
from copy import deepcopy
from types import CellType, CodeType, FrameType, FunctionType, MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from shoal.kernels import _native

Found: TypeAlias = tuple[int, str, str, object]
ELSEWHERE: Final = "held elsewhere"
CONTAINERS: Final = (list, dict, tuple)
RESUMABLE: Final = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
BETWEEN: Final = (CellType, FunctionType, tuple, list)
HOPS_MAX: Final = 4
HOLDERS_MAX: Final = 50
FUNCTIONS_CLEARED_MAX: Final = 100

HELD_ELSEWHERE: Final = (
    "under another name, by another node or agent, or by the program; each would be a thing of its own once the run"
    " goes on from a checkpoint: keep a copy, such as list(x) or dict(x)"
)


class Unkept(NamedTuple):
    """A value that can't be kept: the index of the dict that holds it, the path to it, and the reason."""

    place: int
    path: str
    why: str


def first_unkept(
    dicts: list[dict[Any, Any]],
    plain: str,
    *,
    held: int = 0,
    skip: str | None = None,
    tuples: bool = True,
    shared: bool = False,
) -> Unkept | None:
    """Returns the first value in any of the dicts that is not plain, or held elsewhere; `plain` says what is.

    `held` is the number of references to each dict itself, including the given list's; 0 skips this check. `skip` is a
    key that is not checked. With `shared`, others may hold the values, because they are copied at once.
    """
    found = _native.plain(dicts, held, skip, tuples, shared)
    if found is not None and ELSEWHERE in found[2]:
        del found  # it would keep a reference to the culprit
        found = _after_letting_go(dicts, (held, skip, tuples, shared))
    if found is None:
        return None
    place, path, why, culprit = found
    if ELSEWHERE in why:
        return Unkept(place, path, f"is a {type(culprit).__name__} and {why.removeprefix('is ')}: {HELD_ELSEWHERE}")
    if why == "is not plain":
        return Unkept(place, path, f"is of type {type(culprit).__name__}; {plain}")
    return Unkept(place, path, why)


def _after_letting_go(dicts: list[dict[Any, Any]], how: tuple[int, str | None, bool, bool]) -> Found | None:
    """Checks again after releasing references that serve no purpose.

    These are held by garbage in cycles (a nested function that calls itself, or an exception held by its own frame), by
    frames of finished calls, which exceptions hold, and by the arguments of log records. Releasing them is slow, so it
    proceeds in steps; the first usually suffices.
    """
    found = None
    for generation in range(3):
        gc.collect(generation)
        found = _native.plain(dicts, *how)
        if found is None or ELSEWHERE not in found[2]:
            return found
        del found
    _copy_logged()
    for _ in range(FUNCTIONS_CLEARED_MAX):
        found = _native.plain(dicts, *how)
        if found is None or ELSEWHERE not in found[2] or not _clear_frames(found[3]):
            return found
        del found
    return _native.plain(dicts, *how)


def _copy_logged() -> None:
    """Replaces the lists and dicts in log records that something keeps (such as pytest) by copies."""
    for record in [each for each in gc.get_objects() if issubclass(type(each), logging.LogRecord)]:
        if isinstance(record.args, tuple):
            record.args = tuple(_copied(each) for each in record.args)
        else:
            record.args = _copied(record.args)


def _copied(value: Any) -> Any:
    try:
        return deepcopy(value) if type(value) in CONTAINERS else value
    except Exception:  # such as read-only dicts; a record only needs their text
        return str(value)


def _clear_frames(culprit: object) -> bool:
    """Clears the frames of finished calls that hold it, and all frames of their functions; returns whether any were.

    Frames that still run, or may resume, as a generator's, refuse or are left alone.
    """
    functions = _functions_behind(culprit)
    if functions:
        for each in gc.get_objects():
            if type(each) is FrameType and each.f_code in functions:
                _is_cleared(each)
        gc.collect()  # their references may have been in cycles
    return bool(functions)


def _functions_behind(culprit: object) -> set[CodeType]:
    """Clears frames that hold it as a variable, through a nested function, or a tuple or a list; returns their code."""
    held = [culprit, *gc.get_referents(culprit)] if type(culprit) is MappingProxyType else [culprit]
    for _ in range(HOPS_MAX):
        holders = gc.get_referrers(*held)
        functions = {each.f_code for each in holders if type(each) is FrameType and _is_cleared(each)}
        held = [each for each in holders if type(each) in BETWEEN and each is not held][:HOLDERS_MAX]
        if functions or not held:
            return functions
    return set()


def _is_cleared(frame: FrameType) -> bool:
    if frame.f_code.co_flags & RESUMABLE:
        return False
    try:
        frame.clear()
    except RuntimeError:  # it is being executed
        return False
    return True
