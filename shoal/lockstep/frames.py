"""The type of a message field that holds arrays.

A message carries small values in fields and arrays as *frames*: buffers sent next to the header without a copy. A
field annotated `Frames` declares them; a message class has at most one, as its last field. A sender may pass any
C-contiguous object with the buffer protocol (bytes, a memoryview, a numpy array). A receiver gets bytes or a memoryview
of bytes, never an array: the message's other fields state what the bytes mean, and the receiver checks them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from typing_extensions import Buffer as AnyBuffer

    Buffer: TypeAlias = AnyBuffer | np.ndarray[Any, Any]  # numpy's stubs have the protocol only from Python 3.12 on
else:
    Buffer = bytes | int
    """In a header: the bytes, or the length of a frame that follows it."""

Frames: TypeAlias = tuple[Buffer, ...]


def size_of(frames: Sequence[Any]) -> int:
    """Returns the number of bytes in all frames of a message."""
    return sum([len(frame) if isinstance(frame, bytes) else memoryview(frame).nbytes for frame in frames])
