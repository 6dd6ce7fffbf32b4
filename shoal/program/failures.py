"""A program's failure as its author reads it: the method that failed, the node if it is known, and the traceback.

The traceback begins with the program's own first line, without the host's way there; for programs of messages and
colonies that is the library's line that runs them.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from types import TracebackType
from typing import Final

from shoal.api.errors import BadParameter, ProgramFailed, ShoalError, class_name, from_answer, node_told
from shoal.api.text import encodable
from shoal.program.phase import Phase

FRAMES: Final = 8
"""The maximum length of a traceback, whose end is kept."""
HOSTS: Final = ("shoal.client.local", "shoal.lockstep", "shoal.engine.engine", "shoal.query.tables", "daemon.")
"""Prefixes of the names of modules that call programs."""
BEFORE: Final = frozenset({"prepare", "start", "load", "resume"})
AFTER: Final = frozenset({"halted", "collect", "save"})
"""Methods of a program other than phases: those called before the first tick here, and those called after any tick."""


def phase_place(phase: Phase, tick: int) -> str:
    """Returns a phase as text.

    >>> phase_place(Phase.DECAY, 7), phase_place(Phase.ADVANCE, 0)
    ('decay of tick 7', 'start of the run')
    """
    return f"{phase.word} of tick {tick}" if tick else "start of the run"


def place(error: BaseException, tick: int, otherwise: str) -> str:
    """Returns where an exception was raised: the name of a method that is not a phase, or else the place that the host
    knows.
    """
    trace = below_hosts(error.__traceback__)
    method = trace.tb_frame.f_code.co_name if trace is not None else ""
    if method in BEFORE:
        return f"{method} of the run" if tick == 0 else f"{method} of the run, to go on after tick {tick},"
    return f"{method} after tick {tick}" if method in AFTER else otherwise


def disagreement(tick: int, other: str) -> str:
    """Returns the error of a program that ends on one shard and not on another."""
    return (
        f"halted after tick {tick} says that the run is over, and on shard {other} it does not: it may use "
        "aggregates and parameters only, not randomness, a clock, or data of one shard"
    )


def failure(error: BaseException, where: str, characters_max: int | None = None) -> str:
    """Returns the message of a run's failure, as encodable text. A long traceback is cut to its end."""
    told = encodable(f"{where} failed{node_told(error)}")
    if isinstance(error, BadParameter):  # for the user who started the run, without lines of the program
        return f"{told}: {words_of(error)}"
    return f"{told}\n{traceback_of(error)[-characters_max if characters_max else None :]}"


def refusal(what: str, error: Exception) -> ShoalError:
    """Returns what to raise for an exception of a program's own code outside of a run: none of its classes, and its
    words only if they can be shown."""
    if not isinstance(error, ShoalError):
        return ProgramFailed(f"{what} can't be made: {type(error).__name__}: {words_of(error)}")
    return from_answer("refused", class_name(error), words_of(error))


def unreadable(what: str, error: Exception) -> ProgramFailed:
    """Returns what to raise for an exception of a program's own code while something is read of its run."""
    if isinstance(error, ShoalError):
        return ProgramFailed(words_of(error))
    return ProgramFailed(f"{what} can't be read\n{traceback_of(error)}".rstrip())


def words_of(error: BaseException) -> str:
    """Returns the message of an exception; its class may be the program's own and fail to produce one."""
    try:
        return encodable(str(error))
    except Exception as again:
        return f"{type(error).__name__}, which can't be shown: {type(again).__name__}"


def traceback_of(error: BaseException) -> str:
    """Returns the traceback of a program's exception from the program's first line on, as encodable text."""
    frames = below_hosts(error.__traceback__)
    return encodable("".join(traceback.format_exception(type(error), error, frames, limit=-FRAMES)))


def below_hosts(trace: TracebackType | None) -> TracebackType | None:
    """Returns the program's part of a traceback, or the last frame if no frame is the program's."""
    while trace is not None and trace.tb_next is not None and _is_host(trace):
        trace = trace.tb_next
    return trace


def _is_host(trace: TracebackType) -> bool:
    return str(trace.tb_frame.f_globals.get("__name__", "")).startswith(HOSTS)


def told_once(failures: Sequence[str]) -> str:
    """Merges the messages of several shards: each follows its shard's name, equal ones follow all their shards' names.

    >>> told_once(["a: it broke", "b: it fell", "c: it broke"])
    'a, c: it broke\\nb: it fell'
    """
    shards: dict[str, list[str]] = {}
    for failure in failures:
        shard, _, told = failure.partition(": ")
        shards.setdefault(told, []).append(shard)
    return "\n".join(f"{', '.join(names)}: {told}" for told, names in shards.items())
