"""The demo with real processes: it shows what it promises, and however it is ended, nothing stays behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.cluster.trial import processes_of

ROOT = Path(__file__).parents[2]
DEMO = (sys.executable, "-m", "examples.demo")
SECONDS_MAX = 120.0


class Demo:
    """A demo in a process group and a temporary folder of its own."""

    def __init__(self, folder: Path, command: tuple[str, ...] = DEMO) -> None:
        self.folder, self.output = folder, folder / "output"
        (folder / "tmp").mkdir()
        # What an outer make hands down is not for the one that is tested.
        inherited = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL"}}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=inherited | {"TMPDIR": str(folder / "tmp")},
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def said(self, words: str) -> bool:
        return words in self.output.read_text()

    def made(self, pattern: str) -> bool:
        return any((self.folder / "tmp").glob(pattern))

    def wait_until(self, condition: Callable[[Demo], bool]) -> None:
        until = time.monotonic() + SECONDS_MAX
        while not condition(self):
            assert time.monotonic() < until
            assert self.process.poll() is None, self.output.read_text()
            time.sleep(0.002)

    def ended(self) -> int:
        """Its exit status; nothing of it is left."""
        status = self.process.wait(SECONDS_MAX)
        assert list((self.folder / "tmp").iterdir()) == []
        assert processes_of(self.folder) == []
        return status


@pytest.fixture
def folder() -> Iterator[Path]:
    """With a short path, for sockets are below it."""
    made = Path(tempfile.mkdtemp(dir="/tmp"))
    yield made
    for pid in processes_of(made):
        os.kill(pid, signal.SIGKILL)
    shutil.rmtree(made, ignore_errors=True)


def test_all_of_it_and_signals_while_it_tidies_up(folder: Path) -> None:
    demo = Demo(folder)
    demo.wait_until(lambda demo: demo.made("*/1/admin.sock"))
    assert len(processes_of(folder)) == 3
    demo.wait_until(lambda demo: demo.said("The same to the bit."))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        demo.process.send_signal(number)
        time.sleep(0.02)
    assert demo.ended() in (0, 130)
    output = demo.output.read_text()
    for words in ("member shard-2 joined", "view 1: shard-1, shard-2, shard-3", "tick 30 of 30"):
        assert words in output
    assert re.search(r"\n  2\d\d,\d\d\d of 342,153 edges", output)
    in_this_order(
        output,
        r"\ntick 10 of 30: every shard has committed it; 6\d\d kB",
        r"\nkill -9 shard-3 at tick 1\d\n",
        r"\n\d+\.\d\d s after the kill: view \d is shard-1, shard-2\n",
        r"\n\d+\.\d\d s after the kill: the run goes on from tick \d+, its last checkpoint, and is at tick \d\d\n",
        r"\ntick 30 of 30: every shard has committed it; 3\d\d kB",
        r"member shard-3 has failed\n",
        r"completed after 30 ticks\n",
        r"\n  shard-3 is back after \d+\.\d s, in view \d: shard-1, shard-2, shard-3\n",
        r"graph debian: 72120 nodes, 342153 edges\n",
        r"\n  shard-3 killed at tick 1\d +afcdd447b025",
        r"\n  all three, unpaced +afcdd447b025",
        r"\n  this process alone +afcdd447b025",
    )
    assert "1   0.107286   libc6" in output
    assert "Traceback" not in output


def in_this_order(output: str, *patterns: str) -> None:
    at = 0
    for pattern in patterns:
        found = re.compile(pattern).search(output, at)
        assert found, f"{pattern} is not in the rest:\n{output[at:]}"
        at = found.end() - 1  # a line's end is the next one's beginning


@pytest.mark.parametrize(
    ("number", "moment"),
    [
        pytest.param(signal.SIGTERM, lambda demo: demo.made("shoal-demo-*"), id="the folder is made"),
        pytest.param(signal.SIGINT, lambda demo: demo.made("*/2/log"), id="the second daemon starts"),
        pytest.param(signal.SIGTERM, lambda demo: demo.said("The Debian package graph"), id="the graph is loaded"),
        pytest.param(signal.SIGHUP, lambda demo: demo.said("tick 10 of 30"), id="the run goes on"),
        pytest.param(signal.SIGTERM, lambda demo: demo.said("kill -9 shard-3"), id="one is killed"),
        pytest.param(signal.SIGINT, lambda demo: demo.said("shard-3 starts again"), id="it is to start again"),
        pytest.param(
            signal.SIGHUP,
            lambda demo: demo.said("shard-3 starts again") and len(processes_of(demo.folder)) == 3,
            id="it has started again",
        ),
    ],
)
def test_a_signal_ends_everything(folder: Path, number: signal.Signals, moment: Callable[[Demo], bool]) -> None:
    demo = Demo(folder)
    demo.wait_until(moment)
    demo.process.send_signal(number)
    assert demo.ended() == 128 + number
    assert "Traceback" not in demo.output.read_text()


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_ctrl_c_reaches_make_and_the_demo(folder: Path) -> None:
    (folder / "Makefile").write_text(f"demo:\n\t{' '.join(DEMO)}\n")
    demo = Demo(folder, ("make", "-f", str(folder / "Makefile"), "demo"))
    demo.wait_until(lambda demo: demo.made("*/3/log"))
    os.killpg(demo.process.pid, signal.SIGINT)
    assert demo.ended() != 0


def test_a_reader_that_hangs_up(folder: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    (folder / "tmp").mkdir()
    environment = os.environ | {"TMPDIR": str(folder / "tmp")}
    with os.fdopen(writer, "wb") as broken:
        done = subprocess.run(DEMO, cwd=ROOT, env=environment, stdout=broken, stderr=subprocess.PIPE, timeout=60)
    assert list((folder / "tmp").iterdir()) == []
    assert processes_of(folder) == []
    assert done.stderr == b""
