"""The protocol of carriers, and functions that those that deliver messages share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shoal.program.phase import Phase

Array = NDArray[Any]
Buffer = Any


class BadExchange(ValueError):
    """Raised if what a peer sent does not fit the graph or the program."""


class BadState(ValueError):
    """Raised if a state to be restored does not belong to these partitions."""


class Carrier(Protocol):
    """One kind of data that crosses with one phase. A peer's share always has `frame_count` frames of it."""

    sent_in: Phase
    frame_count: int

    def pack(self) -> Mapping[str, tuple[Array, ...]]:
        """Returns the frames for each peer; nothing may write to them afterwards."""
        ...

    def check(self, peer: str, frames: Sequence[Buffer]) -> None:
        """Checks that a peer's frames fit. Raises `BadExchange`."""
        ...

    def settle(self, incoming: Mapping[str, Sequence[Buffer]]) -> None:
        """Takes in what every peer sent."""
        ...

    def commit(self) -> None:
        """Ends the tick."""
        ...

    def capture(self) -> Mapping[int, bytes]:
        """Returns what must be kept, by own partition, as of the last Advance that was packed. Empty if there is never
        any.
        """
        ...

    def restore(self, states: Mapping[int, memoryview]) -> None:
        """Restores it, before Advance of that tick is packed again. Raises `BadState`."""
        ...


def read_frame(frame: Buffer, dtype: Any, what: str) -> Array:
    """Returns a frame as an array of that type. Raises `BadExchange`."""
    view = memoryview(frame).cast("B")
    size = np.dtype(dtype).itemsize
    if view.nbytes % size:
        raise BadExchange(f"{what}: {view.nbytes} bytes are not values of {size}")
    values = np.frombuffer(view, dtype)
    return values if values.flags.aligned else values.copy()


def pack_sections(sections: Sequence[bytes]) -> bytes:
    """Joins byte strings, each preceded by its length (8 bytes, little-endian)."""
    return b"".join(part for section in sections for part in (len(section).to_bytes(8, "little"), section))


def split_sections(data: memoryview, count: int) -> list[memoryview]:
    """Splits sections again. Raises `BadState` unless there are exactly `count`."""
    sections, at = [], 0
    for _ in range(count):
        length = int.from_bytes(data[at : at + 8], "little")
        end = at + 8 + length
        if at + 8 > len(data) or end > len(data):
            raise BadState(f"a section ends at byte {end} of {len(data)}")
        sections.append(data[at + 8 : end])
        at = end
    if at != len(data):
        raise BadState(f"{len(data) - at} bytes are left over")
    return sections


def pack_arrays(arrays: Sequence[Array]) -> bytes:
    """Packs arrays as one section."""
    return pack_sections([np.ascontiguousarray(array).tobytes() for array in arrays])


def split_arrays(data: memoryview, dtypes: Sequence[Any]) -> list[Array]:
    """Splits a section of arrays again. Raises `BadState`."""
    try:
        sections = split_sections(data, len(dtypes))
        return [read_frame(section, dtype, "an array") for section, dtype in zip(sections, dtypes, strict=True)]
    except BadExchange as error:
        raise BadState(str(error)) from error
