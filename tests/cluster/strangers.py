"""Hosts without a key at every port of a daemon: everything one can do before the handshake, at a bounded rate.

    python -m tests.cluster.strangers CONFIG --seconds 10 --rate 300 --hold 400

It is a separate process, so it takes no time from the test, with one thread, so it takes no more than its share.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import itertools
import json
import random
import socket
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from daemon.config import Config, load
from daemon.config.quantities import parse_address

Where = tuple[int, tuple[str, int] | str]
GREETING: Final = b"\xff" + bytes(8) + b"\x7f\x03\x01" + b"CURVE".ljust(20, b"\0") + bytes(32)
LARGE: Final = b"\x06" + struct.pack(">Q", 100 << 20) + bytes(6 << 20)
HELLO: Final = b"\x04\xc8\x05HELLO\x01\x00" + bytes(192)
KINDS: Final = {
    "silent": (b"",),
    "closes": (None,),
    "half a greeting": (GREETING[:11],),
    "a greeting": (GREETING,),
    "byte by byte": tuple(GREETING[n : n + 1] for n in range(len(GREETING))),
    "a large frame": (GREETING + LARGE,),
    "a hello for another key": (GREETING, HELLO),
    "plain text": (GREETING.replace(b"CURVE", b"NULL\0"), b"\x04\x19\x05READY\x0bSocket-Type\0\0\0\4PUSH"),
    "PLAIN": (GREETING.replace(b"CURVE", b"PLAIN"), b"\x04\x08\x05HELLO\0\0"),
    "an old version": (GREETING.replace(b"\x03\x01", b"\x00\x00"),),
    "a later version": (GREETING.replace(b"\x03\x01", b"\x7f\x01"),),
    "http": (b"GET /metrics HTTP/1.1\r\nHost: metrics\r\n\r\n",),
    "a request that never ends": (b"GET /" + b"x" * 1000,) * 20,
    "noise": (random.Random(1).randbytes(5000),) * 4,
    "a line that never ends": (b"x" * 65536,) * 3,
}
"""What they send, one part at a time; None means to disconnect."""


@dataclass(slots=True)
class Stranger:
    """One connection."""

    socket: socket.socket
    parts: Iterator[bytes | None]
    left: memoryview
    next_at: float = 0.0


class Crowd:
    """All strangers: keeps `hold` connections open at each port, and opens at most `rate` per second."""

    def __init__(self, ports: Sequence[Where], rate: float, hold: int, sources: int) -> None:
        self._ports, self._rate, self._hold, self._sources = ports, rate, hold, sources
        self._open: list[list[Stranger]] = [[] for _ in ports]
        self._kinds = [itertools.cycle(KINDS.values()) for _ in ports]
        self._number = itertools.count()
        self.counted: Counter[str] = Counter()

    def run(self, seconds: float) -> None:
        """Opens connections for a while."""
        began, made = time.monotonic(), 0
        while (now := time.monotonic()) < began + seconds:
            for strangers in self._open:
                for stranger in [one for one in strangers if not self._goes_on(one, now)]:
                    stranger.socket.close()
                    strangers.remove(stranger)
            due = int((now - began) * self._rate) - made
            if due > self._rate / 2:  # it was stopped for a while: does not catch up
                began, due = now - made / self._rate, 0
            for _ in range(max(0, due)):
                place = made % len(self._ports)
                made += 1
                if len(self._open[place]) >= self._hold:  # the oldest gives up its place
                    self._open[place].pop(0).socket.close()
                self._connect(place)
            time.sleep(0.01)
        for stranger in itertools.chain.from_iterable(self._open):
            stranger.socket.close()

    def _connect(self, place: int) -> None:
        family, address = self._ports[place]
        made = socket.socket(family)
        made.setblocking(False)
        try:
            if family == socket.AF_INET and self._sources > 1:
                made.bind((f"127.0.{next(self._number) % self._sources + 1}.1", 0))
            made.connect(address)
        except OSError as error:
            # A connection may be in progress, but not to a Unix socket: its queue is full.
            if not isinstance(error, BlockingIOError) or family == socket.AF_UNIX:
                self.counted["refused"] += 1
                made.close()
                return
        self.counted["made"] += 1
        self._open[place].append(Stranger(made, iter(next(self._kinds[place])), memoryview(b"")))

    def _goes_on(self, stranger: Stranger, now: float) -> bool:
        """Sends a part of its data, and checks whether the daemon has hung up."""
        try:
            if stranger.socket.recv(4096) == b"":
                self.counted["cut"] += 1
                return False
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ENOTCONN:  # not yet
                self.counted["cut"] += 1
                return False
        if not stranger.left and now >= stranger.next_at:
            part = next(stranger.parts, b"")
            if part is None:
                return False
            stranger.left, stranger.next_at = memoryview(part), now + 0.02
        with contextlib.suppress(BlockingIOError, BrokenPipeError, ConnectionResetError):
            while stranger.left and (sent := stranger.socket.send(stranger.left[: 1 << 20])):
                stranger.left = stranger.left[sent:]
        return True


def ports_of(config: Config) -> list[Where]:
    """Returns all addresses on which a daemon listens."""
    urls = [config.listen.control, config.listen.ticks, config.admin.listen]
    addresses = [parse_address(url) for url in urls if url]
    if config.metrics.address is not None:
        addresses.append(config.metrics.address)
    found: list[Where] = [(socket.AF_INET, (address.host, address.port)) for address in addresses]
    return [*found, (socket.AF_UNIX, str(config.admin.socket))]


@contextlib.contextmanager
def knocking(
    config: Path,
    seconds: float,
    *,
    rate: float,
    hold: int,
    sources: int = 1,
    started: Callable[[subprocess.Popen[str]], None] = lambda _: None,
) -> Iterator[Counter[str]]:
    """Runs a crowd in a separate process, which `started` receives and which has begun to connect; yields its counts,
    which are complete after the block.
    """
    counted: Counter[str] = Counter()
    words = ["--seconds", str(seconds), "--rate", str(rate), "--hold", str(hold), "--sources", str(sources)]
    command = [sys.executable, "-m", "tests.cluster.strangers", str(config), *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            started(process)
            assert process.stdout is not None
            assert process.stdout.readline() == "knocking\n"
            yield counted
            said, _ = process.communicate(timeout=3 * seconds + 60)
            assert process.returncode == 0
            counted.update(json.loads(said))
        finally:
            process.kill()


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--hold", type=int, default=400)
    parser.add_argument("--sources", type=int, default=1)
    options = parser.parse_args()
    crowd = Crowd(ports_of(load(options.config, {})), options.rate, options.hold, options.sources)
    print("knocking", flush=True)
    crowd.run(options.seconds)
    print(json.dumps(crowd.counted))


if __name__ == "__main__":
    main()
