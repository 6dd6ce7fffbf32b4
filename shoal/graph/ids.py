"""Node ids, their order, and the partition to which each belongs for the graph's life.

A graph's ids are all integers of 64 bits or all strings. They are ordered by value, or by UTF-8 bytes; a node's
position in that order is its *ordinal*. The partition of a node depends only on its id and the number of partitions::

    mmh3_32(bytes of the id, seed 0) % partitions        int: 8 bytes, little-endian, signed; str: UTF-8

Integers are hashed as whole arrays: MurmurHash3_x86_32 (Austin Appleby, public domain, `MurmurHash3.cpp`) of eight
bytes takes two rounds and a finish, a dozen array operations. The mmh3 package hashes strings, and is the reference in
the tests.
"""

from __future__ import annotations

import sys
from typing import Any, TypeAlias

import mmh3
import numpy as np
from numpy.typing import NDArray

from shoal.graph.arrow import pa

IdColumn: TypeAlias = Any
"""An int64 array, or a pyarrow string array without nulls."""

PARTITIONS_MAX = 1 << 16
"""A partition's number fits 16 bits, because it is stored for every node."""

assert sys.byteorder == "little", "ids and columns are hashed and sent as they lie in memory"


def partition_of(node: int | str, count: int) -> int:
    """Returns the partition of one node id.

    >>> partition_of(1, 64), partition_of("libc6", 64)
    (4, 5)
    """
    data = node.encode() if isinstance(node, str) else node.to_bytes(8, "little", signed=True)
    return int(mmh3.hash(data, 0, signed=False)) % count


def partition_type(count: int) -> np.dtype[Any]:
    """Returns the narrowest type that holds a partition's number."""
    if not 1 <= count <= PARTITIONS_MAX:
        raise ValueError(f"a graph has 1 to {PARTITIONS_MAX} partitions, not {count}")
    return np.dtype(np.uint8 if count <= 256 else np.uint16)


def partitions_of(ids: IdColumn, count: int) -> NDArray[Any]:
    """Returns the partition of every id, in the given order.

    >>> partitions_of(np.array([1, 2, 3]), 64).tolist()
    [4, 52, 51]
    """
    kind = partition_type(count)
    hashes = _hash_integers(ids) if isinstance(ids, np.ndarray) else _hash_strings(ids)
    return (hashes % np.uint32(count)).astype(kind)


def _hash_integers(ids: NDArray[Any]) -> NDArray[np.uint32]:
    words = np.ascontiguousarray(ids, dtype="<i8").view("<u4").reshape(-1, 2)
    state = np.zeros(len(words), dtype=np.uint32)
    for block in (words[:, 0], words[:, 1]):
        mixed = _rotate(block * np.uint32(0xCC9E2D51), 15)
        mixed *= np.uint32(0x1B873593)
        state ^= mixed
        state = _rotate(state, 13)
        state *= np.uint32(5)
        state += np.uint32(0xE6546B64)
    state ^= np.uint32(8)  # the length in bytes
    state ^= state >> np.uint32(16)
    state *= np.uint32(0x85EBCA6B)
    state ^= state >> np.uint32(13)
    state *= np.uint32(0xC2B2AE35)
    state ^= state >> np.uint32(16)
    return state


def _rotate(words: NDArray[np.uint32], left: int) -> NDArray[np.uint32]:
    return (words << np.uint32(left)) | (words >> np.uint32(32 - left))


def _hash_strings(ids: Any) -> NDArray[np.uint32]:
    kind = pa.large_binary() if pa.types.is_large_string(ids.type) else pa.binary()
    return np.fromiter(map(mmh3.mmh3_32_uintdigest, ids.cast(kind).to_pylist()), np.uint32, len(ids))
