"""The last bound on the end of a process: each of these processes would wait for ever."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

SECONDS = 20.0

STUCK = """
    import logging, threading
    from daemon.runtime.last_resort import LastResort
    logging.basicConfig(format="%(message)s")
    threading.Thread(target=threading.Event().wait, name="stuck").start()
    last_resort = LastResort()
    last_resort.arm(60.0)
    last_resort.arm(0.2)
"""
HELD = """
    import ctypes
    import daemon.runtime.last_resort as module
    module.HELD_INTERPRETER_SECONDS = 0.1
    module.LastResort().arm(0.2)
    ctypes.PyDLL(None).sleep(1000)
"""
DISARMED = """
    import time
    from daemon.runtime.last_resort import LastResort
    last_resort = LastResort()
    last_resort.arm(0.1)
    last_resort.disarm()
    time.sleep(0.3)
    print("it goes on")
"""


def run(program: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", textwrap.dedent(program)]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_a_thread_that_never_ends_is_shown_and_the_process_is_ended() -> None:
    ended = run(STUCK)
    assert ended.returncode == 1
    assert "the shutdown has taken more than 0.2 s: killing the process" in ended.stderr
    assert "in wait" in ended.stderr


def test_a_thread_that_holds_the_interpreter_is_no_way_out_of_it() -> None:
    ended = run(HELD)
    assert ended.returncode == 1
    assert "Timeout" in ended.stderr


@pytest.mark.parametrize("program", [DISARMED])
def test_what_is_not_to_end_goes_on(program: str) -> None:
    assert run(program).stdout == "it goes on\n"
