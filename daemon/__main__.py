"""`shoald`: one shard in the foreground, until a signal ends it."""

from __future__ import annotations

import asyncio
import faulthandler
import logging
import sys
import time
from functools import partial
from pathlib import Path

import click

from daemon.admin.server import SocketTaken
from daemon.config import Config, ConfigError, load
from daemon.config.keys import BadKeyFile
from daemon.life import AGAIN, CLOSE_SECONDS, Daemon, data_folder, load_keys
from daemon.observe import logs
from daemon.observe.notify import Notifier
from daemon.observe.turns import TimedSelector, new_loop
from daemon.runtime import descriptors, memory
from daemon.runtime.descriptors import TooFewDescriptors
from daemon.runtime.last_resort import LastResort
from daemon.services.backup.restore import open_backup
from daemon.store import StoreError, StoreFailed
from daemon.transport.sockets import BindFailed
from shoal import __version__

log = logging.getLogger("shoal.daemon")

LIVES_MAX = 8
LIFE_SECONDS = 600.0
"""A shard starts again once in a while. One that has to all the time, with less than this between two starts, has peers
that are mistaken, or hostile."""


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file (TOML).")
@click.option("--check-config", is_flag=True, help="Check the configuration and exit.")
@click.option(
    "--restore",
    "backup",
    type=click.Path(path_type=Path),
    help="Restore a backup into the new cluster that this shard founds with the others.",
)
@click.option(
    "--accept-loss",
    is_flag=True,
    help="Start, this once, with a database that has lost its last writes and is the only one of its cluster.",
)
@click.version_option(__version__, prog_name="shoald")
def main(path: Path, check_config: bool, backup: Path | None, accept_loss: bool) -> None:
    """One shard of a Shoal cluster, in the foreground."""
    memory.settle()
    try:
        config = load(path)
        if check_config:
            load_keys(config)
            click.echo(f"{path}: valid")
            return
    except (ConfigError, BadKeyFile) as error:
        click.echo(str(error), err=True)
        raise SystemExit(1) from None
    faulthandler.enable()
    logs.set_up(config.log.level, config.log.format)
    raise SystemExit(_serve(config, backup, accept_loss))


def _serve(config: Config, backup: Path | None, accept_loss: bool) -> int:
    last_resort = LastResort()
    descriptors.raise_limit()
    try:
        if accept_loss:
            with data_folder(config).open() as folder:
                folder.accept_loss()
        source = open_backup(backup, config.cluster.data) if backup is not None else None
        lives = 0
        while lives < LIVES_MAX:
            turns, began = TimedSelector(), time.monotonic()
            with asyncio.Runner(loop_factory=partial(new_loop, turns)) as runner:
                daemon = Daemon(config, Notifier(), source, last_resort.arm, turns)
                status = runner.run(daemon.run())
            if status != AGAIN:
                return status
            last_resort.disarm()
            source = None if daemon.is_restored else source
            lives = 1 if time.monotonic() - began >= LIFE_SECONDS else lives + 1
        log.critical(
            "ending: this shard has restarted %d times in a row; see the messages above for the reason", LIVES_MAX
        )
        return 1
    except (BadKeyFile, BindFailed, SocketTaken, TooFewDescriptors, StoreError, StoreFailed, OSError) as error:
        log.critical("cannot start: %s", error)
        return 1
    finally:
        last_resort.arm(CLOSE_SECONDS)  # the interpreter joins whatever still computes


if __name__ == "__main__":
    sys.exit(main())
