"""Generates the sections of docs/commands.md that are derived from the declarations of commands.

python -m daemon.cli.reference           # exits with 1 if the page is out of date
python -m daemon.cli.reference --write
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import click

from daemon.cli import main
from shoal.api.commands import CONTRACTS
from shoal.api.reference import filled, reference

PAGE: Final = Path(__file__).parents[2] / "docs" / "commands.md"


def commands(group: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yields every command of shoalctl under its full name."""
    if isinstance(group, click.Group):
        for name, command in group.commands.items():
            yield from commands(command, (*path, name))
    else:
        yield " ".join(path), group


def table() -> str:
    """Returns the table of shoalctl's commands."""
    rows = ["| command | what it does | options |", "| --- | --- | --- |"]
    for name, command in sorted(commands(main), key=lambda each: _place(each[0])):
        arguments = [_metavar(each) for each in command.params if isinstance(each, click.Argument)]
        options = [max(each.opts, key=len) for each in command.params if isinstance(each, click.Option)]
        shown = ", ".join(f"`{option}`" for option in options if option != "--json") or "–"
        summary = (command.help or "").partition("\n\n")[0]
        rows.append(f"| `{' '.join([name, *arguments])}` | {' '.join(summary.split())} | {shown} |")
    return "\n".join(rows)


def _place(name: str) -> float:
    """Returns a command's place in the table: the order of admin commands, the others after their group."""
    known = [contract.name for contract in CONTRACTS]
    if name in known:
        return known.index(name)
    kin = [place for place, other in enumerate(known) if other.split()[0] == name.split()[0]]
    return kin[-1] + 0.5 if kin else len(known)


def _metavar(argument: click.Argument) -> str:
    name = argument.metavar or str(argument.name).upper() + ("..." if argument.nargs == -1 else "")
    return name if argument.required or name.startswith("[") else f"[{name}]"


def page() -> str:
    """Returns the page as it should be."""
    return filled(PAGE.read_text("utf-8"), {"shoalctl": table(), "commands": reference(CONTRACTS)})


if __name__ == "__main__":
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page(), "utf-8")
    elif page() != PAGE.read_text("utf-8"):
        sys.exit(f"{PAGE} is out of date: python -m daemon.cli.reference --write")
