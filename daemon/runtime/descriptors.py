"""Bounds the connections of each port, so that this process never reaches its limit of file descriptors.

At that limit nothing that opens a file works, and libraries may end the process. So the daemon raises the limit as far
as the system allows, subtracts its own needs (files, libzmq's internal sockets, links to peers), and divides the rest
among the ports, however many clients connect. For bursts that arrive faster than the daemon can react, each port
has a defence that needs no descriptor: `daemon.transport.security` and `daemon.transport.accepting`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import resource
from dataclasses import dataclass
from typing import Final

log = logging.getLogger("shoal.daemon")

OWN: Final = 88
"""About 45, counted on a running daemon, plus some for short-lived ones: a backup, a check of a program, an import."""
OPERATORS_OWN: Final = 12
A_PEER: Final = 10
"""One connection each way and plane; each outgoing one also takes a libzmq socket and its monitor."""
PEERS_MIN: Final = 8
"""A cluster may grow to this size without a restart of this daemon."""
REST_MIN: Final = 60
USEFUL_MAX: Final = 65536
PLANE_MAX, PEERS_MAX, STRANGERS_MAX, METRICS_MAX, OPERATORS_MAX = 4096, 1024, 128, 32, 256


class TooFewDescriptors(Exception):
    """The limit is too low for this configuration; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Shares:
    """The maximum numbers of simultaneous connections."""

    limit: int
    peers: int
    """Outgoing connections of the control plane, for any reason: gossip may name many addresses."""
    plane: int
    """Incoming connections on each plane, of members and others."""
    strangers: int
    """Those of them that are still in their handshake; as many again on the operators' port."""
    operators: int
    admin: int
    metrics: int


def shares(limit: int, shards: int, admin_max: int, *, operators: bool) -> Shares:
    """Divides the descriptors among the ports, for a cluster of so many shards; raises `TooFewDescriptors`.

    >>> shares(300, 3, 64, operators=False)
    Shares(limit=300, peers=14, plane=42, strangers=14, operators=0, admin=28, metrics=16)
    >>> shares(65536, 3, 64, operators=True)
    Shares(limit=65536, peers=1024, plane=4096, strangers=128, operators=256, admin=64, metrics=32)
    >>> shares(200, 3, 64, operators=False)
    Traceback (most recent call last):
    daemon.runtime.descriptors.TooFewDescriptors: ...open at most 200 files, and a shard of 3 needs 218: ...
    """
    peers = max(shards - 1, PEERS_MIN - 1)
    own = OWN + (OPERATORS_OWN if operators else 0) + A_PEER * peers
    rest = limit - own
    if rest < REST_MIN:
        raise TooFewDescriptors(
            f"this process may open at most {limit} files, and a shard of {shards} needs {own + REST_MIN}: raise "
            "LimitNOFILE in its unit, or `ulimit -n` in the shell that starts it"
        )
    tenth = rest // 10
    return Shares(
        limit,
        peers=min(PEERS_MAX, peers + tenth // 2),
        plane=min(PLANE_MAX, 2 * peers + 2 * tenth),
        strangers=min(STRANGERS_MAX, tenth),
        operators=min(OPERATORS_MAX, max(2, tenth // 2)) if operators else 0,  # each takes three
        admin=min(admin_max, 2 * tenth),
        metrics=min(METRICS_MAX, tenth + tenth // 5),
    )


def raise_limit() -> int:
    """Raises the limit of descriptors as far as the system allows and is useful, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, USEFUL_MAX)), hard))
    return limit_now()


def limit_now() -> int:
    """Returns this process's limit of descriptors."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_now() -> int | None:
    """Returns how many descriptors are open; None if it can't tell, because that takes one."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return None
