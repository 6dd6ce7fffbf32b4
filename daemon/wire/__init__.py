"""Bytes <-> messages: the one place that stops invalid data from peers.

`Codec` turns structs (`api/struct`) into ZeroMQ frames and back, by the composition root's table of tags. Whatever
arrives either becomes a message whose every field has its declared type, or raises `Rejected` with a reason to count.
It raises nothing else, and never executes anything from the wire: the format is msgpack without maps and extension
types, and the classes come from the table alone.
"""

from daemon.wire.codec import Codec, Envelope, WireLimits
from daemon.wire.records import Unsupported
from daemon.wire.rejected import ANOTHER_VERSIONS, Foreign, Reason, Rejected

__all__ = [
    "ANOTHER_VERSIONS",
    "Codec",
    "Envelope",
    "Foreign",
    "Reason",
    "Rejected",
    "Unsupported",
    "WireLimits",
]
