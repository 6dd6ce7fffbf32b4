"""The group of all commands and its options."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from daemon.cli.cluster import CLUSTER_COMMANDS
from daemon.cli.dev import dev
from daemon.cli.graph import graph
from daemon.cli.keys import check_config, keygen
from daemon.cli.program import program
from daemon.cli.run import run
from daemon.cli.session import DURATION, Session
from daemon.cli.status import STATUS_COMMANDS
from shoal.lines import DEFAULT_SOCKET


def _version() -> str:
    try:
        return version("shoal")
    except PackageNotFoundError:
        return "unknown"


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "-s",
    "--socket",
    envvar="SHOAL_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The daemon's admin socket.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--patience", type=DURATION, default="60s", show_default=True, help="How long the daemon may stay silent."
)
@click.version_option(_version(), prog_name="shoalctl")
@click.pass_context
def main(context: click.Context, socket: Path, as_json: bool, patience: float) -> None:
    """Look after a cluster of shoald daemons, load graphs and run programs on them.

    Every command speaks to one daemon on this machine; any member of the cluster will do.
    """
    context.obj = Session(socket, as_json, patience)


for command in (*STATUS_COMMANDS, *CLUSTER_COMMANDS, graph, run, program, keygen, check_config, dev):
    main.add_command(command)
