"""Installed programs: any distribution may provide some in the entry point group `shoal.programs`."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from shoal.api.errors import UnknownProgram, did_you_mean
from shoal.program.deployed import digest_of
from shoal.program.program import Program

log = logging.getLogger("shoal.programs")


def installed_programs() -> dict[str, type[Program]]:
    """Returns the programs in the entry point group `shoal.programs` by name, without broken ones."""
    found = {}
    for name, entry in sorted(_entries().items()):
        try:
            found[name] = _loaded(entry)
        except UnknownProgram as unknown:
            log.warning("%s", unknown)
    return found


def find_program(name: str, deployed: Iterable[str] = ()) -> type[Program]:
    """Returns the installed program with a name. Raises `UnknownProgram`, with the nearest known name.

    `deployed` are the names of others that could have been meant.
    """
    entries, others = _entries(), sorted(deployed)
    if name not in entries:
        known = f"installed: {', '.join(sorted(entries))}" + (f"; deployed: {', '.join(others)}" if others else "")
        raise UnknownProgram(f"no program is called '{name}'{did_you_mean(name, [*entries, *others])}; {known}")
    return _loaded(entries[name])


def installed_digest(program: type[Program]) -> str:
    """Returns the SHA-256 of the program's file as of the first call; "" if no file can be read.

    It covers only that file: operators must keep what it imports the same on all machines.
    """
    file = getattr(sys.modules.get(program.__module__), "__file__", None)
    return _digest_of_file(file) if file is not None else ""


@cache
def _digest_of_file(path: str) -> str:
    try:
        return digest_of(Path(path).read_bytes())
    except OSError:
        return ""


def is_installed(name: str) -> bool:
    """Returns whether a program of that name is installed, even if it is broken."""
    return name in _entries()


def _entries() -> Mapping[str, EntryPoint]:
    return _entries_on(tuple((folder, _changed_ns(folder)) for folder in sys.path))


@lru_cache(maxsize=1)
def _entries_on(_: tuple[tuple[str, int], ...]) -> Mapping[str, EntryPoint]:
    """Returns the entry points, cached until an installation changes one of the folders (reading all takes 2 ms)."""
    return {entry.name: entry for entry in entry_points(group="shoal.programs")}


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0


def _loaded(entry: EntryPoint) -> type[Program]:
    """Imports one program only, so that other broken programs do no harm."""
    try:
        program = entry.load()
    except Exception as error:  # importing a foreign module may raise anything
        why = f"{type(error).__name__}: {error}"
        raise UnknownProgram(
            f"program '{entry.name}' is installed as {entry.value}, but can't be imported: {why}"
        ) from error
    if not (isinstance(program, type) and issubclass(program, Program)):
        raise UnknownProgram(f"program '{entry.name}' is installed as {entry.value}, which is not a shoal.Program")
    return program
