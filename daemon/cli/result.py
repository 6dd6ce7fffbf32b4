"""Shows the result of a run, or streams it to a file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from daemon.cli.declared import taking
from daemon.cli.session import Session, json_option, reported_errors, words
from shoal.api.commands.results import RunResult, ValueRow

OUT = click.Path(dir_okay=False, path_type=Path)


@click.command()
@taking(RunResult, without=("column",))
@click.option(
    "--column",
    "columns",
    multiple=True,
    help="Name of a column; with --out, may be repeated, and all columns are the default.",
)
@click.option("--out", type=OUT, help="Write all values (or the top) to a .csv, .parquet or .arrow file.")
@json_option
@click.pass_obj
def result(
    session: Session,
    run: str,
    columns: tuple[str, ...],
    tick: int | None,
    top: int | None,
    least: bool,
    out: Path | None,
) -> None:
    """Show the greatest or least values of a column, or write whole columns to a file."""
    if least and top is None:
        raise click.UsageError("--least needs --top: how many?")
    if len(columns) > 1 and (out is None or top is not None):
        raise click.UsageError("several columns go to a file only: give one --column, or --out without --top")
    if out is not None and top is None:
        _save(session, run, columns, tick, out)
        return
    column = columns[0] if columns else None
    found = session.ask(RunResult(run, column, top, least, tick))
    if out is None:
        session.show("run result", found)
        return
    with reported_errors():
        _write(out, found["column"], found["rows"])
    words(f"{len(found['rows'])} values in {out}, digest {found['digest']}")
    if session.as_json:
        session.show("run result", {key: found[key] for key in ("run", "column", "tick", "digest", "count")})


def _save(session: Session, name: str, columns: Sequence[str], tick: int | None, out: Path) -> None:
    """Streams all rows to a file."""
    # imported late: numpy and pyarrow take a third of a second
    from shoal.client.cluster import SocketBackend
    from shoal.client.connections import Connections
    from shoal.query.output import kind_of
    from shoal.query.rows import RowBatch
    from shoal.query.snapshot import Reading

    with reported_errors():
        kind_of(out)  # before any request
    seen: list[RowBatch] = []
    shown = sys.stderr.isatty() and not session.as_json

    def progress(stretch: RowBatch) -> None:
        seen[:] = [stretch]
        if shown:
            click.echo(f"\r\x1b[K{out.name}  {stretch.last:,} of {stretch.total:,} nodes", err=True, nl=False)

    try:
        with reported_errors(), closing(Connections(session.connect)) as connections:
            count = Reading(SocketBackend(connections), name, tick).save(out, columns or None, progress)
    except KeyboardInterrupt:
        words(f"\n{out} was not written")
        raise SystemExit(130) from None
    finally:
        if shown:
            click.echo("\r\x1b[K", err=True, nl=False)
    digests = dict(seen[0].digests)
    words(f"{count} values in {out}, after tick {seen[0].tick}, digest {', '.join(digests.values())}")
    if session.as_json:
        said: dict[str, Any] = {"run": name, "tick": seen[0].tick, "count": count, "digests": digests}
        if len(digests) == 1:
            ((column, digest),) = digests.items()
            said |= {"column": column, "digest": digest}
        session.show("run result", said)


def _write(out: Path, column: str, rows: Sequence[ValueRow]) -> None:
    """Writes the top values of a column."""
    import pyarrow as pa

    from shoal.query.output import Output, kind_of

    kind_of(out)
    values = [float(value) if isinstance(value, str) else value for value in (row["value"] for row in rows)]
    arrays = [pa.array([row["id"] for row in rows]), pa.array(values)]
    with Output(out, [column]) as output:
        output.write(pa.RecordBatch.from_arrays(arrays, ["id", column]))
