"""The backup command."""

from __future__ import annotations

from pathlib import Path

import click

from daemon.cli.progress import followed
from daemon.cli.session import Session, json_option
from shoal.api.commands.cluster import Backup


@click.command(help=Backup.contract.summary)
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@json_option
@click.pass_obj
def backup(session: Session, folder: Path) -> None:
    # The daemon, which writes the files, has another working directory.
    done = followed(session, Backup(str(folder.absolute())))
    session.show("backup", done)
