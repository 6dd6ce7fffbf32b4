"""Programs of messages: who gets what, in which order, and what happens to the rest."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import pytest

import shoal
from bench.rmat import rmat
from shoal import Attribute, Combine, Direction, Merge, Node, NodeProgram, RunFailed
from shoal.algorithms.message_pagerank import MessagePageRank
from shoal.algorithms.pagerank import PageRank
from shoal.engine.exchange.carrier import BadExchange, BadState
from shoal.program.phase import Phase
from tests.shoal.engine.test_restore import PARTITIONS, Group
from tests.shoal.messages.programs import Chatter, Counted, Least, Summed

FAMILY = {
    "source": ["ann", "ann", "bob", "cat", "cat", "dan"],
    "target": ["bob", "cat", "cat", "ann", "ann", "dan"],
    "type": ["knows", "likes", "knows", "likes", "knows", "knows"],
}


def family() -> shoal.GraphData:
    return shoal.from_arrays(
        FAMILY["source"],
        FAMILY["target"],
        edge_columns={"type": FAMILY["type"], "weight": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]},
        nodes=["ann", "bob", "cat", "dan"],
        node_columns={"age": [31, 41, 59, 26]},
    )


class Recorder(NodeProgram):
    """Remembers what it gets, by tick; `say` is what the test gives."""

    name = "recorder"
    got = Attribute(0)
    log: ClassVar[dict[Any, list[Any]]] = {}

    def on_start(self, node: Node) -> None:
        type(self).log.setdefault(node.id, [])
        self.say(node)

    def say(self, node: Node) -> None:
        """What is sent in the first place."""

    def on_message(self, node: Node, msg: Any) -> None:
        node.got += 1
        type(self).log[node.id].append((self.tick, msg))


def told(
    program: type[NodeProgram], shards: int, data: shoal.GraphData | None = None, ticks: int = 9
) -> dict[Any, Any]:
    """What nodes recorded, without who recorded nothing, and the run's figures."""
    program.log = {}  # type: ignore[attr-defined]
    with shoal.local(shards=shards) as session:
        run = session.load("g", data=data or family()).run(program, ticks=ticks)
        figures = run.show()["figures"]
    return {node: seen for node, seen in program.log.items() if seen} | {"tick": run.tick, **figures}  # type: ignore[attr-defined]


everywhere = pytest.mark.parametrize("shards", [1, 3])
SILENCE = {"under_way": 0, "awake": 0, "undelivered": 0}


@everywhere
def test_via_goes_along_edges_of_a_type_and_parallel_ones_each(shards: int) -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            node.send(f"{node.id} to all", via="*")
            node.send(f"{node.id} likes", via="likes")
            if node.id == "cat":
                node.send("both", via=["likes", "knows"], direction=Direction.BOTH)

    assert told(Program, shards) == {
        "ann": [(1, "cat to all"), (1, "cat to all"), (1, "cat likes"), (1, "both"), (1, "both"), (1, "both")],
        "bob": [(1, "ann to all"), (1, "both")],
        "cat": [(1, "ann to all"), (1, "ann likes"), (1, "bob to all")],
        "dan": [(1, "dan to all")],
        "tick": 1,
        **SILENCE,
    }


@everywhere
def test_order_is_by_sender_and_then_as_it_was_sent_whatever_the_way(shards: int) -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            node.send(1, to="ann")
            node.send(2.5, via="*")
            node.send(("three",), to=["ann", "bob"])
            node.broadcast(4)
            node.send(5, via="*")

    seen = told(Program, shards)
    from_cat = [1, 2.5, 2.5, ("three",), 4, 5, 5]
    assert [msg for _, msg in seen["ann"]] == [1, ("three",), 4, 1, ("three",), 4, *from_cat, 1, ("three",), 4]
    assert seen["dan"] == [(1, 4), (1, 4), (1, 4), (1, 2.5), (1, 4), (1, 5)]


@everywhere
def test_an_edge_tells_its_columns_and_carries_a_message_of_its_own(shards: int) -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            for edge in node.out_edges:
                edge.send((edge.weight, edge.type, edge["type"], node["age"], node.in_degree))
            with pytest.raises(RuntimeError, match="from the first tick on"):
                [edge.id for edge in node.in_edges + node.out_edges + [1]]

        def on_message(self, node: Node, msg: Any) -> None:
            super().on_message(node, msg)
            if self.tick == 1:
                node.send((str([e.id for e in node.out_edges]), str([e.id for e in node.in_edges])), to=node.id)

    seen = told(Program, shards)
    assert [msg for tick, msg in seen["ann"] if tick == 1] == [
        (4.0, "likes", "likes", 59, 2),
        (5.0, "knows", "knows", 59, 2),
    ]
    assert (2, ("['bob', 'cat']", "['cat', 'cat']")) in seen["ann"]
    assert (2, ("['ann', 'ann']", "['ann', 'bob']")) in seen["cat"]


@everywhere
def test_a_request_gathers_a_reply_of_each_and_names_who_is_missing(shards: int) -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            if node.id == "bob":
                node.request({"your": "age"}, to=["dan", "nobody", "ann"])
                node.request("again", via="*")
            if node.id == "dan":
                node.request("no edges that way", via="likes")

        def on_request(self, node: Node, msg: Any) -> Any:
            return [node.id, node["age"]]

        def on_replies(self, node: Node, replies: shoal.Replies) -> None:
            each = [(reply.node, reply.value, reply.missing) for reply in replies]
            self.log[node.id].append((self.tick, replies.request, each, replies.missing, len(replies.values)))

    seen = told(Program, shards)
    age, again = seen["bob"]
    assert age[0] == again[0] == 2
    assert dict(age[1]) == {"your": "age"}
    assert age[2] == [("ann", ("ann", 31), False), ("dan", ("dan", 26), False), ("nobody", None, True)]
    assert age[3:] == (["nobody"], 2)
    assert again[2] == [("cat", ("cat", 59), False)]
    assert seen["dan"] == [(2, "no edges that way", [], [], 0)]
    assert seen["undelivered"] == 1
    assert seen["tick"] == 2


@everywhere
def test_what_is_for_nobody_is_counted_named_and_given_back(shards: int, caplog: pytest.LogCaptureFixture) -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            node.send("lost", to=f"no {node.id}")
            node.send(7.5, to=4)

        def on_undeliverable(self, node: Node, to: int | str, msg: Any) -> None:
            self.log[node.id].append((self.tick, to, msg))

    seen = told(Program, shards)
    assert seen["undelivered"] == 8
    assert seen["tick"] == 2
    assert sorted(seen["ann"], key=str) == [(2, "no ann", "lost"), (2, 4, 7.5)]
    assert "which does not exist" in caplog.text


@everywhere
def test_what_is_sent_in_the_last_tick_is_told_as_under_way(shards: int) -> None:
    """Whether there is anybody whom it is for, nobody has looked yet."""

    class Program(Recorder):
        def on_tick(self, node: Node) -> None:
            node.send("lost", to="nobody")
            node.send("late", via="*")

    assert [
        (seen["tick"], seen["under_way"], seen["undelivered"])
        for seen in (told(Program, shards, ticks=n) for n in (1, 2))
    ] == [(1, 10, 0), (2, 10, 4)]


def test_the_first_that_were_for_nobody_are_in_a_table() -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            for _ in range(6):
                node.send("lost", to=99)

    data = shoal.from_arrays([1, 2, 3], [2, 3, 1], partition_count=PARTITIONS)
    group = Group(data, Program, [0, 1, 2, 0, 1, 2, 0])
    group.begin()
    while not group.halted():
        group.tick(1)
    rows = {}
    for engine in group.engines:
        for partition in engine.part.partitions:
            found = engine.rows("undelivered", partition)
            if len(found["tick"]):
                rows[partition] = found
    ((_, found),) = rows.items()
    assert found["tick"].tolist() == [1] * 10
    assert found["sender"] == ["1"] * 6 + ["2"] * 4
    assert found["to"] == ["99"] * 10
    assert group.engines[0].ws.total("undelivered") == 18


@everywhere
def test_a_run_is_over_when_all_sleep_and_nothing_is_under_way(shards: int) -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            if node.id == "ann":
                node.send(3, to="bob")

        def on_tick(self, node: Node) -> None:
            self.log[node.id].append((self.tick, "tick"))
            node.halt()

        def on_message(self, node: Node, msg: Any) -> None:
            super().on_message(node, msg)
            if msg:
                node.send(msg - 1, to="ann" if node.id == "bob" else "bob")

    seen = told(Program, shards)
    assert seen["ann"] == [(1, "tick"), (2, 2), (2, "tick"), (4, 0), (4, "tick")]
    assert seen["bob"] == [(1, 3), (1, "tick"), (3, 1), (3, "tick")]
    assert seen["dan"] == [(1, "tick")]
    assert seen["tick"] == 4


@everywhere
def test_nobody_changes_what_another_reads(shards: int) -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            what = [1, {"a": [2]}]
            node.send(what, to=["bob", "cat"])
            what.append("later")

        def on_message(self, node: Node, msg: Any) -> None:
            with pytest.raises(AttributeError):
                msg.append(3)
            with pytest.raises(TypeError):
                msg[1]["a"] = 3
            match msg:
                case [number, {"a": [inner]}]:
                    self.log[node.id].append((number, inner))

    assert told(Program, shards)["cat"] == [(1, 2)] * 4


@pytest.mark.parametrize("program", [Summed, Least, Counted])
def test_combined_messages_are_what_one_shard_and_several_make_of_them(program: type[NodeProgram]) -> None:
    data = shoal.from_arrays(*rmat(8))
    digests = set()
    for shards in (1, 2, 5):
        with shoal.local(shards=shards) as session:
            result = session.load("g", data=data).run(program, ticks=6).result("total_heard")
            digests.add(result.digest)
            assert np.count_nonzero(result.values) > 50
    assert len(digests) == 1


def test_combining_gives_what_the_messages_in_their_order_give() -> None:
    class Plain(Summed):
        combine = None
        on_message = NodeProgram.on_message
        on_tick = NodeProgram.on_tick

        def on_start(self, node: Node) -> None:
            Summed.on_tick(self, node)

        def on_messages(self, node: Node, msgs: list[Any]) -> None:
            total = 0.0
            for msg in msgs:
                total += msg
            node.total_heard += total
            Summed.on_tick(self, node)

    data = shoal.from_arrays(*rmat(7))
    with shoal.local(shards=2) as session:
        graph = session.load("g", data=data)
        ours = graph.run(Summed, ticks=5).result("total_heard")
        plain = graph.run(Plain, ticks=5).result("total_heard")
    assert ours.digest == plain.digest


def test_message_pagerank_is_pagerank() -> None:
    """The ranks of the vectorized one within 1e-12, with one digest for all counts of shards."""
    source, target = rmat(10)
    data = shoal.from_arrays(source, target)
    digests = set()
    for shards in (1, 3):
        with shoal.local(shards=shards) as session:
            graph = session.load("g", data=data)
            theirs = graph.run(PageRank, ticks=20).result("rank")
            ours = graph.run(MessagePageRank, ticks=20).result("rank")
        assert np.abs(ours.values - theirs.values).max() <= 1e-12
        digests.add(ours.digest)
    assert len(digests) == 1


# -- what is refused ---------------------------------------------------------------------------------------------------


def failure(program: type[NodeProgram], ticks: int = 3) -> BaseException:
    program.log = {}  # type: ignore[attr-defined]
    with shoal.local(shards=2) as session, pytest.raises(RunFailed) as failed:
        session.load("g", data=family()).run(program, ticks=ticks)
    assert failed.value.__cause__ is not None
    return failed.value.__cause__


def test_what_a_callback_raises_says_at_which_node() -> None:
    class Program(Recorder):
        def say(self, node: Node) -> None:
            node.broadcast(1)

        def on_message(self, node: Node, msg: Any) -> None:
            if node.id == "cat":
                raise ZeroDivisionError

    assert failure(Program).shoal_node == "cat"  # type: ignore[attr-defined]


REFUSED: dict[str, tuple[Any, type[BaseException], str]] = {
    "a set": (lambda node: node.send({1}), TypeError, "can be sent, not set"),
    "a large number": (lambda node: node.send(2**63), ValueError, "64 bits"),
    "a key": (lambda node: node.send({1.5: 2}), TypeError, "keys of str, int or bytes"),
    "half a character": (lambda node: node.send("\ud800"), UnicodeEncodeError, "surrogates"),
    "an id": (lambda node: node.send(1, to=1.5), TypeError, "id must be an int or a str"),
    "a set of ids": (lambda node: node.send(1, to={"ann"}), TypeError, "id must be an int or a str"),
    "two ways": (lambda node: node.send(1, to="ann", via="knows"), ValueError, "either to=, an id"),
    "a type": (lambda node: node.send(1, via=2.5), TypeError, "via must be"),
    "an attribute's type": (lambda node: setattr(node, "got", 1.5), TypeError, "attribute 'got' is a int"),
    "a memory": (lambda node: node.memory.update(x={1}), TypeError, "a node remembers"),
    "an attribute that is none": (lambda node: setattr(node, "gott", 1), AttributeError, "gott"),
    "a column": (lambda node: node["aeg"], shoal.UnknownColumn, "did you mean 'age'"),
    "an aggregate": (lambda node: node.contribute("sum", 1), shoal.UnknownColumn, "no aggregate 'sum'"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_can_not_be_is_refused_where_it_is_done(what: str) -> None:
    do, kind, words = REFUSED[what]

    class Program(Recorder):
        def say(self, node: Node) -> None:
            if node.id == "cat":
                do(node)

    error = failure(Program)
    assert isinstance(error, kind)
    assert words in str(error)
    assert error.shoal_node == "cat"  # type: ignore[attr-defined]


def test_a_class_that_can_not_be_a_program_is_refused() -> None:
    with pytest.raises(TypeError, match="'send' is reserved by nodes"):
        type("P", (NodeProgram,), {"send": Attribute(0)})
    with pytest.raises(TypeError, match="define one of them"):
        type("P", (NodeProgram,), {"on_message": lambda *_: None, "on_messages": lambda *_: None})
    with pytest.raises(TypeError, match="built into every message program"):
        type("P", (NodeProgram,), {"aggregates": (shoal.Aggregate("awake", Merge.SUM),)})
    with pytest.raises(TypeError, match="is none of these"):
        Attribute(None)
    with pytest.raises(ValueError, match="NaN equals nothing"):
        Attribute(0.0, null=math.nan)
    with pytest.raises(ValueError, match="combined by sum, min or max"):
        Combine(Merge.MODE)


@pytest.mark.parametrize("kind", [bool, int, float])
def test_an_attribute_keeps_its_type_over_a_checkpoint(kind: type) -> None:
    attribute = Attribute(kind(1), null=kind(0))
    attribute.__set_name__(NodeProgram, "x")
    values = [attribute.read(value) for value in (kind(1), None, kind(0), np.array([1]).astype(kind)[0])]
    assert values == [kind(1), None, None, kind(1)]
    loaded = attribute.loaded(attribute.stored(values))
    assert [(type(v), v) for v in loaded] == [(type(v), v) for v in values]


class Blank(shoal.Program):
    """Does nothing with the node that is named."""

    name = "blank"
    source = shoal.Param("", "a node", node=True)

    def start(self, ws: shoal.Workspace) -> None:
        assert self.source, "there is one, or it would have failed"


class Start(NodeProgram):
    """Marks the node that is named."""

    name = "start"
    here = Attribute(False)
    source: shoal.Param[Any] = shoal.Param("", "a node", node=True)

    def on_start(self, node: Node) -> None:
        node.here = node.id == self.source


@everywhere
@pytest.mark.parametrize("ids", [["a", "b", "0"], [7, 8, 0]])
def test_a_parameter_that_is_a_node_is_read_as_its_id(shards: int, ids: list[Any]) -> None:
    with shoal.local(shards=shards) as session:
        graph = session.load("g", data=shoal.from_arrays(ids, ids))
        for given in (ids[1], str(ids[1]), 0):
            found = graph.run(Start, source=given).result("here").to_dict()
            assert [str(node) for node, here in found.items() if here] == [str(given)]


@everywhere
@pytest.mark.parametrize(("ids", "source", "words"), [
    (["a", "b"], "c", "parameter 'source': no node is called 'c' in graph 'g'"),
    ([1, 2], "3", "parameter 'source': no node is called '3' in graph 'g'"),
    ([1, 2], "c", "the ids of this graph are whole numbers"),
    ([1, 2], "", "parameter 'source' is missing: give the id of a node"),
    ([], "c", "no node is called 'c'"),
])  # fmt: skip
def test_a_parameter_that_is_no_node_fails_the_run(shards: int, ids: list[Any], source: str, words: str) -> None:
    with shoal.local(shards=shards) as session:
        graph = session.load("g", data=shoal.from_arrays(ids, ids))
        for program in (Start, Blank):
            run = graph.start(program, source=source)
            assert (run.state, run.tick) == ("failed", 0)
            assert words in str(run.show()["error"])


# -- what comes from elsewhere -----------------------------------------------------------------------------------------


def chatter() -> Group:
    data = shoal.from_arrays([1, 2, 3, 4, 5, 6, 7], [2, 3, 1, 5, 6, 7, 1], partition_count=PARTITIONS)
    group = Group(data, Chatter, [0, 1, 2, 0, 1, 2, 0])
    group.begin()
    return group


def test_damaged_shares_are_refused_and_nothing_else_is_raised() -> None:
    """Every frame of a real share cut short, lengthened, emptied, filled with other bytes, or with another's."""
    group = chatter()
    sender, receiver = group.engines[0], group.engines[1]
    share = sender.run(1, Phase.ADVANCE).to(receiver.part.shard)
    receiver.check(sender.part.shard, Phase.ADVANCE, share)
    refused = 0
    for i, frame in enumerate(share.frames):
        data = np.ascontiguousarray(frame).tobytes()
        others = [np.ascontiguousarray(other).tobytes() for other in share.frames]
        for damage in (data[:-1], data[:-8], data + b"\0" * 8, b"", b"\xff" * len(data), b"\x7f" * 16, *others):
            frames = (*share.frames[:i], damage, *share.frames[i + 1 :])
            try:
                receiver.check(sender.part.shard, Phase.ADVANCE, type(share)(share.columns, share.aggregates, frames))
            except BadExchange:
                refused += 1
    assert refused > 10


def test_damaged_states_are_refused_and_nothing_else_is_raised() -> None:
    group = chatter()
    group.tick(1)
    data = shoal.from_arrays([1, 2, 3, 4, 5, 6, 7], [2, 3, 1, 5, 6, 7, 1], partition_count=PARTITIONS)
    kept, random = group.captured, np.random.default_rng(3)
    refused = 0
    for _ in range(60):
        partition = int(random.choice([p for p, state in kept.items() if len(state) > 300]))
        damaged = bytearray(kept[partition])
        damaged[int(random.integers(150, len(damaged)))] ^= int(random.integers(1, 256))
        other = Group(data, Chatter, [0] * PARTITIONS)
        try:
            other.restore(1, {**kept, partition: bytes(damaged)})
            other.begin(1)
        except (BadState, ValueError):
            refused += 1
    assert refused > 20
