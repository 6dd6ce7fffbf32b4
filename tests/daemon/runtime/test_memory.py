"""A process that has settled its allocator keeps little of what it had."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import threading, numpy, psutil
from daemon.runtime import memory

def held():
    return psutil.Process().memory_info().rss

memory.settle()
before = held()

def load():
    kept = []
    for turn in range(6):  # as a load does it: a few stay, and lie behind those that go
        gone = [numpy.ones(size, numpy.uint8) for size in (1 << 20, 3 << 20, 6 << 20, 20 << 20)]
        kept.append(numpy.ones(1 << 16, numpy.uint8))
    return kept

threads = [threading.Thread(target=load) for _ in range(4)]
for thread in threads:
    thread.start()
kept = load()
for thread in threads:
    thread.join()
memory.give_back()
print(held() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc")
def test_what_was_freed_is_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True, timeout=60)
    assert int(done.stdout) < 24 << 20, done.stdout
