"""How many connections each port may have, so that this process never comes to its limit of file descriptors.

At that limit nothing works that opens anything, and libraries may end the process. So the limit is raised as far as the
system allows, the daemon's own needs come off it (files, sockets of libzmq's inside, what links to the others take),
and the ports share the rest, whoever connects and however often. A burst that comes faster than anybody looks is met by
what each port does without a descriptor: `daemon.transport.security` and `daemon.transport.accepting`.
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
"""Counted on a running daemon: some 45; and for the moment a backup, a program that is looked over, an import."""
OPERATORS_OWN: Final = 12
A_PEER: Final = 10
"""One connection each way and plane, and for those that are ours a socket of libzmq's and its monitor."""
PEERS_MIN: Final = 8
"""A cluster may grow without a restart of this daemon."""
REST_MIN: Final = 60
USEFUL_MAX: Final = 65536
PLANE_MAX, PEERS_MAX, STRANGERS_MAX, METRICS_MAX, OPERATORS_MAX = 4096, 1024, 128, 32, 256


class TooFewDescriptors(Exception):
    """The limit does not do for this configuration; the text is for the operator."""


@dataclass(frozen=True, slots=True)
class Shares:
    """Connections at a time."""

    limit: int
    peers: int
    """That this one connects to on the control plane, for whatever reason: gossip may name many."""
    plane: int
    """On each, of members and of others."""
    strangers: int
    """Of those, before their handshake; as many on the operators' port."""
    operators: int
    admin: int
    metrics: int


def shares(limit: int, shards: int, admin_max: int, *, operators: bool) -> Shares:
    """What each port may have, for a cluster of so many shards; raises `TooFewDescriptors`.

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
    """Raises the limit of descriptors as far as the system allows and is of use, and returns it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, USEFUL_MAX)), hard))
    return limit_now()


def limit_now() -> int:
    """How many this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def open_now() -> int | None:
    """How many this process has open; None if it can't tell, for that takes one."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1
    except OSError:
        return None
