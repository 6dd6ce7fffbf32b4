"""The group of all commands and its options."""

from __future__ import annotations

import errno
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from daemon.cli.cluster import CLUSTER_COMMANDS
from daemon.cli.dev import dev
from daemon.cli.graph import graph
from daemon.cli.keys import check_config, keygen
from daemon.cli.log import log
from daemon.cli.program import program
from daemon.cli.run import run
from daemon.cli.session import DURATION, Said, Session, words
from daemon.cli.status import STATUS_COMMANDS
from shoal.client.admin_protocol import DEFAULT_SOCKET


def _version() -> str:
    try:
        return version("shoal")
    except PackageNotFoundError:
        return "unknown"


class Commands(click.Group):
    """All of them: Ctrl-C ends any with exit status 130, as it ends other programs; those that take long say more.

    What the system refuses (standard output on a full disk, say) is a sentence. A pipe that closes is click's affair.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            words("\ninterrupted")
            raise SystemExit(130) from None
        except click.Abort as aborted:
            if isinstance(aborted.__context__, KeyboardInterrupt):  # at a question
                raise SystemExit(130) from None
            raise
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise
            raise Said(f"{error.filename or 'what is printed'}: {error.strerror or error}") from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option(
    "-s",
    "--socket",
    envvar="SHOAL_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="The admin socket of a daemon on this machine.",
)
@click.option(
    "--connect",
    "remote",
    envvar="SHOAL_CONNECT",
    show_envvar=True,
    metavar="NAME@tcp://HOST:PORT",
    help="Instead of a socket: where the shard NAME listens for operators.",
)
@click.option(
    "--key",
    envvar="SHOAL_KEY",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Your secret key, for --connect.",
)
@click.option(
    "--known-keys",
    envvar="SHOAL_KNOWN_KEYS",
    show_envvar=True,
    type=click.Path(path_type=Path),
    help="Where the shard's public key is found by NAME: the cluster's allowed_keys, say.",
)
@click.option("--server-key", metavar="KEY", help="The shard's public key itself.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--patience", type=DURATION, default="60s", show_default=True, help="How long the daemon may stay silent."
)
@click.version_option(_version(), prog_name="shoalctl")
@click.pass_context
def main(
    context: click.Context,
    socket: Path,
    remote: str | None,
    key: Path | None,
    known_keys: Path | None,
    server_key: str | None,
    as_json: bool,
    patience: float,
) -> None:
    """Look after a cluster of shoald daemons, load graphs and run programs on them.

    Every command speaks to one daemon, on this machine or, with an operator's key, on another; any member of the
    cluster will do.
    """
    address = _address(context, socket, remote)
    context.obj = Session(address, as_json, patience, key, server_key, known_keys)


def _address(context: click.Context, socket: Path, remote: str | None) -> str:
    """What was said behind shoalctl counts more than the environment, and there an address more than a socket."""

    def was_typed(name: str) -> bool:
        return context.get_parameter_source(name) is ParameterSource.COMMANDLINE

    if was_typed("socket") and was_typed("remote"):
        raise click.UsageError("--socket is on this machine and --connect leads to another: which?")
    return str(socket) if remote is None or was_typed("socket") else remote


for command in (*STATUS_COMMANDS, *CLUSTER_COMMANDS, graph, run, program, log, keygen, check_config, dev):
    main.add_command(command)
