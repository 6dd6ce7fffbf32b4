"""An Ethernet switch in user space: one TAP in each namespace, and a rule for each ordered pair of hosts.

    tap_switch.py FOLDER SEED NAMESPACE...

It replaces `tc netem` and nft, which not every kernel and machine has; it needs `ip` and /dev/net/tun. Host i (from 1)
has the Ethernet address 02:00:00:00:00:i, so the switch need not learn addresses: the last byte is the port.

It reads rules as lines of JSON from standard input, and answers each, once it is in effect, with a line of JSON: how
many frames were passed and dropped so far. It exits at the end of standard input, so it does not outlive its parent.

    {"from": 1, "to": 2, "cut": true}
    {"from": 1, "to": 2, "delay": 0.05, "jitter": 0.01, "loss": 0.1}
    {"uplink": 1, "rate": 625000, "queue": 131072}
    {"clear": true}

An uplink limits what a host sends to all others, in bytes per second; it has a queue of this many bytes, and drops what
does not fit, as a router does. Delays are added after it.

It imports nothing of Shoal, so it starts in a few hundredths of a second. FOLDER is only on the command line so that a
cleanup can recognize the process.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import json
import os
import random
import select
import struct
import sys
import time
from typing import Any, Final

TUNSETIFF: Final = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
DEVICE: Final = b"e0"
FRAME_BYTES_MAX: Final = 65536
FRAMES_AT_ONCE: Final = 32
QUEUE_FRAMES_MAX: Final = 100_000
"""The limit of delayed frames; more are dropped, as a real switch does."""


class Uplink:
    """One host's uplink, with a rate in bytes per second and a queue in bytes."""

    def __init__(self, rate: float, queue: int) -> None:
        self._rate, self._queue = rate, queue
        self._free_at = 0.0

    def send(self, size: int, now: float) -> float | None:
        """Returns when the last byte of a frame has left, or None if the queue has no room for it."""
        begins = max(now, self._free_at)
        if (begins - now) * self._rate + size > self._queue:
            return None
        self._free_at = begins + size / self._rate
        return self._free_at


class Switch:
    """The TAPs, the rules, and the frames in transit."""

    def __init__(self, taps: dict[int, int], seed: int) -> None:
        self._ports = taps
        self._hosts = {tap: host for host, tap in taps.items()}
        self._rules: dict[tuple[int, int], dict[str, Any]] = {}
        self._random = random.Random(seed)
        self._last: dict[tuple[int, int], float] = {}
        self._uplinks: dict[int, Uplink] = {}
        self._queue: list[tuple[float, int, int, bytes]] = []
        self._sequence = 0
        self.passed = self.dropped = 0

    @property
    def patience(self) -> float | None:
        """Returns the seconds until a frame is due."""
        return max(0.0, self._queue[0][0] - time.monotonic()) if self._queue else None

    def rule(self, order: dict[str, Any]) -> None:
        """Applies a rule; one without any effect removes the previous one."""
        if order.pop("clear", False):
            self._rules.clear()
            self._uplinks.clear()
        elif "uplink" in order:
            self._uplinks[order["uplink"]] = Uplink(order["rate"], order["queue"])
        else:
            pair = (order.pop("from"), order.pop("to"))
            self._rules.pop(pair, None)
            if any(order.values()):
                self._rules[pair] = order

    def read(self, tap: int) -> None:
        """Reads frames from one host."""
        source = self._hosts[tap]
        for _ in range(FRAMES_AT_ONCE):
            try:
                frame = os.read(tap, FRAME_BYTES_MAX)
            except BlockingIOError:
                return
            to_all = bool(frame[0] & 1)
            for target in [host for host in self._ports if host != source] if to_all else [frame[5]]:
                if target in self._ports:
                    self._forward(source, target, frame)

    def deliver(self) -> None:
        """Delivers the frames that are due."""
        now = time.monotonic()
        while self._queue and self._queue[0][0] <= now:
            _, _, target, frame = heapq.heappop(self._queue)
            self._put(target, frame)

    def _forward(self, source: int, target: int, frame: bytes) -> None:
        rule, uplink = self._rules.get((source, target), {}), self._uplinks.get(source)
        if not rule and uplink is None:
            self._put(target, frame)
            return
        sent_at = uplink.send(len(frame), time.monotonic()) if uplink else time.monotonic()
        is_lost = rule.get("cut") or self._random.random() < rule.get("loss", 0.0)
        if sent_at is None or is_lost or len(self._queue) >= QUEUE_FRAMES_MAX:
            self.dropped += 1
        else:
            wait = rule.get("delay", 0.0) + self._random.uniform(-1, 1) * rule.get("jitter", 0.0)
            # A varying delay must not reorder frames: routers don't, and TCP would take it for loss.
            due = max(sent_at + wait, self._last.get((source, target), 0.0))
            self._last[source, target] = due
            self._sequence += 1
            heapq.heappush(self._queue, (due, self._sequence, target, frame))

    def _put(self, target: int, frame: bytes) -> None:
        try:
            os.write(self._ports[target], frame)
            self.passed += 1
        except OSError:  # its queue is full, or the interface is down
            self.dropped += 1


def open_tap(namespace: str) -> int:
    """Opens a TAP device inside a named namespace; the returned descriptor keeps it alive."""
    libc = ctypes.CDLL(None, use_errno=True)
    ours = os.open("/proc/self/ns/net", os.O_RDONLY)
    theirs = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
    try:
        if libc.setns(theirs, 0):
            raise OSError(ctypes.get_errno(), f"setns {namespace}")
        tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", DEVICE, IFF_TAP | IFF_NO_PI))
        if libc.setns(ours, 0):
            raise OSError(ctypes.get_errno(), "setns back")
    finally:
        os.close(ours)
        os.close(theirs)
    return tap


def main() -> int:
    """Forwards until standard input ends."""
    seed, spaces = int(sys.argv[2]), sys.argv[3:]
    taps = {host: open_tap(space) for host, space in enumerate(spaces, 1)}
    switch = Switch(taps, seed)
    poll = select.epoll()
    for descriptor in (*taps.values(), sys.stdin.fileno()):
        poll.register(descriptor, select.EPOLLIN)
    ahead = b""
    print(json.dumps({"ready": True}), flush=True)
    while True:
        ready = poll.poll(switch.patience)
        switch.deliver()
        for descriptor, _ in ready:
            if descriptor != sys.stdin.fileno():
                switch.read(descriptor)
                continue
            said = os.read(descriptor, FRAME_BYTES_MAX)
            if not said:
                return 0
            *lines, ahead = (ahead + said).split(b"\n")
            for line in lines:
                switch.rule(json.loads(line))
                print(json.dumps({"passed": switch.passed, "dropped": switch.dropped}), flush=True)


if __name__ == "__main__":
    sys.exit(main())
