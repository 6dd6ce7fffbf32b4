"""Commands for programs: list them; write, deploy, show and remove your own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from daemon.cli.declared import taking
from daemon.cli.session import CommandFailed, Session, json_option, words
from daemon.cli.templates import NEEDS, STYLES, file_name, write
from shoal.api.commands.programs import ProgramDeploy, ProgramShow
from shoal.api.errors import BadProgram
from shoal.api.text import LINES, printable


@click.group()
def program() -> None:
    """List, show, write, deploy and remove programs."""


@program.command(help=ProgramShow.contract.summary)
@taking(ProgramShow)
@json_option
@click.pass_obj
def show(session: Session, program: str, source: bool) -> None:
    asked = ProgramShow(program, source)
    if not source or session.as_json:
        session.answer(asked)
        return
    text = session.ask(asked).get("source")
    if text is None:
        raise CommandFailed(
            f"program '{program}' is installed, not deployed: its source is in the daemons' Python environment"
        )
    click.echo(printable(text, LINES) if sys.stdout.isatty() else text, nl=False)


@program.command()
@click.argument("name")
@click.option(
    "--style", type=click.Choice(STYLES), default=STYLES[0], show_default=True, help="The style of the program."
)
@click.option("--out", type=click.Path(path_type=Path), help="The file to write; default: NAME.py.")
@json_option
@click.pass_obj
def new(session: Session, name: str, style: str, out: Path | None) -> None:
    """Write a template for a new program.

    The template is a complete program that runs in this process or on a cluster. No daemon is needed.
    """
    path = out if out is not None else Path(file_name(name))
    try:
        write(name, style, path)
    except BadProgram as error:
        raise CommandFailed(str(error)) from error
    nexts = {
        "try it here": f"python {path}",
        "deploy it": f"shoalctl program deploy {path}",
        "its parameters": f"shoalctl program show {name}",
        "run it": f"shoalctl run start {name} --graph GRAPH --wait{NEEDS.get(style, '')}",
    }
    if session.as_json:
        click.echo(json.dumps({"program": name, "style": style, "file": str(path), "next": nexts}, indent=2))
        return
    click.echo(path)
    words("\n".join(f"{what + ':':<16}{command}" for what, command in nexts.items()))


@program.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def deploy(session: Session, file: Path) -> None:
    """Deploy the program in FILE to all shards; active runs keep the version they began with.

    The file defines one class derived from shoal.Program, or several and PROGRAM = TheOne.
    """
    from shoal.program.deployed import read_source  # imported late: it imports numpy

    try:
        source = read_source(file)
    except BadProgram as error:
        raise CommandFailed(str(error)) from error
    deployed = session.ask(ProgramDeploy(file.name), [source])
    session.show("program deploy", deployed)
