"""A program that holds the interpreter: real processes, for nothing else can be held."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from daemon.runtime import guard
from daemon.runtime.guard import FIRST_PHASE, HALTED, KEEPING, MAKING, OTHER, READING, Guard, Place

SCRIPT = """
import json, os, re, signal, sys, threading, time
from pathlib import Path
from daemon.runtime import guard

folder, what = Path(sys.argv[1]), sys.argv[2]
guard.HELD_LEAST_NS = 300_000_000
watched = guard.Guard(folder)
if watched.left is not None:
    now = {"pid": os.getpid(), "given": os.environ["GIVEN"], "open": os.listdir("/proc/self/fd")}
    print(json.dumps(watched.left._asdict() | now), flush=True)
    raise SystemExit
signal.signal(signal.SIGTERM, lambda *_: None)
watched.begin(3, 7, 300_000_000, os.environ.get("MANAGER", ""))

def hold():
    if what == "for long":
        re.match(r"(a+)+$", "a" * 60 + "b")
    sum(range(60_000_000))

def wait():
    time.sleep(1.5)

def compute():
    until = time.monotonic() + 1.5
    while time.monotonic() < until:
        pass

def stopped():
    print("here", flush=True)
    sys.stdin.read(1)
    compute()

place = (guard.FIRST_PHASE + 3, 5, 9)
leaked = os.open("/dev/null", os.O_RDONLY)
os.set_inheritable(leaked, True)
if what == "nobody's":
    hold()
elif what == "the main thread's":
    def sleep():
        watched.ticks.enter(place, threading.get_ident())
        time.sleep(1)
        watched.ticks.leave()

    threading.Thread(target=sleep).start()
    time.sleep(0.2)
    hold()
elif what == "an end":
    watched.ticks.enter(place, threading.get_ident())
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
    time.sleep(0.1)
    threading.Thread(target=lambda: (time.sleep(0.3), re.match(r"(a+)+$", "a" * 60 + "b"))).start()
    time.sleep(60)
elif what == "never":
    watched.ticks.enter(place, threading.get_ident())
    watched.start_again()
    while True:
        try:
            threading.Event().wait()
        except BaseException:
            pass
else:
    watched.ticks.enter(place, threading.get_ident())
    {"for long": hold, "waiting": wait, "computing": compute, "stopped": stopped}[what]()
    watched.ticks.leave()
watched.close()
print(json.dumps({"life": 0, "pid": os.getpid()}), flush=True)
"""


def started(folder: Path, what: str, **more: str) -> subprocess.Popen[str]:
    script = folder / "script.py"
    script.write_text(SCRIPT)
    return subprocess.Popen(
        [sys.executable, str(script), str(folder), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "GIVEN": "as before", **more},
    )


def told(process: subprocess.Popen[str]) -> dict[str, Any]:
    said, _ = process.communicate(timeout=60)
    answer: dict[str, Any] = json.loads(said.splitlines()[-1])
    return answer


def test_a_program_that_holds_the_interpreter_is_named_in_the_next_life_of_the_process(tmp_path: Path) -> None:
    """The same process, with the same environment, and nothing of the former one open."""
    process = started(tmp_path, "for long")
    left = told(process)
    assert left["pid"] == process.pid
    assert left["given"] == "as before"
    assert len(left["open"]) <= 6
    assert left["guilty"] == [FIRST_PHASE + 3, 5, 9]
    assert left["held_seconds"] >= 0.3
    lines = left["stack"].splitlines()
    assert "in match" in lines[0]
    assert "in hold" in lines[1]
    assert not left["is_clean"]


def test_what_never_comes_back_is_got_rid_of_on_demand(tmp_path: Path) -> None:
    process = started(tmp_path, "never")
    left = told(process)
    assert left["pid"] == process.pid
    assert (left["guilty"], left["held_seconds"]) == ([FIRST_PHASE + 3, 5, 9], 0.0)
    assert "in wait" in left["stack"]


@pytest.mark.parametrize("what", ["waiting", "computing", "nobody's", "the main thread's"])
def test_nobody_is_blamed_who_does_not_hold_it_or_is_no_program(tmp_path: Path, what: str) -> None:
    assert told(started(tmp_path, what))["life"] == 0
    left = Guard(tmp_path).left
    assert left is not None
    assert left.is_clean
    assert left.guilty is None
    assert left.running == ()


def test_a_process_that_was_stopped_has_held_nothing(tmp_path: Path) -> None:
    process = started(tmp_path, "stopped")
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1.0)
    process.send_signal(signal.SIGCONT)
    said, _ = process.communicate("x", timeout=60)
    assert json.loads(said)["life"] == 0


def test_what_was_asked_to_end_ends(tmp_path: Path) -> None:
    """The interpreter's handler has taken the signal, and nobody can act on it."""
    process = started(tmp_path, "an end")
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_a_process_that_is_killed_leaves_what_it_was_doing(tmp_path: Path) -> None:
    process = started(tmp_path, "stopped")
    assert process.stdout is not None
    process.stdout.readline()
    process.kill()
    process.communicate(timeout=60)
    left = Guard(tmp_path).left
    assert left is not None
    assert (left.disk, left.life, left.is_clean, left.guilty) == (3, 7, False, None)
    assert left.running == (Place(FIRST_PHASE + 3, 5, 9),)


def test_the_service_manager_is_told_before(tmp_path: Path) -> None:
    """On a busy machine a new life takes longer to begin than a watchdog waits."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(60)
        process = started(tmp_path, "for long", MANAGER=str(tmp_path / "notify"))
        assert manager.recv(4096).startswith(b"WATCHDOG=1\nWATCHDOG_USEC=")
        assert told(process)["guilty"] is not None


def test_a_failure_of_the_daemon_notes_what_was_running(tmp_path: Path) -> None:
    """And is no clean end then; without a program it is."""
    place = Place(FIRST_PHASE + 3, 5, 9)
    for running, expected in ((place,), (place,)), ((), ()):
        watched = Guard(tmp_path)
        watched._words[guard.FORMAT_WORD], watched._words[guard.LIFE] = guard.FORMAT, 1
        watched._words[guard.CLEAN] = 0
        for each in running:
            watched.ticks.enter(each, 1)
        watched.blame()
        watched.ticks.leave()
        watched.close()
        left = Guard(tmp_path).left
        assert left is not None
        assert (left.running, left.is_clean) == (expected, not expected)
        (tmp_path / guard.PAGE).unlink()


@pytest.mark.parametrize(
    ("place", "words"),
    [
        (Place(FIRST_PHASE + 3, 1, 0), "start of the run"),
        (Place(FIRST_PHASE + 2, 1, 4), "decay of tick 4"),
        (Place(HALTED, 1, 4), "halted after tick 4"),
        (Place(KEEPING, 1, 4), "keeping the state of tick 4"),
        (Place(MAKING, 1, 4), "its import and construction"),
        (Place(READING, 1, 4), "the reading of its tables at tick 4"),
        (Place(OTHER, 0, 0), "an operator's request"),
    ],
)
def test_places_in_words(place: Place, words: str) -> None:
    assert place.told() == words


def test_a_page_of_something_else_says_nothing(tmp_path: Path) -> None:
    assert Guard(tmp_path).left is None
    (tmp_path / guard.PAGE).write_bytes(os.urandom(guard.PAGE_BYTES))
    assert Guard(tmp_path).left is None
    (tmp_path / guard.PAGE).write_bytes(b"short")
    assert Guard(tmp_path).left is None
