"""Progress of long commands: one bar per stage, if standard error is a terminal.

An event of such a command is ``{"stage": word, "done": int, "total": int}``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar, cast

from daemon.cli.session import Session, interrupted, reported_errors
from shoal.api.command import Command

R = TypeVar("R")


def followed(session: Session, command: Command[R], frames: Sequence[Any] = ()) -> R:
    """Returns the reply to a command that reports its progress."""
    contract = command.contract
    try:
        with reported_errors(), session.connect() as connection, _bar(watched(session)) as bar:
            stream = connection.stream(contract.name, contract.args(command), frames)
            for event in stream:
                bar.show(event)
    except KeyboardInterrupt:
        raise interrupted(command) from None
    return cast(R, stream.result)


def watched(session: Session) -> bool:
    """Returns whether standard error is a terminal."""
    return sys.stderr.isatty() and not session.as_json


class _Bar(Protocol):
    def __enter__(self) -> _Bar: ...
    def __exit__(self, *_: object) -> None: ...
    def show(self, event: dict[str, Any]) -> None: ...


class _Nothing:
    def __enter__(self) -> _Nothing:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def show(self, event: dict[str, Any]) -> None:
        return None


class _Progress:
    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._progress = Progress(console=Console(stderr=True), transient=True)
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> _Progress:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, event: dict[str, Any]) -> None:
        stage = str(event.get("stage", "loading"))
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(stage, total=None)
        self._progress.update(self._tasks[stage], completed=event.get("done", 0), total=event.get("total"))


def _bar(shown: bool) -> _Bar:
    return _Progress() if shown else _Nothing()
