"""Log lines: one shape for people, one for the journal, one for programs; levels change live."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import pytest

from daemon.observe import logs


@pytest.fixture
def stream(tmp_path: Path) -> Iterator[TextIO]:
    root = logging.getLogger()
    before = root.level
    with (tmp_path / "log").open("w+") as file:
        yield file
    for handler in list(root.handlers):
        if getattr(handler, "shoal", False):
            root.removeHandler(handler)
    root.setLevel(before)
    for name in list(logging.Logger.manager.loggerDict):
        if name.split(".")[0] == logs.ROOT:
            logging.getLogger(name).setLevel(logging.NOTSET)


def written(stream: TextIO) -> list[str]:
    stream.flush()
    stream.seek(0)
    return stream.read().splitlines()


def boom() -> None:
    try:
        raise ValueError("bad\nthing")
    except ValueError:
        logging.getLogger("shoal.test").exception("it broke")


def test_lines_for_people(stream: TextIO) -> None:
    logs.set_up("info", stream=stream, environment={})
    logging.getLogger("shoal.test").info("hello %s", "there", extra={"peer": "b"})
    logging.getLogger("shoal.test").debug("not this")
    boom()
    first, second, *trace = written(stream)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z info    test: hello there peer=b", first)
    assert second.endswith("error   test: it broke")
    assert all(line.startswith("    ") for line in trace)


def test_lines_for_the_journal(stream: TextIO) -> None:
    found = os.fstat(stream.fileno())
    logs.set_up("debug", stream=stream, environment={"JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"})
    logger = logging.getLogger("shoal.test")
    logger.debug("a")
    logger.info("b")
    logger.warning("c")
    logger.critical("d")
    boom()
    lines = written(stream)
    assert lines[:4] == ["<7>test: a", "<6>test: b", "<4>test: c", "<2>test: d"]
    assert all(line.startswith("<3>") for line in lines[4:])


def test_lines_for_programs(stream: TextIO) -> None:
    logs.set_up("info", "json", stream, {})
    logging.getLogger("shoal.test").warning("two\nlines", extra={"epoch": 3})
    boom()
    first, second = (json.loads(line) for line in written(stream))
    assert (first["message"], first["level"], first["logger"], first["epoch"]) == (
        "two\nlines", "warning", "shoal.test", 3,
    )  # fmt: skip
    assert "ValueError: bad" in second["traceback"]


def test_levels_change_live_for_all_or_for_one(stream: TextIO) -> None:
    logs.set_up("warning", stream=stream, environment={})
    one, other = logging.getLogger("shoal.test.one"), logging.getLogger("shoal.test.other")
    logs.set_level("debug", "test.one")
    assert (one.isEnabledFor(logging.DEBUG), other.isEnabledFor(logging.INFO)) == (True, False)
    logs.set_level("info")
    assert (one.isEnabledFor(logging.DEBUG), other.isEnabledFor(logging.INFO)) == (False, True)
    assert not logging.getLogger("asyncio").isEnabledFor(logging.INFO)
    with pytest.raises(logs.UnknownLevel, match="one of debug, info, warning, error"):
        logs.set_level("loud")
    with pytest.raises(logs.UnknownLevel, match=r"no logger 'nope'; there are .*shoal\.test\.one"):
        logs.set_level("info", "nope")


def test_setting_up_twice_says_everything_once(stream: TextIO) -> None:
    logs.set_up(stream=stream, environment={})
    logs.set_up(stream=stream, environment={})
    logging.getLogger("shoal.test").warning("once")
    assert len(written(stream)) == 1
