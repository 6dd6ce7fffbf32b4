"""A program's failure as its author reads it: the traceback, without the daemon's way to the program."""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

from daemon.host import interruption
from shoal.execution import engine
from shoal.reading import tables

FRAMES: Final = 8
"""Of a traceback the end says most."""
WAYS: Final = tuple(str(module.__file__) for module in (engine, interruption, tables))
HOST: Final = str(__file__).rpartition("/")[0] + "/"


def below_us(trace: TracebackType | None) -> TracebackType | None:
    """The part of a traceback that is the program's; the last frame of all, if none is."""
    while trace is not None and trace.tb_next is not None and _is_ours(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def told(error: BaseException) -> str:
    """The traceback of what a program has raised, from its own first line on."""
    lines = traceback.format_exception(type(error), error, below_us(error.__traceback__), limit=-FRAMES)
    return "".join(lines)


def _is_ours(file: str) -> bool:
    return file in WAYS or file.startswith(HOST)
