"""A snapshot of all machines as a sequence of chunks, which are small however large the state is.

    chunk, chunk, ...   one stream of frames, cut every `CHUNK_BYTES`
    frame               its length in 4 bytes, and that many bytes
    frames              a section for each machine with a state: its name, its pieces (`Machine.freeze`), and an empty
                        frame. An older version can read the other sections until the new machine is used

To consensus, which keeps, sends and checks them, chunks are opaque. A reader ignores the boundaries between chunks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final

from daemon.wire import Reason, Rejected

CHUNK_BYTES: Final = 256 << 10
PIECE_BYTES_MAX: Final = 16 << 20
"""Far above any machine's pieces."""
LENGTH_BYTES: Final = 4
NAME_BYTES_MAX: Final = 64


def write(sections: Sequence[tuple[str, Iterator[bytes]]]) -> Iterator[bytes]:
    """Yields the chunks of these sections, each a name and its pieces, which are requested as the chunks are."""
    stream = bytearray()
    for name, pieces in sections:
        first = next(pieces, None)
        for frame in chain((name.encode(), first), pieces, (b"",)) if first is not None else ():
            stream += len(frame).to_bytes(LENGTH_BYTES)
            stream += frame
            while len(stream) >= CHUNK_BYTES:
                yield bytes(stream[:CHUNK_BYTES])
                del stream[:CHUNK_BYTES]
    if stream:
        yield bytes(stream)


def read(chunks: Iterable[bytes]) -> dict[str, list[bytes]]:
    """Returns the pieces by section. Raises `Rejected` for chunks that `write` does not produce."""
    sections: dict[str, list[bytes]] = {}
    frames = _frames(chunks)
    for frame in frames:
        name = frame.decode("ascii", "replace")
        if not 0 < len(frame) <= NAME_BYTES_MAX or not name.isidentifier() or name in sections:
            raise Rejected(Reason.MALFORMED, "a snapshot that no shard has made: a section without a name of its own")
        pieces = sections[name] = []
        while piece := next(frames, None):
            pieces.append(piece)
        if piece is None:
            raise Rejected(Reason.TRUNCATED, f"a snapshot that ends within its section '{name}'")
    return sections


def _frames(chunks: Iterable[bytes]) -> Iterator[bytes]:
    stream = bytearray()
    waiting = iter(chunks)

    def take(size: int) -> bytes | None:
        while len(stream) < size:
            more = next(waiting, None)
            if more is None:
                return None
            stream.extend(more)
        taken = bytes(stream[:size])
        del stream[:size]
        return taken

    while (head := take(LENGTH_BYTES)) is not None:
        size = int.from_bytes(head)
        if size > PIECE_BYTES_MAX:
            raise Rejected(Reason.OVERSIZE, f"a snapshot with a piece of {size} bytes")
        frame = take(size)
        if frame is None:
            raise Rejected(Reason.TRUNCATED, "a snapshot that ends within a piece")
        yield frame
    if stream:
        raise Rejected(Reason.TRUNCATED, "a snapshot that ends within a length")
