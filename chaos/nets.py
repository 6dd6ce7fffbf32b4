"""A network namespace for each daemon, connected by the switch in user space; hosts are numbered from 1."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from chaos import leftovers, tap_switch

NETWORK: Final = "10.78.0"
"""Visible only inside the namespaces: two campaigns on a machine do not interfere."""
END_SECONDS: Final = 5.0


class NetsFailed(Exception):
    """Raised if the switch or `ip` failed; says why."""


def address(host: int) -> str:
    """Returns the address of a host."""
    return f"{NETWORK}.{host}"


def why_not() -> str:
    """Returns why this machine can't create namespaces, or ""."""
    if os.geteuid() != 0:
        return "network faults need root"
    if shutil.which("ip") is None:
        return "network faults need the command `ip` (iproute2)"
    if not Path("/dev/net/tun").exists():
        return "network faults need /dev/net/tun"
    trial = f"{leftovers.own_name()}-0"
    made = subprocess.run(["ip", "netns", "add", trial], capture_output=True, text=True, check=False)
    if made.returncode:
        return f"network faults need namespaces: {made.stderr.strip()}"
    subprocess.run(["ip", "netns", "del", trial], capture_output=True, check=False)
    return ""


class Nets:
    """The hosts of one cluster. Created completely or not at all; `close` removes them."""

    def __init__(self, name: str, count: int, folder: Path, seed: int) -> None:
        self._spaces = [f"{name}-{host}" for host in range(1, count + 1)]
        self._switch: subprocess.Popen[str] | None = None
        try:
            for space in self._spaces:
                _ip("netns", "add", space)
            command = [sys.executable, "-I", tap_switch.__file__, f"{folder}/", str(seed), *self._spaces]
            self._switch = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
            )
            self._answer()
            for host, space in enumerate(self._spaces, 1):
                _ip("-n", space, "-batch", "-", words="\n".join(_settings(host, count)))
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Nets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def prefix(self, host: int) -> tuple[str, ...]:
        """Returns the command prefix that runs a command there; the command replaces it and keeps its process id."""
        return ("ip", "netns", "exec", self._spaces[host - 1])

    def cut(self, sources: Iterable[int], targets: Iterable[int]) -> None:
        """Drops all frames from any of these hosts to any of those."""
        self._rules(sources, targets, cut=True)

    def impair(self, host: int, delay: float = 0.0, loss: float = 0.0) -> None:
        """Delays (by a quarter more or less) or loses frames to and from one host."""
        others = [other for other in range(1, len(self._spaces) + 1) if other != host]
        settings = {"delay": delay, "jitter": delay / 4, "loss": loss}
        self._rules([host], others, **settings)
        self._rules(others, [host], **settings)

    def limit(self, host: int, bytes_per_second: float, queue_bytes: int) -> None:
        """Limits a host's outgoing frames to an uplink of that rate, with a queue of that size."""
        self._order({"uplink": host, "rate": bytes_per_second, "queue": queue_bytes})

    def sent_bytes(self) -> int:
        """Returns the bytes of all frames that the hosts have sent so far, without loopback."""
        return sum(_sent_bytes(space) for space in self._spaces)

    def heal(self) -> dict[str, int]:
        """Lifts all rules; returns how many frames were passed and dropped so far."""
        return self._order({"clear": True})

    def close(self) -> None:
        """Ends the switch and removes the namespaces."""
        if self._switch is not None:
            assert self._switch.stdin is not None
            assert self._switch.stdout is not None
            self._switch.stdin.close()
            try:
                self._switch.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                self._switch.kill()
                self._switch.wait()
            self._switch.stdout.close()
            self._switch = None
        there = set(leftovers.namespaces())
        for space in self._spaces:
            if space in there:
                _ip("netns", "del", space)

    def _rules(self, sources: Iterable[int], targets: Iterable[int], **settings: Any) -> None:
        ends = list(targets)
        for source in sources:
            for target in ends:
                self._order({"from": source, "to": target, **settings})

    def _order(self, order: dict[str, Any]) -> dict[str, int]:
        assert self._switch is not None
        assert self._switch.stdin is not None
        try:
            self._switch.stdin.write(json.dumps(order) + "\n")
            self._switch.stdin.flush()
        except BrokenPipeError:
            raise NetsFailed("the switch in user space has ended: what it said is above") from None
        return self._answer()

    def _answer(self) -> dict[str, int]:
        assert self._switch is not None
        assert self._switch.stdout is not None
        line = self._switch.stdout.readline()
        if not line:
            raise NetsFailed("the switch in user space has ended: what it said is above")
        answer: dict[str, int] = json.loads(line)
        return answer


def _sent_bytes(space: str) -> int:
    shown = subprocess.run(["ip", "-n", space, "-s", "-j", "link", "show", "e0"], capture_output=True, check=True)
    sent: int = json.loads(shown.stdout)[0]["stats64"]["tx"]["bytes"]
    return sent


def _settings(host: int, count: int) -> list[str]:
    """Returns the settings of a namespace. Neighbour entries are static, so that a partition drops frames silently
    instead of making a host unresolvable.
    """
    return [
        "link set lo up",
        "link set e0 addrgenmode none",
        f"link set e0 address {_ethernet(host)} mtu 1500 up",
        f"addr add {address(host)}/24 dev e0",
        *(
            f"neigh replace {address(other)} lladdr {_ethernet(other)} dev e0 nud permanent"
            for other in range(1, count + 1)
            if other != host
        ),
    ]


def _ethernet(host: int) -> str:
    return f"02:00:00:00:00:{host:02x}"


def _ip(*arguments: str, words: str = "") -> None:
    done = subprocess.run(["ip", *arguments], input=words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NetsFailed(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
