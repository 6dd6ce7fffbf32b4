"""The command group of shoalctl and its global options."""

from __future__ import annotations

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from daemon.cli.cluster import backup
from daemon.cli.completion import completion
from daemon.cli.declared import complete_with_declared
from daemon.cli.dev import dev
from daemon.cli.graph import graph
from daemon.cli.keys import check_config, keygen
from daemon.cli.log import log
from daemon.cli.program import program
from daemon.cli.run import run
from daemon.cli.session import DURATION, CommandFailed, Session, words
from shoal import __version__
from shoal.client.admin_protocol import DEFAULT_SOCKET


class Commands(click.Group):
    """The group of all commands. Ctrl-C ends any of them with exit status 130; long ones also say what continues.

    An error of the system, such as standard output on a full disk, becomes a message. click handles closed pipes.
    """

    def make_context(self, *args: Any, **extra: Any) -> click.Context:
        if sys.stdout is None:  # it would print into nothing, or into the next file that is opened
            raise CommandFailed("standard output is closed: redirect it to a file, or to /dev/null")
        with _ended_well():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _ended_well():
            return super().invoke(ctx)


@contextlib.contextmanager
def _ended_well() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        words("\ninterrupted")
        raise SystemExit(130) from None
    except click.Abort as aborted:
        if isinstance(aborted.__context__, KeyboardInterrupt):  # at a prompt
            raise SystemExit(130) from None
        raise
    except OSError as error:
        if error.errno == errno.EPIPE:
            raise
        raise CommandFailed(f"{error.filename or 'standard output'}: {error.strerror or error}") from error


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
    help="The operators' port of the shard NAME, instead of a local socket.",
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
    help="A file with the shard's public key under NAME, such as the cluster's allowed_keys.",
)
@click.option("--server-key", metavar="KEY", help="The shard's public key, instead of --known-keys.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--patience", type=DURATION, default=60.0, show_default="60s", help="Fail if the daemon is silent for this long."
)
@click.version_option(__version__, prog_name="shoalctl")
@click.pass_context
def main(context: click.Context, /, **_: object) -> None:
    """Operate a cluster of shoald daemons, load graphs and run programs on it.

    Every command connects to one daemon, on this machine or, with an operator's key, on another. Any member of the
    cluster can answer.
    """
    context.obj = Session.of(context)


for command in (graph, run, program, log, backup, keygen, check_config, completion, dev):
    main.add_command(command)
complete_with_declared(main)
