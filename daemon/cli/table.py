"""Shows a table that a run has built, or streams it to a file."""

from __future__ import annotations

import sys
from contextlib import closing
from itertools import chain, islice
from pathlib import Path
from typing import Any, Final

import click

from daemon.cli.declared import taking
from daemon.cli.session import Session, json_option, reported_errors, words
from shoal.api.commands.results import RunTable

OUT: Final = click.Path(dir_okay=False, path_type=Path)


@click.command()
@taking(RunTable, without=("partition", "first"))
@click.option("--top", type=click.IntRange(1), default=20, show_default=True, help="The number of rows to show.")
@click.option("--out", type=OUT, help="Write all rows to a .csv, .parquet or .arrow file.")
@json_option
@click.pass_obj
def table(session: Session, run: str, table: str, tick: int | None, top: int, out: Path | None) -> None:
    """Show the first rows of a table that a run has built, or write all to a file."""
    # imported late: numpy and pyarrow take a third of a second
    from shoal.client.cluster import SocketBackend
    from shoal.client.connections import Connections
    from shoal.query.snapshot import Reading
    from shoal.query.tables import TableDigest

    try:
        with reported_errors(), closing(Connections(session.connect)) as connections:
            reading = Reading(SocketBackend(connections), run, tick)
            said: dict[str, Any] = {"run": run, "table": table}
            if out is not None:
                count, digest = reading.save_table(table, out)
                words(f"{count} rows in {out}, digest {digest}")
                said |= {"count": count, "digest": digest, "rows": []}
            else:
                whole, parts, count = TableDigest(), list[Any](), 0
                for part in reading.table_parts(table):
                    whole.update(part)
                    if count < top:
                        parts.append(part)
                    count += len(part)
                rows = chain.from_iterable(
                    zip(*(values.tolist() for values in part.columns.values()), strict=True) for part in parts
                )
                shown = [dict(zip(parts[0].columns, row, strict=True)) for row in islice(rows, top)]
                said |= {"count": count, "digest": whole.hexdigest(), "rows": shown}
    except KeyboardInterrupt:
        words("\nnot all rows were read" if out is None else f"\n{out} was not written")
        sys.exit(130)
    if out is None or session.as_json:
        session.show("run table", said)
