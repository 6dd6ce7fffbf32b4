"""Founding a cluster; taking the daemon that is asked out of it and back in, and copying what the cluster keeps."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click

from daemon.cli.progress import followed
from daemon.cli.session import Session, json_option


@click.command()
@json_option
@click.pass_obj
def found(session: Session) -> None:
    """Found a cluster with this shard alone, where none of those that wait for one founds it by itself."""
    session.answer("found")


@click.command()
@json_option
@click.pass_obj
def drain(session: Session) -> None:
    """Hand all that this shard holds to the others; it stays up and takes no more."""
    session.show("drain", followed(session, "drain"))


@click.command()
@json_option
@click.pass_obj
def leave(session: Session) -> None:
    """Drain this shard, say goodbye and end its daemon."""
    session.show("leave", followed(session, "leave"))


@click.command()
@json_option
@click.pass_obj
def join(session: Session) -> None:
    """Let this shard take part again after a drain."""
    session.show("join", followed(session, "join"))


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def backup(session: Session, folder: Path) -> None:
    """Copy all that the cluster keeps to a new folder on the daemon's machine, while it runs."""
    # The daemon, which writes, works in another folder than whoever asks.
    session.show("backup", followed(session, "backup", {"dir": str(folder.absolute())}))


CLUSTER_COMMANDS: Final = (found, drain, leave, join, backup)
