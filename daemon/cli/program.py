"""Programs: what can be run, and bringing, showing and removing programs of one's own."""

from __future__ import annotations

from pathlib import Path

import click

from daemon.cli.session import Said, Session, json_option


@click.group()
def program() -> None:
    """The programs that can be run: list, show, deploy, remove."""


@program.command("list")
@json_option
@click.pass_obj
def list_programs(session: Session) -> None:
    """Programs, their parameters and the columns they compute."""
    session.answer("program list")


@program.command()
@click.argument("name")
@click.option("--source", is_flag=True, help="Print the source of a deployed one, and nothing else.")
@json_option
@click.pass_obj
def show(session: Session, name: str, source: bool) -> None:
    """One program: parameters, columns, digest, and which versions runs still use."""
    if not source or session.as_json:
        session.answer("program show", {"program": name, "source": source or None})
        return
    click.echo(session.ask("program show", {"program": name, "source": True})["source"], nl=False)


@program.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@json_option
@click.pass_obj
def deploy(session: Session, file: Path) -> None:
    """Have every shard keep the program that FILE defines; runs that go on keep the version they began with.

    The file defines one class derived from shoal.Program, or several and PROGRAM = TheOne.
    """
    from shoal.deployed import read_source
    from shoal.errors import BadProgram

    try:
        source = read_source(file)
    except BadProgram as error:
        raise Said(str(error)) from error
    session.show("program deploy", session.ask("program deploy", {"file": file.name}, [source]))


@program.command()
@click.argument("name")
@json_option
@click.pass_obj
def remove(session: Session, name: str) -> None:
    """No run can be started with a deployed program any more; refused while one goes on."""
    session.answer("program remove", {"program": name})
