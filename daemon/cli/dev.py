"""Dev clusters: several daemons on this machine, for experiments."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

import click

from daemon.cli.dev_cluster import REPLICAS, REPLICAS_MAX, SHARDS_MAX, DevCluster, DevError, DevShard, Life
from daemon.cli.session import TIMEOUT, CommandFailed, Session, json_option, words

DIRECTORY = click.option(
    "--dir", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="The cluster's folder."
)

NUMBERS = click.argument("numbers", metavar="N…", nargs=-1, required=True, type=click.IntRange(1))


@click.group()
def dev() -> None:
    """Manage throw-away clusters on this machine."""


@dev.command()
@click.option("-n", "--shards", "count", type=click.IntRange(1, SHARDS_MAX), default=3, show_default=True)
@DIRECTORY
@click.option("--encryption", type=click.Choice(["curve", "none"]), default="curve", show_default=True)
@click.option(
    "--replicas",
    type=click.IntRange(1, REPLICAS_MAX),
    default=REPLICAS,
    show_default=True,
    help="The number of shards that hold each partition (all, if there are fewer).",
)
@click.option(
    "--timeout", type=TIMEOUT, default="30s", show_default=True, help="The time for all daemons to be in one view."
)
@json_option
@click.pass_obj
def up(session: Session, count: int, folder: Path, encryption: str, replicas: int, timeout: float) -> None:
    """Start daemons and return once all are in one view."""
    cluster = DevCluster(folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C, so that no daemon is left running
    try:
        cluster.up(count, encryption, timeout, replicas)
    except DevError as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        raise CommandFailed(f"{error.filename or folder}: {error.strerror}") from error
    except KeyboardInterrupt:
        words("\ninterrupted: all daemons that were started have been stopped")
        raise SystemExit(130) from None
    _show(session, cluster)
    words(f"To use the first daemon: export SHOAL_SOCKET={cluster.shards()[0].socket}")
    words(f"To stop them: shoalctl dev down --dir {folder}")


@dev.command()
@DIRECTORY
@click.option("--timeout", type=TIMEOUT, default="10s", show_default=True, help="The time until SIGKILL.")
@json_option
@click.pass_obj
def down(session: Session, folder: Path, timeout: float) -> None:
    """Stop the daemons of a folder and keep its data."""
    try:
        stopped, killed = DevCluster(folder).down(timeout)
    except DevError as error:
        raise CommandFailed(str(error)) from error
    if session.as_json:
        click.echo(json.dumps({"stopped": stopped, "killed": killed}, indent=2))
        return
    if not stopped:
        words("no daemon was running")
    for name in stopped:
        late = f": it did not end within {timeout:g} s after SIGTERM" if name in killed else ""
        words(f"{name} {'killed' if name in killed else 'stopped'}{late}")


@dev.command()
@NUMBERS
@DIRECTORY
@json_option
@click.pass_obj
def kill(session: Session, numbers: tuple[int, ...], folder: Path) -> None:
    """Kill daemons (kill -9), as a power cut would; their data is kept."""
    _tell(session, "killed", lambda: DevCluster(folder).kill(numbers))


@dev.command()
@NUMBERS
@DIRECTORY
@json_option
@click.pass_obj
def pause(session: Session, numbers: tuple[int, ...], folder: Path) -> None:
    """Suspend daemons (SIGSTOP) until `dev resume`."""
    _tell(session, "paused", lambda: DevCluster(folder).pause(numbers))


@dev.command()
@NUMBERS
@DIRECTORY
@json_option
@click.pass_obj
def resume(session: Session, numbers: tuple[int, ...], folder: Path) -> None:
    """Resume paused daemons (SIGCONT)."""
    _tell(session, "resumed", lambda: DevCluster(folder).resume(numbers))


@dev.command()
@NUMBERS
@DIRECTORY
@click.option("--wait", is_flag=True, help="Wait until they are in a view, not only until they answer.")
@click.option(
    "--timeout", type=TIMEOUT, default="30s", show_default=True, help="The time for them to answer, or to be in a view."
)
@json_option
@click.pass_obj
def start(session: Session, numbers: tuple[int, ...], folder: Path, wait: bool, timeout: float) -> None:
    """Restart daemons that were killed or stopped, each from its own folder."""
    _tell(session, "started", lambda: DevCluster(folder).start(numbers, wait, timeout))


def _tell(session: Session, done: str, action: Callable[[], Sequence[DevShard]]) -> None:
    try:
        shards = action()
    except DevError as error:
        raise CommandFailed(str(error)) from error
    except OSError as error:
        raise CommandFailed(f"{error.filename or 'that'}: {error.strerror}") from error
    if session.as_json:
        click.echo(json.dumps({done: [shard.name for shard in shards]}, indent=2))
    else:
        for shard in shards:
            words(f"{shard.name} {done}")


@dev.command()
@DIRECTORY
@json_option
@click.pass_obj
def status(session: Session, folder: Path) -> None:
    """List the daemons of a folder."""
    _show(session, DevCluster(folder))


def _show(session: Session, cluster: DevCluster) -> None:
    rows = []
    for shard in cluster.shards():
        pid, life = shard.pid(), shard.life()
        said = shard.status()
        rows.append(
            {
                "shard": shard.name,
                "pid": pid,
                "state": (said or {}).get("state", "silent") if life is Life.RUNNING else life.value,
                "epoch": (said or {}).get("epoch"),
                "leader": (said or {}).get("leader"),
                "socket": str(shard.socket),
            }
        )
    session.show("dev status", {"shards": rows})
