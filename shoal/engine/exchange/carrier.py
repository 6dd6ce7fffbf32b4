"""What a carrier is, and what is common to those that deliver messages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from shoal.program.phase import Phase

Array = NDArray[Any]
Buffer = Any


class BadExchange(ValueError):
    """What a peer sent does not fit the graph or the program."""


class BadState(ValueError):
    """What should be restored is not the state of these partitions."""


class Carrier(Protocol):
    """One thing that crosses with one phase. A peer's share has `frame_count` frames of it, always."""

    sent_in: Phase
    frame_count: int

    def pack(self) -> Mapping[str, tuple[Array, ...]]:
        """The frames for each peer; nothing that is done afterwards may write to them."""
        ...

    def check(self, peer: str, frames: Sequence[Buffer]) -> None:
        """See that a peer's frames fit. Raises `BadExchange`."""
        ...

    def settle(self, incoming: Mapping[str, Sequence[Buffer]]) -> None:
        """Take in what every peer sent."""
        ...

    def commit(self) -> None:
        """The tick is over."""
        ...

    def capture(self) -> Mapping[int, bytes]:
        """What has to be kept, by own partition: of the tick whose Advance was packed last. Empty: nothing ever."""
        ...

    def restore(self, states: Mapping[int, memoryview]) -> None:
        """Take it back, before Advance of that tick is packed again. Raises `BadState`."""
        ...


def read_frame(frame: Buffer, dtype: Any, what: str) -> Array:
    """A frame as an array of that type. Raises `BadExchange`."""
    view = memoryview(frame).cast("B")
    size = np.dtype(dtype).itemsize
    if view.nbytes % size:
        raise BadExchange(f"{what}: {view.nbytes} bytes are not values of {size}")
    values = np.frombuffer(view, dtype)
    return values if values.flags.aligned else values.copy()


def pack_sections(sections: Sequence[bytes]) -> bytes:
    """Several byte strings as one, each with its length (8 bytes, little-endian) before it."""
    return b"".join(part for section in sections for part in (len(section).to_bytes(8, "little"), section))


def split_sections(data: memoryview, count: int) -> list[memoryview]:
    """The byte strings again. Raises `BadState` unless there are exactly so many."""
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
    """Arrays as one section."""
    return pack_sections([np.ascontiguousarray(array).tobytes() for array in arrays])


def split_arrays(data: memoryview, dtypes: Sequence[Any]) -> list[Array]:
    """The arrays again. Raises `BadState`."""
    try:
        sections = split_sections(data, len(dtypes))
        return [read_frame(section, dtype, "an array") for section, dtype in zip(sections, dtypes, strict=True)]
    except BadExchange as error:
        raise BadState(str(error)) from error
