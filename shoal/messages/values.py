"""The values of messages and memory: plain values only, so that decoding never executes code.

A *message* is frozen when it is sent: lists become tuples, dicts become read-only. All receivers on a shard can
therefore share it without encoding, and none can change what another reads, which would depend on the number of shards.
A node's *memory* returns from a checkpoint with the same types, tuples and lists distinguished, and its dicts in their
order. Nothing else may refer to its lists and dicts (`shoal.program.kept_values`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgpack
import numpy as np

LEAST, MOST = -(2**63), 2**63 - 1
PLAIN = "None, bool, int, float, str, bytes, or a tuple, list or dict of such"
REMEMBERED = f"a node remembers {PLAIN}"
TUPLE, READ_ONLY = 1, 2


def frozen(value: Any) -> Any:
    """Returns a message's value as its receivers get it. Raises `TypeError` or `ValueError` if it can't be sent.

    >>> frozen([1, (2.5, "three")])
    (1, (2.5, 'three'))
    """
    kind = type(value)
    if kind is float or kind is bool or kind is bytes or value is None:
        return value
    if kind is int:
        if not LEAST <= value <= MOST:
            raise ValueError(f"{value} does not fit an integer of 64 bits")
        return value
    if kind is str:
        value.encode()  # a lone surrogate would fail only where it crosses shards
        return value
    if isinstance(value, list | tuple):
        return tuple([frozen(item) for item in value])
    if isinstance(value, Mapping):
        return MappingProxyType({_key(key): frozen(item) for key, item in value.items()})
    return frozen(_plain(value))


def _key(key: Any) -> Any:
    if type(key) not in (str, int, bytes):
        raise TypeError(f"a dict in a message has keys of str, int or bytes, not {type(key).__name__}")
    return frozen(key)


def _plain(value: Any) -> Any:
    """Returns the plain value that numpy's scalars and subclasses of plain types stand for."""
    if isinstance(value, np.generic) and type(value.item()) is not type(value):
        return value.item()
    kind: Any
    for kind in (float, int, str, bytes):
        if isinstance(value, kind):
            return kind.__new__(kind, value)
    raise TypeError(f"{PLAIN} can be sent, not {type(value).__name__}")


def pack_message(value: Any) -> bytes:
    """Returns a frozen value, or a tuple of frozen values, as bytes."""
    return bytes(msgpack.packb(value, default=_unfrozen))


def unpack_message(data: Any) -> Any:
    """Returns the frozen value from bytes. Raises `ValueError`."""
    try:
        return msgpack.unpackb(data, use_list=False, strict_map_key=False, object_hook=MappingProxyType, timestamp=0)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no message: {error}") from error


def _unfrozen(value: Any) -> Any:
    if isinstance(value, MappingProxyType):
        return dict(value)
    raise TypeError(f"{PLAIN} can be sent, not {type(value).__name__}")


def pack_memory(value: Any) -> bytes:
    """Returns the memory of nodes as bytes. Raises `TypeError` or `OverflowError` if it can't be saved."""
    return bytes(msgpack.packb(value, default=_extended, strict_types=True))


def unpack_memory(data: Any) -> Any:
    """Returns the memory of nodes from bytes. Raises `ValueError`."""
    try:
        return msgpack.unpackb(data, strict_map_key=False, ext_hook=_extension)
    except (TypeError, RecursionError) as error:
        raise ValueError(f"no memory: {error}") from error


def _extended(value: Any) -> Any:
    if type(value) is tuple:
        return msgpack.ExtType(TUPLE, pack_memory(list(value)))
    if type(value) is MappingProxyType:
        return msgpack.ExtType(READ_ONLY, pack_memory(dict(value)))
    raise TypeError(f"{REMEMBERED}, not {type(value).__name__}")


def _extension(code: int, data: bytes) -> Any:
    if code not in (TUPLE, READ_ONLY):
        raise ValueError(f"an extension of type {code}")
    return tuple(unpack_memory(data)) if code == TUPLE else MappingProxyType(unpack_memory(data))
