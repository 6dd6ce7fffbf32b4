"""The destination and the format of log lines.

All lines go to standard error, which the service manager keeps; there are no log files. Under the journal
(``$JOURNAL_STREAM`` names this very stream) a line begins with its priority, ``<4>``, without a time, since the journal
adds both; elsewhere it begins with the time in UTC. ``format = "json"`` writes one object per line instead.
A message with line breaks stays one entry: the breaks are indented (text) or escaped (JSON). Anything else that would
affect a terminal, such as an escape sequence in a stranger's text, is escaped in both.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, TextIO

from shoal.api.text import LINES, json_printable, printable

ROOT: Final = "shoal"
"""The logger above all of Shoal's."""
LEVELS: Final = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
LOGGERS_MAX: Final = 200
_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class UnknownLevel(ValueError):
    """There is no such level or logger."""


class TextLines(logging.Formatter):
    """Lines for people; with `journal`, the priority first and no time."""

    def __init__(self, journal: bool) -> None:
        super().__init__()
        self._journal = journal

    def format(self, record: logging.LogRecord) -> str:
        text = record.getMessage()
        if record.exc_info:
            text = f"{text}\n{self.formatException(record.exc_info)}"
        text = printable(text, LINES)
        name = record.name.removeprefix(f"{ROOT}.")
        fields = printable("".join(f" {key}={value}" for key, value in _fields(record).items()))
        if self._journal:
            # Every line gets its own priority, or the journal would take the rest of a traceback for notices.
            priority = f"<{_priority(record.levelno)}>"
            lines = f"{name}: {text}{fields}".split("\n")
            return "\n".join(f"{priority}{line}" if i == 0 else f"{priority}    {line}" for i, line in enumerate(lines))
        head = f"{_time(record)} {record.levelname.lower():<7} {name}: "
        return head + f"{text}{fields}".replace("\n", "\n    ")


class JsonLines(logging.Formatter):
    """One object per line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "thread": record.threadName,
            **_fields(record),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json_printable(json.dumps(entry, default=str, ensure_ascii=False))


def set_up(
    level: str = "info",
    format: str = "text",
    stream: TextIO | None = None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Sends this process's log lines to `stream` (standard error); replaces an earlier set-up."""
    stream = sys.stderr if stream is None else stream
    environment = os.environ if environment is None else environment
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines() if format == "json" else TextLines(_to_journal(stream, environment)))
    root = logging.getLogger()
    for old in list(root.handlers):
        if getattr(old, "shoal", False):
            root.removeHandler(old)
    handler.shoal = True  # type: ignore[attr-defined]
    root.addHandler(handler)
    # Third-party libraries log from warnings up; ours from the requested level.
    root.setLevel(logging.WARNING)
    set_level(level)


def set_level(level: str, logger: str | None = None) -> str:
    """Changes the level of all our loggers, or of one and those below it, immediately."""
    if level.lower() not in LEVELS:
        raise UnknownLevel(f"level should be one of {', '.join(LEVELS)}, not {level!r}")
    known = sorted(name for name in logging.Logger.manager.loggerDict if name == ROOT or name.startswith(f"{ROOT}."))
    name = ROOT if logger is None else logger if logger.split(".")[0] == ROOT else f"{ROOT}.{logger}"
    if logger is not None and name not in known and name != ROOT:
        raise UnknownLevel(f"there is no logger {logger!r}; there are {', '.join(known[:LOGGERS_MAX])}")
    if name == ROOT:
        for other in known:
            logging.getLogger(other).setLevel(logging.NOTSET)
    logging.getLogger(name).setLevel(LEVELS[level.lower()])
    return level.lower()


def _to_journal(stream: TextIO, environment: Mapping[str, str]) -> bool:
    """Returns whether `stream` is the journal's, according to systemd (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        found = os.fstat(stream.fileno())
    except (OSError, ValueError):
        return False
    return environment.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"


def _priority(level: int) -> int:
    return next((priority for least, priority in _PRIORITIES if level >= least), 7)


def _time(record: logging.LogRecord) -> str:
    return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Returns a record's `extra` fields."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}
