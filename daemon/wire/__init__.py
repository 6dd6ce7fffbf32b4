"""Bytes <-> messages: the one place where a peer's nonsense is stopped.

`Codec` turns structs (`api/struct`) into ZeroMQ frames and back, from a table of tags that the composition root hands
in; whatever comes from outside either becomes a message whose every field has its declared type, or raises `Rejected`
with a reason to count. Nothing else is ever raised, and nothing read from the wire is ever run: the format is msgpack
without maps and extension types, and the classes come from the table alone.
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
