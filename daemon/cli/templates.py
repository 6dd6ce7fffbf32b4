"""Files to begin a program from: the packaged templates, with a name of one's own filled in.

A template (shoal/templates) is a program that runs as it stands, so that it is checked like any other code. It becomes
somebody's own by three words: `Template`, its class; ``"template"``, the name under which it is run; and FILE.

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
"""Each has a template, and a page of docs/."""
NEEDS: Final = {"messages": " --param source=NODE"}
"""What a template has to be told to run on a graph of somebody else's."""


def file_name(name: str) -> str:
    """The file for a program of that name: one that Python could also import."""
    return re.sub(r"[.-]", "_", name) + ".py"


def class_name(name: str, taken: Container[str]) -> str:
    """The class for a program of that name, unlike any word that is taken."""
    joined = "".join(word[:1].upper() + word[1:] for word in re.split(r"[._-]+", name))
    if not joined.isidentifier():
        joined = f"Program{joined}"
    return f"{joined}Program" if joined in taken or keyword.iskeyword(joined) or hasattr(builtins, joined) else joined


def text_for(name: str, style: str, path: Path) -> str:
    """The text of a new program's file."""
    template = files("shoal").joinpath("templates", f"{style}.py").read_text("utf-8")
    own = class_name(name, taken=set(re.findall(r"\w+", template)) - {"Template"})
    filled = {"Template": own, '"template"': f'"{name}"', "python FILE": f"python {path.name}"}
    return re.sub(r"\bTemplate\b|\"template\"|\bpython FILE\b", lambda found: filled[found[0]], template)


def write(name: str, style: str, path: Path) -> None:
    """Begin a program in a new file; one that is there stays as it is. Raises `BadProgram`."""
    _check(name, path)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text_for(name, style, path))
    except FileExistsError:
        raise BadProgram(f"{path} is there already, and stays as it is: name another file with --out") from None
    except OSError as error:
        raise BadProgram(f"{path}: cannot be written: {error.strerror}") from error


def _check(name: str, path: Path) -> None:
    """Refuse now what would be refused later, when there is code in it."""
    from shoal.program.deployed import NAME  # numpy comes with it
    from shoal.program.installed import is_installed

    if not NAME.fullmatch(name):
        letters = "1 to 63 letters, digits, '.', '_' or '-', a letter or digit first"
        raise BadProgram(f"{name!r} can't be the name of a program: that has {letters}")
    if is_installed(name):
        raise BadProgram(f"a program called '{name}' is installed here: give yours another name")
    if path.exists():
        return  # and is told of where it is opened, for it may come meanwhile, too
    if path.stem.isidentifier() and importlib.util.find_spec(path.stem) is not None:
        raise BadProgram(
            f"{path}: Python has a module '{path.stem}', which would be hidden by it: name another file with --out"
        )
