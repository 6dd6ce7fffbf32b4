"""What others send is told apart before it is believed; see the tests with real daemons for the way it takes."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import msgpack
import numpy as np
import pytest

import shoal
from daemon.services.graphs.fetch import NONSENSE, Fetched, Fetching, _read
from daemon.services.graphs.messages import PartitionRequest, StatesRequest
from daemon.state.commands import Identity, to_bits
from daemon.transfer.chunks import FetchedPiece
from shoal.graph.graph_data import BadGraph
from shoal.graph.partitions import Cut
from tests.daemon.services.contexts import context_of
from tests.daemon.state.registries import LOAD, formed


def piece(header: Any, *frames: bytes) -> FetchedPiece:
    return FetchedPiece("fetch/a/1", "b", header if isinstance(header, bytes) else msgpack.packb(header), frames)


@pytest.mark.parametrize(
    "header",
    [
        b"\xc1",
        [1],
        {"spec": b""},
        {"spec": "text", "states": []},
        {"spec": b"", "states": {}},
        {"spec": b"", "states": [[1, 2, 3]]},
        {"spec": b"", "states": [[1, 2, 3, -4]]},
        {"spec": b"", "states": [[1, 2, 3, True]]},
        {"spec": b"", "states": [[1, 2, 3, 1], [1, 2, 4, 1]]},
    ],
)
def test_nonsense_is_dropped(header: Any) -> None:
    assert _read("b", piece(header, b"one frame")) is None


def test_a_slice_with_its_states() -> None:
    data = shoal.from_arrays(list(range(40)), list(range(1, 41)), partition_count=4)
    spec, frames = Cut(data).slices([2]).to_wire()
    raw = [bytes(memoryview(frame).cast("B")) for frame in frames]
    header = {"spec": msgpack.packb(spec), "states": [[7, 10, 2, 1], [7, 20, 2, 3]]}
    fetched = _read("b", piece(header, *raw, b"ten", b"twenty"))
    assert fetched is not None
    assert fetched.slice(2, data.partition).partitions == (2,)
    assert [(r.run, r.tick, r.floor, r.states, r.epoch) for r in fetched.records()] == [
        (7, 10, 0, {2: b"ten"}, 1),
        (7, 20, 0, {2: b"twenty"}, 3),
    ]
    assert fetched.nbytes == sum(map(len, raw)) + 9
    with pytest.raises(ValueError, match=r"received partitions \(2,\) instead of 1"):
        fetched.slice(1, data.partition)
    with pytest.raises((*NONSENSE, BadGraph)):
        Fetched(b"\x01", [], raw).slice(2, data.partition)


def test_a_table() -> None:
    table = np.array([0, 1, 1], np.uint8).tobytes()
    header, frame = Fetched(msgpack.packb(["g", b"header"]), [], [table]).table()
    assert (header, frame) == (b"header", table)
    for spec, frames in ((b"\xc1", [table]), (msgpack.packb(["g", "text"]), [table]), (msgpack.packb(["g", b""]), [])):
        with pytest.raises(NONSENSE):
            Fetched(spec, [], frames).table()


# -- asking and giving -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("asker", [Identity("z", 1), Identity("b", 2)])
def test_only_members_of_the_view_are_given_something(asker: Identity) -> None:
    """Not a stranger with an allowed key, nor another life of a member. Nothing is looked up for them."""

    async def run() -> None:
        ticks = SimpleNamespace(is_shipping=lambda request, to: False)
        fetching = Fetching(context_of(formed().state, ticks=ticks))
        for asked in (PartitionRequest("r", LOAD, 0), StatesRequest("r", 1, 9, to_bits([0]))):
            assert await fetching.on_message(asker, asked) is None

    asyncio.run(run())


@pytest.mark.parametrize(
    ("states", "taken"),
    [
        ([[1, 9, 0, 2], [1, 9, 1, 2]], {0: b"zero", 1: b"one"}),
        ([[1, 9, 0, 2], [1, 9, 1, 1]], {0: b"zero"}),  # made in another epoch than the one that is wanted
        ([[1, 9, 0, 2], [2, 9, 1, 2]], {}),
        ([[1, 9, 0, 2], [1, 8, 1, 2]], {}),
        ([[1, 9, 0, 2], [1, 9, 5, 2]], {}),
        ([[1, 9, 0, 2]], {}),  # a frame more than there are states
    ],
)
def test_of_the_states_that_come_those_are_taken_that_were_asked_for(
    states: list[list[int]], taken: dict[int, bytes]
) -> None:
    async def run() -> None:
        asked: list[StatesRequest] = []
        ticks = SimpleNamespace(order=lambda order: None, arriving=lambda load: None, fetched=print)
        fetching = Fetching(context_of(formed().state, ticks=ticks, send=lambda to, message: asked.append(message)))
        found = asyncio.create_task(fetching.states_from(["b"], 1, 9, [0, 1], made_in=2))
        while not asked:
            await asyncio.sleep(0)
        header = msgpack.packb({"spec": b"", "states": states})
        fetching.on_event(FetchedPiece(asked[0].request, "b", header, (b"zero", b"one")))
        assert await found == taken

    asyncio.run(run())
