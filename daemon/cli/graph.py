"""Commands for graphs: load from files, list, show, drop."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from daemon.cli.declared import taking
from daemon.cli.progress import followed, watched
from daemon.cli.session import CommandFailed, PairType, Session, json_option, words
from shoal.api.commands.graphs import GraphDrop, GraphLoad, GraphShow
from shoal.api.commands.runs import RunList

FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.group()
def graph() -> None:
    """Load, list, show and drop graphs."""


@graph.command("load")
@click.argument("name")
@click.option(
    "--edges", required=True, type=FILE, help="CSV (also .gz), TSV or Parquet file with the columns source and target."
)
@click.option("--nodes", type=FILE, help="The same for nodes; without it, the nodes are the ends of the edges.")
@click.option("--types", multiple=True, type=PairType(plain=True), help="COLUMN=int|float|str|bool; may be repeated.")
@click.option("--undirected", is_flag=True, help="Each row of the edges is an edge in both directions.")
@click.option(
    "--quote",
    type=click.Choice(["auto", "double", "none"]),
    default="auto",
    show_default=True,
    help='Quotes in CSV and TSV: "none" reads them as ordinary characters.',
)
@click.option("--partitions", type=click.IntRange(1, 65536), default=64, show_default=True)
@json_option
@click.pass_obj
def load(
    session: Session,
    name: str,
    edges: Path,
    nodes: Path | None,
    types: tuple[tuple[str, str], ...],
    undirected: bool,
    quote: str,
    partitions: int,
) -> None:
    """Read files on this machine and load them into the cluster as graph NAME."""
    how: dict[str, Any] = {"types": dict(types), "undirected": undirected, "partition_count": partitions}
    spec, frames = _parsed(edges, nodes, quote=quote, **how)
    size = sum(memoryview(frame).nbytes for frame in frames)
    if watched(session):
        words(f"{edges.name} is read; sending {size / 1e6:,.1f} MB")
    loaded = followed(session, GraphLoad(name, spec), frames)
    session.show("graph load", loaded)


def _parsed(edges: Path, nodes: Path | None, **how: Any) -> tuple[Any, list[Any]]:
    # imported late: pyarrow takes a third of a second
    from shoal.graph.sources import read_graph

    try:
        return read_graph(nodes, edges=edges, **how).to_wire()
    except (ValueError, OSError) as error:
        raise CommandFailed(str(error)) from error


@graph.command(help=GraphDrop.contract.summary)
@taking(GraphDrop, without=("load",))
@click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
@json_option
@click.pass_obj
def drop(session: Session, graph: str, force: bool, yes: bool) -> None:
    load = None
    if not yes:
        if not sys.stdin.isatty():
            raise CommandFailed(f"dropping {graph!r} cannot be undone: confirm with --yes")
        load = session.ask(GraphShow(graph))["load"]  # not a graph that takes its name before the answer
        runs = [run for run in session.ask(RunList())["runs"] if run["load"] == load]
        with_it = f", its runs ({len(runs)}) and their results" if runs else ", on which there are no runs"
        click.confirm(f"Delete graph {graph!r}{with_it}?", abort=True, err=True)
    session.answer(GraphDrop(graph, force, load))
