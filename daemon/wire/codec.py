"""Envelopes and frames.

A message is one header frame and, for arrays, frames of their own behind it:

    frame 0     msgpack [version, cluster, epoch, sender, generation, tag, [field, ...]]
    frame 1..   the large ones of the `Frames` field, untouched

The version is the lowest one that reads this form of the message. A codec writes the newest form that its cluster's
`version` allows, and reads all from `FIRST` to the newest that this Shoal knows (`daemon/wire/version`).

The cluster is its configured name, followed by a slash and the id of its founding once the sender belongs to one: two
clusters of the same name are still two clusters. A frame of another founding is refused before its body is decoded. A
frame without an id comes from a shard that belongs to none yet; a shard that belongs to none reads any.

In the header, a `Frames` field is an array with one item per frame, in order: the bytes themselves if they are few,
else their length, with the bytes in the next frame behind the header. So a 1 kB phase message is one ZeroMQ message of
one part, and an array of megabytes is copied neither when sent nor when received.

Equal messages from the same sender give equal bytes: encode once, and send the same list to many peers.

`decode` accepts what `encode` produces under the same limits: `encode` decodes its own output, and raises `Rejected`
for what a peer would refuse (it is too large, a number is out of range, a text can't be UTF-8), so that the mistake
shows at its source and costs that message alone. A value that msgpack can't represent raises msgpack's own error.

msgspec does the work, in C. A skim with msgpack checks large headers against the limits first. msgspec has one error
for everything: the reason, for the counters, is determined only after a refusal.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from operator import is_
from typing import Any, NamedTuple, cast

import msgpack
from msgspec import Raw
from msgspec.msgpack import Decoder, Encoder
from msgspec.structs import force_setattr, replace

from daemon.wire.records import Record, Unsupported, cut, is_whole, record_of
from daemon.wire.rejected import NOT_DECODED, Foreign, Reason, Rejected, not_decoded
from daemon.wire.version import FIRST, NEWEST
from shoal.api.ranges import INT_MAX
from shoal.api.struct import Count
from shoal.lockstep.frames import Buffer

# Inside the header, frames save a message part: 2 us of 33 per message over loopback at 1 and at 4 KiB, about 3 of 55
# at 16 KiB, nothing at 64 KiB (minimum of 12 turns on a busy machine). 4 KiB keeps headers small and cheap to bound.
INLINE_BYTES_MAX = 4096
ENVELOPE_ITEMS = 7
FOUNDING_CHARACTERS_MAX = 64
SENDER_CHARACTERS_MAX = 255
PREFIXES_MAX = 64
LARGE_BYTES = 16 << 10

Header = tuple[int, str, Count, str, Count, int, Raw]
"""Version, cluster, epoch, sender, generation, tag, body."""


@dataclass(frozen=True, slots=True)
class WireLimits:
    """A message that exceeds any of these is refused. All members of a cluster should agree on them.

    `items_max` bounds every array (tuples, sets, fields), `text_bytes_max` every string; a bytes field is bounded by
    the header that holds it.
    """

    header_bytes_max: int = 1 << 20
    frame_bytes_max: int = 256 << 20
    frames_max: int = 1024
    text_bytes_max: int = 64 << 10
    items_max: int = 64 << 10

    def __post_init__(self) -> None:
        for name in self.__slots__:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1")


class Envelope(NamedTuple):
    """A message with its sender, the sender's life (generation) and view (epoch)."""

    epoch: int
    sender: str
    generation: int
    message: Any
    founding: str = ""


class Codec:
    """Encodes and decodes the classes of one table, for one cluster.

    Keeps no state but a bounded cache of envelope prefixes; use one per thread all the same.

    >>> from shoal.api.struct import Struct
    >>> class Ping(Struct):
    ...     nonce: Count
    ...     note: str | None
    >>> codec = Codec("demo", {1: Ping})
    >>> codec.decode(codec.encode(3, "alpha", 1, Ping(7, None)))
    Envelope(epoch=3, sender='alpha', generation=1, message=Ping(nonce=7, note=None), founding='')
    >>> Codec("other", {1: Ping}).decode(codec.encode(3, "alpha", 1, Ping(7, None)))
    Traceback (most recent call last):
    daemon.wire.rejected.Rejected: cluster: 'demo' is not our cluster
    >>> codec.decode(codec.encode(3, "alpha", 1, Ping(7, None), founding="a6ff"), founding="05c1")
    Traceback (most recent call last):
    daemon.wire.rejected.Foreign: foreign: 'alpha' belongs to the cluster that was founded as 'a6ff'
    """

    def __init__(
        self,
        cluster: str,
        types: Mapping[int, type],
        limits: WireLimits | None = None,
        version: int = FIRST,
        newest: int = NEWEST,
    ) -> None:
        """Writes for a cluster of this `version`, until that is changed, and reads up to the `newest`."""
        self.limits = limits = limits or WireLimits()
        self._types, self._newest = dict(types), newest
        self._cluster = cluster
        self._encoder = Encoder(enc_hook=_plain, order="deterministic")
        self._open = Decoder(Header).decode
        self._by_tag: dict[int, Record] = {tag: record_of(cls, sys.maxsize) for tag, cls in types.items()}
        if len(set(types.values())) != len(types):
            raise Unsupported("a class has two tags in the table")
        for tag, record in self._by_tag.items():
            if record.version > newest:
                raise Unsupported(
                    f"{types[tag].__qualname__} has something of version {record.version}: it is known to none"
                )
        self._written: dict[type, tuple[bytes, Record]] = {}
        self.version = version
        self._prefixes: dict[tuple[int, int, str, int, str], bytes] = {}
        self._frames_max = limits.frames_max + 1
        self._unpackb = partial(
            msgpack.unpackb,
            raw=False,
            max_str_len=limits.text_bytes_max,
            max_bin_len=limits.header_bytes_max,
            max_array_len=limits.items_max,
            max_map_len=0,
            max_ext_len=0,
            ext_hook=_no_extension,
        )
        self._skimmer = self._new_skimmer()
        # A shorter header can't break a limit, nor cause more than a moment's work.
        self._harmless_bytes = min(limits.text_bytes_max, limits.items_max, limits.header_bytes_max)

    @property
    def version(self) -> int:
        """The cluster version that it writes for; below `FIRST`, none is known. It may be set while another thread
        encodes.
        """
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        version = max(version, FIRST)
        records = {tag: record_of(cls, version) for tag, cls in self._types.items()}
        self._version = version
        self._written = {self._types[tag]: (self._encoder.encode(tag), record) for tag, record in records.items()}

    def encode(self, epoch: int, sender: str, generation: int, message: Any, founding: str = "") -> list[Buffer]:
        """Returns the frames of a message, which can be sent to any number of peers. `founding` is the sender's."""
        tag, record = self._written[type(message)]
        outer: list[Buffer] = []
        if record.frames is not None and (frames := getattr(message, record.frames)):
            packed = self._pack_frames(frames, outer)
            if outer or not all(map(is_, packed, frames)):
                message = replace(message, **{record.frames: packed})
        key = (record.version, epoch, sender, generation, founding)
        prefix = self._prefixes.get(key) or self._prefix(*key)
        try:
            body = self._encoder.encode(cut(message, record.cut_to) if record.cut_to else message)
        except UnicodeEncodeError as error:
            raise Rejected(Reason.TEXT, f"{type(message).__name__}: text that is not UTF-8: {error.reason}") from error
        except OverflowError as error:
            raise Rejected(Reason.RANGE, f"{type(message).__name__}: {error}") from error
        try:
            record.decode(body)
        except NOT_DECODED as error:
            raise not_decoded(type(message), error) from error
        header = b"".join((prefix, tag, body))
        if len(header) > self._harmless_bytes:
            if len(header) > self.limits.header_bytes_max:
                raise Rejected(Reason.OVERSIZE, f"{type(message).__name__}: a header of {len(header)} bytes")
            self._unpack_header(header)
        return [header, *outer]

    def decode(self, frames: Sequence[Buffer], founding: str = "") -> Envelope:
        """Returns the message in these frames. Raises `Rejected`, or `Foreign` if it is of another founding."""
        if not frames:
            raise Rejected(Reason.TRUNCATED, "no frame at all")
        if len(frames) > self._frames_max:
            raise Rejected(Reason.OVERSIZE, f"{len(frames)} frames")
        header = frames[0] if type(frames[0]) is bytes else _view(frames[0])
        if _size(header) >= self._harmless_bytes:
            self._unpack_header(header)
        try:
            version, cluster, epoch, sender, generation, tag, body = self._open(header)
        except NOT_DECODED as error:
            raise self._no_envelope(header, founding, error) from error
        self._check_version(version)
        theirs = "" if cluster == self._cluster else self._founding_in(cluster, sender, founding)
        record = self._by_tag.get(tag)
        if record is None:
            raise Rejected(Reason.UNKNOWN_TYPE, f"tag {tag}")
        try:
            message = record.decode(body)
        except NOT_DECODED as error:
            raise not_decoded(self._types[tag], error) from error
        if self._encoder.encode(message) != bytes(body) if record.is_loose else memoryview(body)[0] != record.begin:
            self._check_whole(body, message)
        if record.frames is not None:
            if (packed := getattr(message, record.frames)) or len(frames) > 1:
                force_setattr(message, record.frames, self._unpack_frames(packed, frames))
        elif len(frames) != 1:
            raise Rejected(Reason.MALFORMED, f"{len(frames) - 1} frames behind a message that has none")
        return Envelope(epoch, sender, generation, message, theirs)

    def label(self, header: Buffer) -> tuple[int | None, int | None]:
        """Returns the version and the tag that a header names, each None if missing, to describe a message that was not
        decoded.
        """
        try:
            envelope = self._unpack_header(header)
        except Rejected:
            return None, None
        if type(envelope) is not list or not envelope:
            return None, None
        tag = envelope[-2] if len(envelope) == ENVELOPE_ITEMS else None
        version = envelope[0]
        return version if type(version) is int else None, tag if type(tag) is int else None

    def _prefix(self, version: int, epoch: int, sender: str, generation: int, founding: str) -> bytes:
        """Returns all of the header before the tag, cached because it is the same for most messages of a view."""
        if len(self._prefixes) >= PREFIXES_MAX:
            self._prefixes.clear()
        cluster = f"{self._cluster}/{founding}" if founding else self._cluster
        packed = self._encoder.encode((version, cluster, epoch, sender, generation))
        prefix = bytes([0x90 | ENVELOPE_ITEMS]) + packed[1:]  # the array's first byte is its type and length
        self._prefixes[version, epoch, sender, generation, founding] = prefix
        return prefix

    def _check_version(self, version: int) -> None:
        if not FIRST <= version <= self._newest:
            known = f"{FIRST}" + (f" to {self._newest}" if self._newest > FIRST else "")
            raise Rejected(Reason.VERSION, f"it is {version}, and this Shoal reads {known}")

    def _founding_in(self, cluster: Any, sender: Any, founding: str) -> str:
        """Returns the id of a message's founding."""
        name, _, theirs = cluster.partition("/") if type(cluster) is str else (None, "", "")
        if name != self._cluster:
            raise Rejected(Reason.CLUSTER, f"{cluster!r:.80} is not our cluster")
        if theirs != founding and theirs and founding:
            raise _foreign(theirs, sender)
        return theirs

    def _no_envelope(self, header: Buffer, founding: str, error: Exception) -> Rejected:
        """Returns why a header is refused; it may be another version's, or another cluster's."""
        envelope = self._unpack_header(header)
        if type(envelope) is not list or not envelope or type(envelope[0]) is not int:
            return Rejected(Reason.MALFORMED, "not an envelope")
        self._check_version(envelope[0])
        if len(envelope) != ENVELOPE_ITEMS:
            return Rejected(Reason.MALFORMED, f"an envelope of {len(envelope)} items")
        _, cluster, epoch, sender, generation, tag, _ = envelope
        self._founding_in(cluster, sender, founding)
        if type(epoch) is not int or type(sender) is not str or type(generation) is not int:
            return Rejected(Reason.MALFORMED, "epoch, sender or generation of a wrong type")
        if not (0 <= epoch <= INT_MAX and 0 <= generation <= INT_MAX):
            return Rejected(Reason.RANGE, "an epoch or generation that no shard has")
        if type(tag) is not int:
            return Rejected(Reason.UNKNOWN_TYPE, f"tag {tag!r:.40}")
        return Rejected(Reason.MALFORMED, str(error))

    def _check_whole(self, body: Raw, message: Any) -> None:
        if not is_whole(self._unpack_header(memoryview(body)), message):
            raise Rejected(Reason.MALFORMED, f"{type(message).__name__}: without all of its fields, or an unsorted set")

    def _pack_frames(self, frames: Sequence[Buffer], outer: list[Buffer]) -> tuple[bytes | int, ...]:
        """Returns the header's items for the frames; appends frames that travel separately to `outer`."""
        if len(frames) > self.limits.frames_max:
            raise Rejected(Reason.OVERSIZE, f"{len(frames)} frames")
        packed: list[bytes | int] = []
        inline_left = INLINE_BYTES_MAX
        for frame in frames:
            size = len(frame) if type(frame) is bytes else _view(frame).nbytes
            if size <= inline_left:
                inline_left -= size
                packed.append(frame if type(frame) is bytes else _view(frame).tobytes())
            elif size <= self.limits.frame_bytes_max:
                packed.append(size)
                outer.append(frame if type(frame) is bytes else _view(frame).cast("B"))
            else:
                raise Rejected(Reason.OVERSIZE, f"a frame of {size} bytes")
        return tuple(packed)

    def _unpack_frames(self, packed: Sequence[bytes | int], frames: Sequence[Buffer]) -> tuple[bytes | memoryview, ...]:
        if len(packed) > self.limits.frames_max:
            raise Rejected(Reason.OVERSIZE, f"{len(packed)} frames")
        unpacked: list[bytes | memoryview] = []
        taken = 1
        for item in packed:
            if not isinstance(item, int):
                unpacked.append(item)
                continue
            if taken >= len(frames):
                raise Rejected(Reason.TRUNCATED, f"{len(frames) - 1} frames, the header names more")
            frame = frames[taken]
            view = frame if type(frame) is bytes else _view(frame)
            size = _size(view)
            if size > self.limits.frame_bytes_max:
                raise Rejected(Reason.OVERSIZE, f"a frame of {size} bytes")
            if size != item:
                raise Rejected(Reason.TRUNCATED, f"a frame of {size} bytes, the header says {item}")
            unpacked.append(view)
            taken += 1
        if taken != len(frames):
            raise Rejected(Reason.MALFORMED, f"{len(frames) - taken} frames that the header does not name")
        return tuple(unpacked)

    def _unpack_header(self, header: Buffer) -> Any:
        view = header if type(header) is bytes else _view(header)
        size = _size(view)
        if size > self.limits.header_bytes_max:
            raise Rejected(Reason.OVERSIZE, f"a header of {size} bytes")
        self._skim(view)
        # A megabyte of empty lists makes the garbage collector scan them all, again and again: 300 ms, without it 60.
        was_on = gc.isenabled() and size >= LARGE_BYTES
        if was_on:
            gc.disable()
        try:
            return self._unpackb(view)
        except (ValueError, TypeError, OverflowError, MemoryError) as error:
            reason = Reason.OVERSIZE if "exceeds max_" in str(error) else Reason.MALFORMED
            raise Rejected(reason, f"not msgpack that we take: {error}") from error
        finally:
            if was_on:
                gc.enable()

    def _skim(self, header: bytes | memoryview) -> None:
        """Checks that a header holds everything that its arrays announce, before it is unpacked.

        msgpack allocates each list as long as it is announced, at up to 1024 levels, before it reads the items: 60 kB
        of nested arrays would cost a quarter of a second and 64 MB before being refused. Skipping allocates nothing;
        and in a header that holds all that it announces, the lists together are no longer than the header.
        """
        begin = self._skimmer.tell()
        try:
            self._skimmer.feed(header)
            self._skimmer.skip()
            whole = self._skimmer.tell() - begin == _size(header)
        except (ValueError, msgpack.UnpackException) as error:
            self._skimmer = self._new_skimmer()
            raise Rejected(Reason.MALFORMED, f"not msgpack that we take: {error}") from error
        if not whole:
            self._skimmer = self._new_skimmer()
            raise Rejected(Reason.MALFORMED, "bytes behind the header's array")

    def _new_skimmer(self) -> Any:
        size = self.limits.header_bytes_max
        return msgpack.Unpacker(read_size=min(size, 1 << 14), max_buffer_size=size)


def _foreign(founding: str, sender: Any) -> Rejected:
    if len(founding) > FOUNDING_CHARACTERS_MAX or not founding.isalnum() or not founding.isascii():
        return Rejected(Reason.MALFORMED, "the id of a founding that is none")
    if type(sender) is not str or len(sender) > SENDER_CHARACTERS_MAX:
        return Rejected(Reason.MALFORMED, "a sender that is none")
    return Foreign(founding, sender)


def _view(buffer: Buffer) -> memoryview:
    return memoryview(cast(bytes, buffer))


def _size(view: bytes | memoryview) -> int:
    return view.nbytes if isinstance(view, memoryview) else len(view)


def _plain(value: Any) -> float:
    """Converts numpy's float types to Python's."""
    if isinstance(value, float):
        return float(value)
    raise TypeError(f"a {type(value).__name__} can't travel")


def _no_extension(code: int, data: bytes) -> Any:
    raise ValueError(f"extension type {code}")
