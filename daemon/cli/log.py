"""Commands for the replicated log of a daemon that no longer starts: show it, or remove an entry."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from daemon.cli.session import CommandFailed, Session, json_option, words

DATA = click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The data folder (cluster.data) of a stopped daemon.",
)
EVERYWHERE = (
    "repeat this with the same entry on every shard that has it before you start any daemon: their logs "
    "must stay identical"
)


@click.group()
def log() -> None:
    """Show and repair the replicated log of a stopped daemon."""


@log.command()
@DATA
@click.option(
    "--last",
    type=click.IntRange(1),
    default=40,
    show_default=True,
    help="The number of entries, from the end of the log.",
)
@json_option
@click.pass_obj
def show(session: Session, folder: Path, last: int) -> None:
    """List the entries after the snapshot and the outcome of each: applied, declined, or it breaks."""
    from daemon.store.errors import StoreError
    from daemon.store.stopped_log import opened

    try:
        with opened(folder) as stopped:
            entries = stopped.show()
    except StoreError as error:
        raise CommandFailed(str(error)) from error
    session.show("log show", {"folder": str(folder), "entries": [asdict(entry) for entry in entries[-last:]]})


@log.command()
@DATA
@click.argument("index", type=click.IntRange(1))
@click.option("--yes", is_flag=True, help="Remove the entry; without this option, only show the effect.")
@json_option
@click.pass_obj
def skip(session: Session, folder: Path, index: int, yes: bool) -> None:
    """Remove the command at INDEX from the log, so that it is never applied; keeps a copy of the database."""
    from daemon.store.errors import StoreError
    from daemon.store.stopped_log import opened

    try:
        with opened(folder) as stopped:
            stopped.entry(index)
            before = next(entry for entry in stopped.show() if entry.index == index)
            after = [entry for entry in stopped.show(without=index) if entry.index > index]
            shifts = stopped.begins_later_runs(index)
            copy = stopped.skip(index) if yes else None
    except StoreError as error:
        raise CommandFailed(str(error)) from error
    result = {
        "folder": str(folder),
        "index": index,
        "term": before.term,
        "what": before.what,
        "outcome": before.outcome,
        "behind": {
            outcome: sum(entry.outcome == outcome for entry in after) for outcome in sorted({e.outcome for e in after})
        },
        "runs_are_renumbered": shifts,
        "done": yes,
        "copy": None if copy is None else str(copy),
    }
    session.show("log skip", result)
    if shifts:
        words("it starts a run, and so do later entries: those runs will get other numbers and lose their states")
    words(EVERYWHERE if yes else f"nothing was changed; to remove the entry, add --yes and {EVERYWHERE}")
