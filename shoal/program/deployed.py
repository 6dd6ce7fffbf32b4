"""Programs that came as a file and are installed nowhere: one Python source each, known by the SHA-256 of its bytes.

The file defines one public class derived from `shoal.Program`, or several and `PROGRAM = TheOne`. It may import what is
installed where it runs, and nothing beside it: what it needs of its own has to be in it. Its code runs in a module that
no name leads to (its traceback still shows its lines), and the same bytes are the same program everywhere.

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
"""Every shard keeps every deployed program in its log of decisions, where there is room for programs, not for data."""
NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
FRAMES_TOLD: Final = 4


def digest_of(source: bytes) -> str:
    """By what a program is known: the SHA-256 of its source, in hex."""
    return hashlib.sha256(source).hexdigest()


def read_source(path: str | Path) -> bytes:
    """A program's file. Raises `BadProgram`."""
    try:
        with Path(path).open("rb") as file:
            source = file.read(SOURCE_BYTES_MAX + 1)
    except OSError as error:
        raise BadProgram(f"{path}: cannot be read: {error.strerror}") from error
    text_of(source, str(path))
    return source


def source_of(program: str | Path | type[Program]) -> tuple[bytes, str]:
    """The source to deploy and the name of its file: of a path, or of the file that defines a class."""
    if isinstance(program, str | Path):
        return read_source(program), Path(program).name
    file = getattr(sys.modules.get(program.__module__), "__file__", None)
    if file is None or not str(file).endswith(".py"):
        where = f"program '{program.name}' is defined in {program.__module__}, which has no file"
        raise BadProgram(f"{where}: write it to a file, and deploy that")
    return read_source(file), Path(file).name


def text_of(source: bytes, label: str) -> str:
    """The source as text, if it is of a size and an encoding that are taken. Raises `BadProgram`."""
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
    """Run a source in a module of its own and give the program that it defines; `label` is for tracebacks.

    It does what the file does when it is imported: give it a thread or a process that may hang. Raises `BadProgram`.
    """
    text, digest = text_of(source, label), digest_of(source)
    module = ModuleType(f"shoal_deployed_{digest}")
    module.__file__ = f"<deployed {label} {digest[:8]}>"
    # Of no modification time: linecache then never looks for a file.
    linecache.cache[module.__file__] = (len(text), None, text.splitlines(keepends=True), module.__file__)
    # Dataclasses and type hints look their module up; nobody else knows its name.
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
    """The traceback, from the file's own lines on."""
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
