"""Dev clusters: several daemons on this machine, to try things with."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import click

from daemon.admin.render import render
from daemon.cli.session import DURATION, Said, Session, json_option, page, words
from daemon.dev_cluster import SHARDS_MAX, DevCluster, DevError

DIRECTORY = click.option(
    "--dir", "folder", required=True, type=click.Path(file_okay=False, path_type=Path), help="The cluster's folder."
)


@click.group()
def dev() -> None:
    """Throw-away clusters on this machine."""


@dev.command()
@click.option("-n", "--shards", "count", type=click.IntRange(1, SHARDS_MAX), default=3, show_default=True)
@DIRECTORY
@click.option("--encryption", type=click.Choice(["curve", "none"]), default="curve", show_default=True)
@click.option("--timeout", type=DURATION, default="30s", show_default=True, help="Until all are in one view.")
@json_option
@click.pass_obj
def up(session: Session, count: int, folder: Path, encryption: str, timeout: float) -> None:
    """Start daemons and return once all are in one view."""
    cluster = DevCluster(folder)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: nothing half-started is left behind
    try:
        cluster.up(count, encryption, timeout)
    except DevError as error:
        raise Said(str(error)) from error
    except OSError as error:
        raise Said(f"{error.filename or folder}: {error.strerror}") from error
    except KeyboardInterrupt:
        words("\ninterrupted: all that was started is stopped again")
        raise SystemExit(130) from None
    _show(session, cluster)
    words(f"To speak to the first: export SHOAL_SOCKET={cluster.shards()[0].socket}")
    words(f"To stop them: shoalctl dev down --dir {folder}")


@dev.command()
@DIRECTORY
@click.option("--timeout", type=DURATION, default="10s", show_default=True, help="Then SIGKILL.")
@json_option
@click.pass_obj
def down(session: Session, folder: Path, timeout: float) -> None:
    """Stop the daemons of a folder; its data stays."""
    try:
        stopped, killed = DevCluster(folder).down(timeout)
    except DevError as error:
        raise Said(str(error)) from error
    if session.as_json:
        click.echo(json.dumps({"stopped": stopped, "killed": killed}, indent=2))
        return
    if not stopped:
        words("nothing was running")
    for name in stopped:
        late = f": it did not end within {timeout:g} s of SIGTERM" if name in killed else ""
        words(f"{name} {'killed' if name in killed else 'stopped'}{late}")


@dev.command()
@DIRECTORY
@json_option
@click.pass_obj
def status(session: Session, folder: Path) -> None:
    """The daemons of a folder."""
    _show(session, DevCluster(folder))


def _show(session: Session, cluster: DevCluster) -> None:
    rows = []
    for shard in cluster.shards():
        pid = shard.pid()
        said = shard.status() if pid is not None else None
        rows.append(
            {
                "shard": shard.name,
                "pid": pid,
                "state": "down" if pid is None else (said or {}).get("state", "silent"),
                "epoch": (said or {}).get("epoch"),
                "leader": (said or {}).get("leader"),
                "socket": str(shard.socket),
            }
        )
    if session.as_json:
        click.echo(json.dumps({"shards": rows}, indent=2))
    else:
        click.echo(render("dev status", {"shards": rows}, page()))
