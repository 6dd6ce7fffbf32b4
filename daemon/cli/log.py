"""The log of decisions of a daemon that does not start any more: shown, and an entry taken out of it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from daemon.cli.session import Said, Session, json_option, words

DATA = click.option(
    "--data",
    "folder",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="The data folder (cluster.data) of a daemon that is stopped.",
)
EVERYWHERE = (
    "do the same with the same entry on every shard that has it, before any of their daemons is started: their logs "
    "have to stay the same"
)


@click.group()
def log() -> None:
    """The log of decisions of a daemon that is stopped: show, skip."""


@log.command()
@DATA
@click.option("--last", type=click.IntRange(1), default=40, show_default=True, help="So many entries, the last ones.")
@json_option
@click.pass_obj
def show(session: Session, folder: Path, last: int) -> None:
    """The entries behind the snapshot, and what comes of each: applied, declined, or it breaks. Changes nothing."""
    from daemon.store.errors import StoreError
    from daemon.store.stopped_log import opened

    try:
        with opened(folder) as stopped:
            entries = stopped.show()
    except StoreError as error:
        raise Said(str(error)) from error
    session.show("log show", {"folder": str(folder), "entries": [asdict(entry) for entry in entries[-last:]]})


@log.command()
@DATA
@click.argument("index", type=click.IntRange(1))
@click.option("--yes", is_flag=True, help="Do it; without, what would be done is said.")
@json_option
@click.pass_obj
def skip(session: Session, folder: Path, index: int, yes: bool) -> None:
    """Take the command at INDEX out of the log, so that it is never applied; a copy of the database is kept."""
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
        raise Said(str(error)) from error
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
        words(
            "it begins a run, and so do entries behind it: those runs will have other numbers, and lose what they kept"
        )
    words(EVERYWHERE if yes else f"nothing was changed: with --yes it is; {EVERYWHERE}")
