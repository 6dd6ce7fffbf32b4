"""Collects the actions of agents in one Act, and mails them to the partitions that they affect."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from shoal.program.declarations import Mail
from shoal.program.phase import Phase

if TYPE_CHECKING:
    from shoal.engine.workspace import Workspace

ACTS: Final = (
    Mail("concepts", (("key", bytes), ("kind", np.int64), ("label", bytes))),
    Mail("wires", (("near", bytes), ("far", bytes), ("times", np.int64))),
    Mail("signals", (("place", bytes), ("kind", np.int64), ("intensity", np.float64))),
    Mail("traces", (("place", bytes), ("kind", np.int64), ("author", np.int64))),
    Mail("agents", (("record", bytes),)),
    Mail("cuts", (("near", bytes), ("far", bytes))),
)
ASKS: Final = Mail("asks", (("key", bytes),), sent_in=Phase.ADVANCE)
FACTS: Final = Mail(
    "facts",
    (("key", bytes), ("kind", np.int64), ("accesses", np.int64), ("created", np.int64)),
    sent_in=Phase.ADVANCE,
)
_FIELDS: Final = {mail.name: tuple(name for name, _ in mail.fields) for mail in ACTS}


class Outbox:
    """Records by kind, in the order in which they were written: that of the partition's agents."""

    def __init__(self, partition_of: Callable[[bytes], int]) -> None:
        self._known: dict[bytes, int] = {}
        self._look_up = partition_of
        self._rows: dict[str, list[tuple[Any, ...]]] = {name: [] for name in _FIELDS}

    def concept(self, sender: int, key: bytes, kind: int, label: bytes) -> None:
        """Presents a concept."""
        self._rows["concepts"].append((sender, self._partition_of(key), key, kind, label))

    def wire(self, sender: int, left: bytes, right: bytes, times: int) -> None:
        """Notifies both ends of an edge, each in its own partition, even if both are in the same one."""
        rows = self._rows["wires"]
        rows.append((sender, self._partition_of(left), left, right, times))
        rows.append((sender, self._partition_of(right), right, left, times))

    def signal(self, sender: int, place: bytes, kind: int, intensity: float) -> None:
        """Emits a signal."""
        self._rows["signals"].append((sender, self._partition_of(place), place, kind, intensity))

    def trace(self, sender: int, place: bytes, kind: int, author: int) -> None:
        """Leaves a trace."""
        self._rows["traces"].append((sender, self._partition_of(place), place, kind, author))

    def agent(self, sender: int, place: bytes, record: bytes) -> None:
        """Sends an agent, travelling or newborn."""
        self._rows["agents"].append((sender, self._partition_of(place), record))

    def cut(self, near: bytes, far: bytes) -> None:
        """Notifies both ends that the near end drops an edge."""
        sender, rows = self._partition_of(near), self._rows["cuts"]
        rows.append((sender, sender, near, far))
        rows.append((sender, self._partition_of(far), far, near))

    def _partition_of(self, name: bytes) -> int:
        """Returns a name's partition; cached, as most names occur many times in a tick."""
        partition = self._known.get(name)
        if partition is None:
            partition = self._known[name] = self._look_up(name)
        return partition

    def post(self, ws: Workspace) -> None:
        """Sends everything."""
        self._known.clear()
        for name, rows in self._rows.items():
            if rows:
                senders, partitions, *fields = map(list, zip(*rows, strict=True))
                ws.send(name, senders, partitions, **dict(zip(_FIELDS[name], fields, strict=True)))  # type: ignore[arg-type]
                rows.clear()
