"""Deployed programs: one Python source file each, identified by the SHA-256 of its bytes.

The file defines one public class derived from `shoal.Program`, or several and `PROGRAM = TheOne`. It may import
installed packages but no files next to it. Its code runs in an anonymous module (tracebacks still show its lines), and
the same bytes are the same program everywhere.

    >>> source = b'''
    ... import numpy as np
    ... from shoal import Column, Program
    ... class Zero(Program):
    ...     name = "zero"
    ...     columns = (Column("nothing", np.int64),)
    ...     def start(self, ws): ws.set("nothing", 0)
    ... '''
    >>> program_of(source, "zero.py").name
    'zero'
"""

from __future__ import annotations

import hashlib
import linecache
import re
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from shoal.api.errors import BadProgram
from shoal.program.program import Program

SOURCE_BYTES_MAX: Final = 64 << 10
"""Every shard keeps every deployed program in the replicated log, which has room for programs but not for data."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
FRAMES_TOLD: Final = 4


def digest_of(source: bytes) -> str:
    """Returns the identity of a program: the SHA-256 of its source, in hex."""
    return hashlib.sha256(source).hexdigest()


def read_source(path: str | Path) -> bytes:
    """Reads a program's file. Raises `BadProgram`."""
    try:
        with Path(path).open("rb") as file:
            source = file.read(SOURCE_BYTES_MAX + 1)
    except OSError as error:
        raise BadProgram(f"{path}: cannot be read: {error.strerror}") from error
    text_of(source, str(path))
    return source


def source_of(program: str | Path | type[Program]) -> tuple[bytes, str]:
    """Returns the source to deploy and its file name, from a path or a class."""
    if isinstance(program, str | Path):
        return read_source(program), Path(program).name
    file = getattr(sys.modules.get(program.__module__), "__file__", None)
    if file is None or not str(file).endswith(".py"):
        where = f"program '{program.name}' is defined in {program.__module__}, which has no file"
        raise BadProgram(f"{where}: write it to a file, and deploy that")
    return read_source(file), Path(file).name


def text_of(source: bytes, label: str) -> str:
    """Returns the source as text. Raises `BadProgram` if it is too large or not UTF-8."""
    if len(source) > SOURCE_BYTES_MAX:
        limit = f"at most {SOURCE_BYTES_MAX >> 10} KiB"
        raise BadProgram(
            f"{label}: is too large: a deployed program has {limit}; put data into files, code into packages"
        )
    try:
        return source.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadProgram(f"{label}: is not UTF-8: {error}") from error


def program_of(source: bytes, label: str) -> type[Program]:
    """Executes a source in a new module and returns the program that it defines; `label` is for tracebacks.

    This executes the file's code, so call it on a thread or in a process that may hang. Raises `BadProgram`.
    """
    text, digest = text_of(source, label), digest_of(source)
    module = ModuleType(f"shoal_deployed_{digest}")
    module.__file__ = f"<deployed {label} {digest[:8]}>"
    # Without a modification time, linecache never looks for a file.
    linecache.cache[module.__file__] = (len(text), None, text.splitlines(keepends=True), module.__file__)
    # Dataclasses and type hints look up their module.
    sys.modules[module.__name__] = module
    try:
        exec(compile(text, module.__file__, "exec", dont_inherit=True), vars(module))  # noqa: S102 -- what it is for
        return _defined_in(module, label)
    except BadProgram:
        del sys.modules[module.__name__]
        raise
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise BadProgram(f"{label}: its import fails\n{_told(error)}") from error


def _told(error: BaseException) -> str:
    """Returns the traceback, from the file's first line on."""
    trace = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return "".join(traceback.format_exception(type(error), error, trace, limit=-FRAMES_TOLD)).rstrip()


def _defined_in(module: ModuleType, label: str) -> type[Program]:
    found = {name: value for name, value in vars(module).items() if _is_own(value, module)}
    chosen = vars(module).get("PROGRAM")
    if chosen is not None and not _is_own(chosen, module):
        raise BadProgram(
            f"{label}: PROGRAM is {chosen!r}: it should be a class derived from shoal.Program, of this file"
        )
    public = {value.__name__: value for name, value in found.items() if not name.startswith("_")}
    if chosen is None and len(public) > 1:
        names = sorted(public)
        raise BadProgram(f"{label}: defines {', '.join(names)}: choose one with PROGRAM = {names[0]}")
    if chosen is None and not public:
        raise BadProgram(f"{label}: defines no public class that is derived from shoal.Program")
    program: type[Program] = chosen if chosen is not None else next(iter(public.values()))
    name = getattr(program, "name", None)
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise BadProgram(
            f"{label}: {program.__name__}.name is {name!r}: it should be 1 to 63 letters, digits, '.', '_' or '-'"
        )
    return program


def _is_own(value: Any, module: ModuleType) -> bool:
    return isinstance(value, type) and issubclass(value, Program) and value.__module__ == module.__name__
