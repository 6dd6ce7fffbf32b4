"""The daemons: child processes, each with its own folder and, for network faults, its own namespace.

The folders are those of `shoalctl dev up`. But its clusters are on loopback, and it forgets its children; here daemons
have addresses that can be partitioned, and their exit statuses are observed.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from chaos.nets import Nets, address
from daemon.cli.dev_cluster import DevCluster, DevShard
from daemon.config import Config, load
from daemon.config.quantities import parse_address
from shoal.api.errors import ShoalError
from shoal.client.admin_protocol import AdminConnection

WHOLE_SECONDS: Final = 60.0
END_SECONDS: Final = 30.0
"""Enough for an orderly leave, and far more than a killed process needs on a busy machine."""
PROGRAM: Final = (sys.executable, "-P", "-m", "daemon")
POLL_SECONDS: Final = 0.05
ANSWER_SECONDS: Final = 2.0
RETRY_SECONDS: Final = 30.0
LEAVE_SECONDS: Final = 30.0
"""How long a daemon that met a full disk may take, once there is room again, to notice and end."""
FAILED: Final = 1
LOUD: Final = re.compile(r"no space left|disk (is )?full|ENOSPC", re.IGNORECASE)
"""A daemon that leaves because it cannot write must log something of this kind."""
SWIM_SECTIONS: Final = ("membership", "consensus")


T = TypeVar("T")


class FleetFailed(Exception):
    """Raised if the daemons did not do what they must; says what, with their last log lines."""


class Daemon:
    """One daemon, over all its restarts."""

    def __init__(self, shard: DevShard, prefix: Sequence[str] = (), program: Sequence[str] = PROGRAM) -> None:
        self.shard = shard
        self._command = [*prefix, *program, "--config", str(shard.config)]
        self._process: subprocess.Popen[bytes] | None = None
        self._asked_to_end = False
        self._log_before = 0
        self._may_end_until = 0.0
        """In this life its disk is or was full, so it may leave until then, if it logs why."""

    @property
    def number(self) -> int:
        """Its number, from 1."""
        return self.shard.number

    @property
    def alive(self) -> bool:
        """Whether its process is running."""
        return self._process is not None and self._process.poll() is None

    @property
    def ended_unasked(self) -> int | None:
        """The exit status if its process ended unexpectedly, else None."""
        if self._process is None or self._asked_to_end or self.has_left:
            return None
        return self._process.poll()

    @property
    def has_left(self) -> bool:
        """Whether it ended by itself while that was allowed, because its disk was full."""
        if self._process is None or self._asked_to_end or not self._may_end_until:
            return False
        if self._process.poll() is None:
            if time.monotonic() > self._may_end_until:
                self._may_end_until = 0.0  # it has survived: from now on its end is unexpected again
            return False
        return True

    def disk_is_full(self) -> None:
        """Allows it to leave from now on; it must log why."""
        self._may_end_until = float("inf")
        self._log_before = self.shard.log.stat().st_size

    def disk_has_room(self) -> None:
        """Notes that there is room again; a daemon that met the full disk may still be about to leave."""
        self._may_end_until = time.monotonic() + LEAVE_SECONDS

    def status(self) -> dict[str, Any]:
        """Returns its status, or None if it does not answer."""
        try:
            with AdminConnection(self.shard.socket, ANSWER_SECONDS) as connection:
                return connection.call("status")[0]
        except ShoalError:
            return {}

    def start(self) -> None:
        """Starts the process."""
        assert not self.alive
        self._asked_to_end, self._may_end_until = False, 0.0
        kept = {k: v for k, v in os.environ.items() if k not in {"NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"}}
        with self.shard.log.open("ab") as said:
            self._log_before = said.tell()
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                env=kept,
                start_new_session=True,  # Ctrl-C is for this process
            )

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; if it ends processes, an exit is expected. Does nothing if the daemon has ended."""
        if self.alive:
            assert self._process is not None
            if number in (signal.SIGKILL, signal.SIGTERM):
                self._asked_to_end = True
            self._process.send_signal(number)

    def wait(self, seconds: float = END_SECONDS) -> int:
        """Waits for its end and returns the exit status."""
        assert self._process is not None
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise FleetFailed(
                f"{self.shard.name} did not end within {seconds:g} s\n{self.shard.last_words()}"
            ) from None

    def left_loudly(self) -> bool:
        """Returns whether a daemon that ended was allowed to, because its disk was full, logged that, and failed."""
        return bool(self._may_end_until) and self.wait() == FAILED and LOUD.search(self._said()) is not None

    def _said(self) -> str:
        """Returns its log of this life since its disk was full."""
        with self.shard.log.open("rb") as file:
            file.seek(self._log_before)
            return file.read().decode(errors="replace")


class Fleet:
    """All daemons of a cluster. None runs before `start`; `close` kills them."""

    def __init__(self, folder: Path, count: int, replicas: int, nets: Nets | None, defaults: bool) -> None:
        self.folder = folder
        shards = _configured(folder, count, replicas, nets is not None, defaults)
        self.daemons = [Daemon(shard, nets.prefix(shard.number) if nets else ()) for shard in shards]

    def __getitem__(self, number: int) -> Daemon:
        return self.daemons[number - 1]

    @property
    def config(self) -> Config:
        """The first one's configuration; the others differ only in names and addresses."""
        return load(self[1].shard.config, {})

    def start(self) -> None:
        """Starts all that are not running, and waits until all are in one view with a leader."""
        for daemon in self.daemons:
            if not daemon.alive:
                daemon.start()
        self.await_whole()

    def await_whole(self, seconds: float = WHOLE_SECONDS, meanwhile: Callable[[], object] = bool) -> float:
        """Waits until all are in one view and see each other alive; returns how long that took. Calls `meanwhile`."""
        began = time.monotonic()
        said: dict[str, str] = {}
        while not self._whole(said):
            if time.monotonic() - began > seconds:
                where = ", ".join(f"{name} {words}" for name, words in said.items())
                raise FleetFailed(f"not whole again within {seconds:g} s: {where}")
            time.sleep(POLL_SECONDS)
            meanwhile()
        return time.monotonic() - began

    def died(self) -> str:
        """Returns which daemons ended unexpectedly, with their last log lines, or ""."""
        found = [
            f"ended by itself with status {daemon.ended_unasked}: {daemon.shard.last_words()}"
            for daemon in self.daemons
            if daemon.ended_unasked is not None
        ]
        return "\n".join(found)

    def close(self) -> None:
        """Kills all daemons."""
        for daemon in self.daemons:
            daemon.signal(signal.SIGKILL)
        for daemon in self.daemons:
            if daemon.alive:
                daemon.wait()

    def _whole(self, said: dict[str, str]) -> bool:
        if died := self.died():
            raise FleetFailed(died)
        told = {daemon.shard.name: daemon.status() for daemon in self.daemons}
        for name, status in told.items():
            alive = status.get("members", {}).get("alive", 0)
            said[name] = f"{status.get('state', 'silent')} in epoch {status.get('epoch')}, knows {alive} alive"
        return len({(status.get("epoch"), status.get("leader")) for status in told.values()}) == 1 and all(
            _well(status, len(told)) for status in told.values()
        )


class _Folder(DevCluster):
    """Keys and configurations as `shoalctl dev up` creates them, without starting anything."""

    def make(self, count: int, replicas: int) -> list[DevShard]:
        shards = [self._shard(number) for number in range(1, count + 1)]
        self._refuse_what_cannot_be(shards)
        self._make(shards, "curve", replicas)
        return shards


def _configured(folder: Path, count: int, replicas: int, own_networks: bool, defaults: bool) -> list[DevShard]:
    """Writes a dev cluster's configuration with addresses in separate networks, optionally with the default timings."""
    shards = _Folder(folder).make(count, replicas)
    hosts = {
        str(parse_address(url).port): address(shard.number)
        for shard in shards
        for url in (load(shard.config, {}).listen.control, load(shard.config, {}).listen.ticks)
    }

    def moved(found: re.Match[str]) -> str:
        return f"tcp://{hosts[found[1]]}:{found[1]}"

    for shard in shards:
        text = shard.config.read_text()
        if own_networks:
            text = re.sub(r"tcp://127\.0\.0\.1:(\d+)", moved, text)
        if defaults:
            text = re.sub(rf"(?ms)^\[({'|'.join(SWIM_SECTIONS)})\]\n.*?(?=^\[|\Z)", "", text)
        shard.config.write_text(text)
    return shards


def _well(status: dict[str, Any], count: int) -> bool:
    return bool(
        status.get("state") == "joined"
        and status.get("leader")
        and status.get("epoch")
        and status["members"]["alive"] == count
    )


def retry(what: Callable[[], T], errors: type[Exception], seconds: float = RETRY_SECONDS) -> T:
    """Returns the result once it is no longer refused; after this many seconds, raises the last error."""
    until = time.monotonic() + seconds
    while True:
        try:
            return what()
        except errors:
            if time.monotonic() >= until:
                raise
            time.sleep(POLL_SECONDS)
