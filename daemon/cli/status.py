"""Looking: how the daemon and its cluster are. All of these answer while a run is stuck."""

from __future__ import annotations

from typing import Final

import click

from daemon.cli.session import Session, json_option


@click.command()
@json_option
@click.pass_obj
def status(session: Session) -> None:
    """This shard, its cluster and what it is doing."""
    session.answer("status")


@click.command()
@json_option
@click.pass_obj
def members(session: Session) -> None:
    """The shards that this one knows, and how it thinks they are."""
    session.answer("members")


@click.command()
@json_option
@click.pass_obj
def view(session: Session) -> None:
    """The epoch's members, leader and placement."""
    session.answer("view")


@click.command()
@click.option("--graph", help="A graph's placement.")
@json_option
@click.pass_obj
def ring(session: Session, graph: str | None) -> None:
    """Which shard holds each partition."""
    session.answer("ring", {"graph": graph})


@click.command()
@click.argument("run", required=False)
@json_option
@click.pass_obj
def barrier(session: Session, run: str | None) -> None:
    """Who has reached the barrier, who is missing, and what they are doing."""
    session.answer("barrier", {"run": run})


@click.command()
@click.option("--graph", help="One graph only.")
@json_option
@click.pass_obj
def ghosts(session: Session, graph: str | None) -> None:
    """Copies of remote nodes held here, and how old they are."""
    session.answer("ghosts", {"graph": graph})


@click.command("log-level")
@click.argument("level", type=click.Choice(["debug", "info", "warning", "error"]))
@click.option("--logger", help="One part only, such as shoal.admin.")
@json_option
@click.pass_obj
def log_level(session: Session, level: str, logger: str | None) -> None:
    """Change what the daemon logs, at once and until its next start."""
    session.answer("log-level", {"level": level, "logger": logger})


@click.command()
@click.argument("prefix", required=False)
@json_option
@click.pass_obj
def metrics(session: Session, prefix: str | None) -> None:
    """The metrics, as the port gives them; also where the port is closed."""
    session.answer("metrics", {"prefix": prefix})


@click.command("help")
@click.argument("command", nargs=-1)
@json_option
@click.pass_obj
def help_command(session: Session, command: tuple[str, ...]) -> None:
    """What this daemon can be asked on its socket (shoalctl --help lists the commands here)."""
    session.answer("help", {"command": " ".join(command) or None})


STATUS_COMMANDS: Final = (status, members, view, ring, barrier, ghosts, log_level, metrics, help_command)
