"""Throw-away clusters on one machine: real daemons, on loopback, in one folder.

    D/allowed_keys            public keys of all
    D/1/config.toml           fast timings, free ports
    D/1/shard-1.secret_key
    D/1/data/  D/1/log  D/1/admin.sock
    D/1/pid                   process id and start time, so that a reused id is never signalled

A stopped folder can be started again: its configuration, keys and data are kept. Individual daemons can be killed,
paused, resumed and restarted, to see how the others react.
"""

from __future__ import annotations

import contextlib
import enum
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, assert_never

from daemon.admin.path import PATH_BYTES_MAX
from daemon.cli.dev_ports import ReservedPorts
from shoal.api.errors import ShoalError
from shoal.client.admin_protocol import AdminConnection

SHARDS_MAX: Final = 32
REPLICAS: Final = 2
REPLICAS_MAX: Final = 32
POLL_SECONDS: Final = 0.05
SIGNAL_SECONDS: Final = 10.0
STOPPED: Final = frozenset({b"T", b"t"})
"""Stopped by a signal, or by a debugger: proc(5)."""
LOG_LINES_SHOWN: Final = 15

_CONFIG: Final = """\
# Written by `shoalctl dev up`: fast timings for one machine. Not for production.
[cluster]
name = "dev"
shard = "{name}"
expect = {count}
seeds = [{seeds}]
data = "data"
absent_patience = "5s"
drain_timeout = "3s"

[listen]
control = "tcp://127.0.0.1:{control}"
ticks = "tcp://127.0.0.1:{ticks}"

[security]
encryption = "{encryption}"
secret_key = "{name}.secret_key"
allowed_keys = "../allowed_keys"

[admin]
socket = "admin.sock"
mode = "0600"

[metrics]
listen = "127.0.0.1:{metrics}"

[graph]
replicas = {replicas}

[programs]
deploy = true

[membership]
probe_interval = "150ms"
probe_timeout = "75ms"
pause_tolerance = "200ms"
suspicion_mult = 5
gossip_interval = "50ms"
push_pull_interval = "5s"
join_retry_min = "100ms"
join_retry_max = "1s"
reconnect_interval = "2s"
leave_linger = "500ms"

[consensus]
heartbeat_interval = "100ms"
election_timeout = "1s"
"""


class DevError(Exception):
    """An operation on a dev cluster failed; the message says why."""


class Life(enum.Enum):
    """The state of a shard's process, as reported by the kernel."""

    DOWN = "down"
    PAUSED = "paused"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class DevShard:
    """One daemon of a dev cluster and its files."""

    number: int
    folder: Path

    @property
    def name(self) -> str:
        """The shard's name."""
        return f"shard-{self.number}"

    @property
    def socket(self) -> Path:
        """The path of its admin socket."""
        return self.folder / "admin.sock"

    @property
    def config(self) -> Path:
        """The path of its configuration."""
        return self.folder / "config.toml"

    @property
    def log(self) -> Path:
        """The path of its log."""
        return self.folder / "log"

    def pid(self) -> int | None:
        """Returns the process id, if the process that was started here still runs."""
        try:
            pid, started = (int(word) for word in (self.folder / "pid").read_text().split())
        except (OSError, ValueError):
            return None
        return pid if _start_time(pid) == started else None

    def life(self) -> Life:
        """Returns whether the process runs. A paused process exists but does not answer."""
        pid = self.pid()
        if pid is None:
            return Life.DOWN
        stat = _stat(pid)
        return Life.PAUSED if stat is not None and stat[0] in STOPPED else Life.RUNNING

    def remember(self, pid: int) -> None:
        """Records the process of this daemon."""
        (self.folder / "pid").write_text(f"{pid} {_start_time(pid) or 0}\n")

    def forget(self) -> None:
        """Removes the files that an ended daemon has left."""
        for leftover in (self.socket, self.folder / "pid"):
            leftover.unlink(missing_ok=True)

    def status(self) -> dict[str, Any] | None:
        """Returns the reply to `status`, or None if the daemon does not answer."""
        if self.life() is not Life.RUNNING:
            return None
        try:
            with AdminConnection(self.socket, timeout=2.0) as connection:
                return connection.call("status")[0]
        except ShoalError:
            return None

    def last_words(self) -> str:
        """Returns the last lines of its log."""
        try:
            lines = self.log.read_text(errors="replace").splitlines()
        except OSError:
            lines = []
        shown = "\n".join(f"  {line}" for line in lines[-LOG_LINES_SHOWN:]) or "  (nothing)"
        return f"{self.name}, end of {self.log}:\n{shown}"


class DevCluster:
    """The cluster in a folder. `program` is the command to which ``--config FILE`` is appended."""

    def __init__(self, folder: Path, program: Sequence[str] = (sys.executable, "-P", "-m", "daemon")) -> None:
        self.folder = folder.absolute()
        self._program = tuple(program)
        self.ports = ReservedPorts(str(self.folder))

    def shards(self) -> list[DevShard]:
        """Returns the shards of the folder."""
        numbers = sorted(
            int(path.parent.name) for path in self.folder.glob("*/config.toml") if path.parent.name.isdecimal()
        )
        return [self._shard(number) for number in numbers]

    def _shard(self, number: int) -> DevShard:
        return DevShard(number, self.folder / str(number))

    def up(
        self, count: int, encryption: str = "curve", timeout_seconds: float = 30.0, replicas: int = REPLICAS
    ) -> list[DevShard]:
        """Creates missing files, starts all daemons, and returns once all are in one view with a leader.

        If this fails or is interrupted, stops the daemons again; the error contains the ends of their logs.
        """
        shards = [self._shard(number) for number in range(1, count + 1)]
        self._refuse_what_cannot_be(shards)
        existing = self.shards()
        if existing:
            self._check_same(existing, shards, encryption, replicas)
        else:
            self._make(shards, encryption, replicas)
        try:
            for shard in shards:
                self._start(shard)
            self._await_one_view(shards, timeout_seconds)
        except KeyboardInterrupt:
            self.down()
            raise
        except (DevError, OSError) as error:
            logs = "\n".join(shard.last_words() for shard in shards)
            self.down()
            raise DevError(f"{error}\n{logs}\nAll daemons that were started have been stopped.") from error
        return shards

    def down(self, timeout_seconds: float = 10.0) -> tuple[list[str], list[str]]:
        """Stops all daemons; returns the names of those that were running, and of those that had to be killed."""
        self._note_strays()
        running = {shard: pid for shard in self.shards() if (pid := shard.pid()) is not None}
        for shard, pid in running.items():
            _signal(shard, pid, signal.SIGCONT)  # a paused process would not handle the other
            _signal(shard, pid, signal.SIGTERM)
        _wait_for(lambda: all(shard.pid() is None for shard in running), timeout_seconds)
        killed = [shard for shard in running if shard.pid() is not None]
        for shard in killed:
            _signal(shard, running[shard], signal.SIGKILL)
        if not _wait_for(lambda: all(shard.pid() is None for shard in killed), timeout_seconds):
            stuck = ", ".join(f"{shard.name} (pid {shard.pid()})" for shard in killed if shard.pid())
            raise DevError(f"not even SIGKILL ended {stuck}")
        for shard in self.shards():
            shard.forget()
        return [shard.name for shard in running], [shard.name for shard in killed]

    def kill(self, numbers: Sequence[int]) -> list[DevShard]:
        """Kills daemons as a power cut would (kill -9), and returns once they have ended."""
        shards = self._chosen(numbers, {Life.RUNNING, Life.PAUSED})
        self._tell(shards, signal.SIGKILL, Life.DOWN)
        return shards

    def pause(self, numbers: Sequence[int]) -> list[DevShard]:
        """Suspends daemons: they keep their connections and are silent."""
        shards = self._chosen(numbers, {Life.RUNNING})
        self._tell(shards, signal.SIGSTOP, Life.PAUSED)
        return shards

    def resume(self, numbers: Sequence[int]) -> list[DevShard]:
        """Resumes paused daemons."""
        shards = self._chosen(numbers, {Life.PAUSED})
        self._tell(shards, signal.SIGCONT, Life.RUNNING)
        return shards

    def start(self, numbers: Sequence[int], wait: bool = False, timeout_seconds: float = 30.0) -> list[DevShard]:
        """Restarts daemons, each from its own folder; returns once they answer, or once they are in a view.

        If that takes too long, the daemons keep running: they may be waiting for others.
        """
        shards = self._chosen(numbers, {Life.DOWN})
        for shard in shards:
            self._start(shard)

        def answers(shard: DevShard) -> bool:
            status = shard.status()
            if shard.pid() is None:
                raise DevError(f"{shard.name} ended while it was starting\n{shard.last_words()}")
            return status is not None and (not wait or status.get("state") == "joined")

        if not _wait_for(lambda: all(answers(shard) for shard in shards), timeout_seconds):
            late = next((shard for shard in shards if not answers(shard)), shards[0])
            wanted = "is in no view" if wait else "does not answer"
            why = self.why_held_back(late) if wait else ""
            raise DevError(
                f"{late.name} runs, but {wanted} after {timeout_seconds:g} seconds{why}\n{late.last_words()}"
            )
        return shards

    def why_held_back(self, late: DevShard) -> str:
        """Returns why the tick leader does not yet admit a shard to the view; empty if it does not hold it back."""
        for shard in self.shards():
            for held in (shard.status() or {}).get("held_back", ()):
                if held["shard"] == late.name:
                    return (
                        f": {shard.name}, the tick leader, admits it once it has stayed for {held['seconds']:.0f} s "
                        f"more, because it has left {held['departures']} times recently (cluster.flap_patience)"
                    )
        return ""

    def _chosen(self, numbers: Sequence[int], wanted: set[Life]) -> list[DevShard]:
        """Returns the shards with these numbers. Raises `DevError` if one of them is not in the expected state."""
        self._note_strays()
        there = {shard.number: shard for shard in self.shards()}
        known = f"it has {', '.join(map(str, there))}" if there else "it holds no cluster"
        chosen = []
        for number in sorted(set(numbers)):
            if number not in there:
                raise DevError(f"{self.folder} has no shard {number}: {known}")
            shard = there[number]
            life = shard.life()
            if life not in wanted:
                raise DevError(f"{shard.name} {self._objection(life, wanted, number)}")
            chosen.append(shard)
        return chosen

    def _objection(self, life: Life, wanted: set[Life], number: int) -> str:
        match life:
            case Life.DOWN:
                return f"is not running: `shoalctl dev start {number} --dir {self.folder}`"
            case Life.PAUSED if wanted == {Life.DOWN}:
                return f"already runs, but is paused: `shoalctl dev resume {number} --dir {self.folder}`"
            case Life.PAUSED:
                return "is already paused"
            case Life.RUNNING:
                return "already runs" if wanted == {Life.DOWN} else "is not paused"
            case _:
                assert_never(life)

    def _tell(self, shards: Sequence[DevShard], number: signal.Signals, until: Life) -> None:
        for shard in shards:
            pid = shard.pid()
            if pid is not None:
                _signal(shard, pid, number)
        if not _wait_for(lambda: all(shard.life() is until for shard in shards), SIGNAL_SECONDS):
            late = ", ".join(f"{shard.name} is {shard.life().value}" for shard in shards if shard.life() is not until)
            raise DevError(f"not {until.value} {SIGNAL_SECONDS:g} seconds after {number.name}: {late}")

    def _refuse_what_cannot_be(self, shards: Sequence[DevShard]) -> None:
        if not 1 <= len(shards) <= SHARDS_MAX:
            raise DevError(f"a dev cluster has 1 to {SHARDS_MAX} shards")
        longest = max((shard.socket for shard in shards), key=lambda path: len(os.fsencode(path)))
        if len(os.fsencode(longest)) > PATH_BYTES_MAX:
            raise DevError(
                f"{longest} has {len(os.fsencode(longest))} bytes and a unix socket's path at most {PATH_BYTES_MAX}: "
                "choose a folder with a shorter path"
            )
        alive = [f"{shard.name} (pid {shard.pid()})" for shard in self.shards() if shard.pid() is not None]
        if alive:
            raise DevError(
                f"{', '.join(alive)} of {self.folder} already run: `shoalctl dev down --dir {self.folder}` first"
            )

    def _check_same(self, existing: list[DevShard], wanted: list[DevShard], encryption: str, replicas: int) -> None:
        from daemon.config import ConfigError, load  # imported late: pydantic takes a quarter of a second

        try:
            found = load(existing[0].config, {})
        except ConfigError as error:
            raise DevError(str(error)) from error
        if existing != wanted or (found.security.encryption, found.graph.replicas) != (encryption, replicas):
            raise DevError(
                f"{self.folder} holds a cluster of {len(existing)} with encryption {found.security.encryption!r} and "
                f"replicas {found.graph.replicas}: give the same options, choose another folder, or remove it"
            )

    def _make(self, shards: Sequence[DevShard], encryption: str, replicas: int) -> None:
        keys: list[str] = []
        chosen = {shard: (self.ports.next(), self.ports.next(), self.ports.next()) for shard in shards}
        for shard in shards:
            (shard.folder / "data").mkdir(parents=True, exist_ok=True)
            if encryption == "curve":
                from daemon.config.keys import generate

                keys.append(f"{shard.name} {generate(shard.folder, shard.name).public.decode('ascii')}\n")
        (self.folder / "allowed_keys").write_text("".join(keys))
        for shard, (control, ticks, metrics) in chosen.items():
            seeds = [f'"{other.name}@tcp://127.0.0.1:{chosen[other][0]}"' for other in shards if other != shard]
            shard.config.write_text(
                _CONFIG.format(
                    name=shard.name,
                    count=len(shards),
                    seeds=", ".join(seeds[:3]),
                    control=control,
                    ticks=ticks,
                    metrics=metrics,
                    encryption=encryption,
                    replicas=replicas,
                )
            )

    def _start(self, shard: DevShard) -> None:
        shard.forget()
        arguments = [*self._program, "--config", str(shard.config)]
        log = os.open(shard.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        # Variables from the service manager of this shell's own service are not for the daemons.
        inherited = {
            k: v for k, v in os.environ.items() if k not in {"NOTIFY_SOCKET", "WATCHDOG_USEC", "JOURNAL_STREAM"}
        }
        try:
            pid = os.posix_spawn(
                arguments[0],
                arguments,
                inherited,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing, 0),
                    (os.POSIX_SPAWN_DUP2, log, 1),
                    (os.POSIX_SPAWN_DUP2, log, 2),
                ],
                setsid=True,
            )
        finally:
            os.close(log)
            os.close(nothing)
        shard.remember(pid)

    def _note_strays(self) -> None:
        """Finds daemons of this folder without a pid file: a `dev up` that was killed before it could write one."""
        unknown = {os.fsencode(shard.config): shard for shard in self.shards() if shard.pid() is None}
        for path in Path("/proc").glob("[0-9]*/cmdline") if unknown else ():
            with contextlib.suppress(OSError, IndexError):
                words = path.read_bytes().split(b"\0")
                shard = unknown.get(words[words.index(b"--config") + 1]) if b"--config" in words else None
                if shard is not None:
                    shard.remember(int(path.parent.name))

    def _await_one_view(self, shards: Sequence[DevShard], timeout_seconds: float) -> None:
        said: dict[DevShard, dict[str, Any] | None] = {}

        def settled() -> bool:
            for shard in shards:
                if shard.pid() is None:
                    raise DevError(f"{shard.name} ended while it was starting")
                said[shard] = shard.status()
            told = [status or {} for status in said.values()]
            epochs = {status.get("epoch", 0) for status in told}
            joined = all(status.get("state") == "joined" and status.get("leader") for status in told)
            return joined and len(epochs) == 1 and epochs.pop() > 0

        if not _wait_for(settled, timeout_seconds):
            where = ", ".join(
                f"{shard.name} {(status or {}).get('state', 'silent')} in epoch {(status or {}).get('epoch', '-')}"
                for shard, status in said.items()
            )
            raise DevError(f"not in one view after {timeout_seconds:g} seconds: {where}")


def _start_time(pid: int) -> int | None:
    """Returns the start time of a live process in clock ticks since boot (proc(5), field 22), or None.

    psutil's `create_time` can't be stored in a file, because it changes when the wall clock is set.
    """
    with contextlib.suppress(ChildProcessError, OSError):
        # Reaps our own child, which otherwise stays as a zombie.
        os.waitpid(pid, os.WNOHANG)
    fields = _stat(pid)
    return None if fields is None or fields[0] in {b"Z", b"X"} else int(fields[19])


def _stat(pid: int) -> list[bytes] | None:
    """Returns the fields of /proc/PID/stat, from the state (field 3) on."""
    try:
        # The name in parentheses before it may contain any character.
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None


def _signal(shard: DevShard, pid: int, number: signal.Signals) -> None:
    if shard.pid() == pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _wait_for(condition: Callable[[], bool], seconds: float) -> bool:
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() >= until:
            return False
        time.sleep(POLL_SECONDS)
    return True
