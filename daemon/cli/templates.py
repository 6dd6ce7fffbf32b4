"""Writes new programs from the packaged templates, with the user's name filled in.

A template (shoal/templates) is a complete program, so it is linted and tested like any other code. Three words are
replaced: `Template`, its class; ``"template"``, the name of the program; and FILE.

    >>> class_name("heat-spread", taken=())
    'HeatSpread'
    >>> class_name("column", taken=("Column",))
    'ColumnProgram'
    >>> class_name("3-hops", taken=())
    'Program3Hops'
"""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import re
from collections.abc import Container
from importlib.resources import files
from pathlib import Path
from typing import Final

from shoal.api.errors import BadProgram

STYLES: Final = ("vectorized", "messages", "colony")
"""Each style has a template and a page in docs/."""
NEEDS: Final = {"messages": " --param source=NODE", "colony": "    # its nodes need a column 'topic'"}
"""What a template needs to run on any graph."""


def file_name(name: str) -> str:
    """Returns the file name for a program, which Python can also import."""
    return re.sub(r"[.-]", "_", name) + ".py"


def class_name(name: str, taken: Container[str]) -> str:
    """Returns the class name for a program, different from all names in `taken`."""
    joined = "".join(word[:1].upper() + word[1:] for word in re.split(r"[._-]+", name))
    if not joined.isidentifier():
        joined = f"Program{joined}"
    return f"{joined}Program" if joined in taken or keyword.iskeyword(joined) or hasattr(builtins, joined) else joined


def text_for(name: str, style: str, path: Path) -> str:
    """Returns the text of a new program's file."""
    template = files("shoal").joinpath("templates", f"{style}.py").read_text("utf-8")
    own = class_name(name, taken=set(re.findall(r"\w+", template)) - {"Template"})
    filled = {"Template": own, '"template"': f'"{name}"', "python FILE": f"python {path.name}"}
    return re.sub(r"\bTemplate\b|\"template\"|\bpython FILE\b", lambda found: filled[found[0]], template)


def write(name: str, style: str, path: Path) -> None:
    """Writes a program to a new file, and never overwrites one. Raises `BadProgram`."""
    _check(name, path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text_for(name, style, path))
    except FileExistsError:
        raise BadProgram(f"{path} already exists and was not changed: choose another file with --out") from None
    except OSError as error:
        raise BadProgram(f"{path}: cannot be written: {error.strerror}") from error


def _check(name: str, path: Path) -> None:
    """Raises `BadProgram` for a name that would be refused when the program is deployed."""
    from shoal.program.deployed import NAME  # numpy comes with it
    from shoal.program.installed import is_installed

    if not NAME.fullmatch(name):
        letters = "1 to 63 letters, digits, '.', '_' or '-', a letter or digit first"
        raise BadProgram(f"{name!r} can't be the name of a program: use {letters}")
    if is_installed(name):
        raise BadProgram(f"a program called '{name}' is already installed here: choose another name")
    if path.exists():
        return  # checked again when the file is opened, because it may appear meanwhile
    if path.stem.isidentifier() and importlib.util.find_spec(path.stem) is not None:
        raise BadProgram(
            f"{path}: Python has a module '{path.stem}', which this file would hide: choose another file with --out"
        )
