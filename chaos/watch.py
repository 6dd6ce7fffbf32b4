"""Polls a healthy daemon for a run's progress, and all daemons for its result."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any, Final

import shoal
from chaos.fleet import Daemon, Fleet, retry
from chaos.recovery import Observation
from shoal.api.errors import ShoalError
from shoal.client.admin_protocol import AdminConnection

OVER: Final = ("completed", "failed", "stopped")
ANSWER_SECONDS: Final = 1.0
RESULT_SECONDS: Final = 30.0
"""The time limit of one answer."""


class Watch:
    """Watches one run. It stays with one healthy daemon: two may learn of a tick at different times."""

    def __init__(self, fleet: Fleet, run: str) -> None:
        self._fleet, self._run = fleet, run
        self._asked: Daemon | None = None
        self._connection: AdminConnection | None = None
        self.seen: list[Observation] = []
        self.state, self.error = "", ""

    @property
    def over(self) -> bool:
        """Whether the run has ended in any way."""
        return self.state in OVER

    @property
    def tick(self) -> int:
        """The last tick seen committed."""
        return self.seen[-1].tick if self.seen else 0

    def look(self, harmed: Collection[int]) -> None:
        """Polls a daemon without a fault. Without an answer there is no observation, and it turns to another daemon."""
        if self._asked is None or self._asked.number in harmed or not self._asked.alive:
            self._turn_to(harmed)
        if self._asked is None:
            return
        try:
            if self._connection is None:
                self._connection = AdminConnection(self._asked.shard.socket, ANSWER_SECONDS)
            epoch = self._connection.call("status")[0]["epoch"]
            shown = self._connection.call("run show", {"run": self._run})[0]
        except ShoalError:
            self._turn_to({*harmed, self._asked.number})
            return
        self.state, self.error = shown["state"], shown.get("error") or ""
        self.seen.append(Observation(time.monotonic(), self._asked.number, epoch, shown["tick"], self.over))

    def close(self) -> None:
        """Closes the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _turn_to(self, harmed: Collection[int]) -> None:
        self.close()
        well = [daemon for daemon in self._fleet.daemons if daemon.alive and daemon.number not in harmed]
        later = [daemon for daemon in well if self._asked and daemon.number > self._asked.number]
        self._asked = next(iter(later or well), None)


def start_run(
    daemon: Daemon, program: str, graph: str, ticks: int | None, interval: float, params: Mapping[str, float]
) -> str:
    """Starts a run and returns its name. Repeats the request while a view is being formed."""
    asked: dict[str, Any] = {
        "program": program,
        "graph": graph,
        "interval_seconds": interval or None,
        "params": dict(params),
    }
    if ticks is not None:
        asked["ticks"] = ticks

    def start() -> str:
        with AdminConnection(daemon.shard.socket) as connection:
            return str(connection.call("run start", {k: v for k, v in asked.items() if v is not None})[0]["run"])

    return retry(start, ShoalError)


def write_evidence(fleet: Fleet, run: str) -> None:
    """Writes the state of each live daemon, or that it does not answer, to `evidence.json` next to the logs."""
    told: dict[str, dict[str, Any]] = {}
    for daemon in fleet.daemons:
        said = told[daemon.shard.name] = {}
        for command, args in (
            ("status", {}),
            ("view", {}),
            ("members", {}),
            ("barrier", {}),
            ("run show", {"run": run}),
        ):
            try:
                with AdminConnection(daemon.shard.socket, ANSWER_SECONDS) as connection:
                    said[command] = connection.call(command, args)[0]
            except ShoalError as error:
                said[command] = str(error)
    (fleet.folder / "evidence.json").write_text(json.dumps(told, indent=2, default=str))


def digests(fleet: Fleet, run: str, column: str) -> dict[int, str]:
    """Returns each daemon's digest of the result; for the first one, fetches the whole result and computes it here."""
    found = {daemon.number: retry(partial(_told, daemon, run, column), ShoalError) for daemon in fleet.daemons}
    found[1] = retry(partial(_fetched, fleet[1], run, column), ShoalError)
    return found


def _told(daemon: Daemon, run: str, column: str) -> str:
    with AdminConnection(daemon.shard.socket, RESULT_SECONDS) as connection:
        return str(connection.call("run result", {"run": run, "column": column, "top": 1})[0]["digest"])


def _fetched(daemon: Daemon, run: str, column: str) -> str:
    with shoal.connect(str(daemon.shard.socket), RESULT_SECONDS) as session:
        return session.get_run(run).result(column).digest
