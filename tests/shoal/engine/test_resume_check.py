"""What programs keep from tick to tick is the same after a resume as before, or refused in the tick that made it."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any, ClassVar

import numpy as np
import pytest

import shoal
from examples.sandpile import Sandpile
from shoal import Attribute, Column, Node, NodeProgram, Program, RunFailed, Workspace
from shoal.colony import Agent, AgentContext, Colony, PartitionContext, Signal
from shoal.knowledge import Knowledge
from shoal.program.installed import installed_programs
from shoal.templates import colony, messages, vectorized
from tests.shoal.colony.colonies import Walkers
from tests.shoal.knowledge.test_knowledge import QUICK
from tests.shoal.messages.programs import Chatter, Counted, Least, Summed
from tests.simulator.programs import Rumour
from tests.trials import Carried, Everything

WORDS = ["tea", "milk", "sugar", "salt", "bread", "butter"]


def graph() -> shoal.GraphData:
    draw = random.Random(4)
    ends = [[str(draw.randrange(30)) for _ in range(80)] for _ in range(2)]
    nodes = [str(i) for i in range(30)]
    texts = [f"{WORDS[i % 6]} with {WORDS[i % 5]} and {WORDS[i % 3]}" for i in range(30)]
    return shoal.from_arrays(
        *ends,
        edge_columns={"weight": [draw.random() for _ in range(80)]},
        nodes=nodes,
        node_columns={"gloss": texts, "topic": [WORDS[i % 6] for i in range(30)]},
        partition_count=7,
    )


def fails(program: type[Program], shards: int = 2, *, check: bool = False, ticks: int = 4) -> str:
    with shoal.local(shards, check=check) as session, pytest.raises(RunFailed) as caught:
        session.load("g", data=graph()).run(program, ticks=ticks)
    return str(caught.value)


SHIPPED: list[tuple[type[Program], dict[str, Any]]] = [
    *((program, {}) for name, program in installed_programs().items() if name not in ("knowledge", "ppr")),
    (installed_programs()["ppr"], {"source": "1"}),
    (Knowledge, QUICK),
    (colony.Template, {}),
    (messages.Template, {"source": "1", "weight": "weight"}),
    (vectorized.Template, {}),
    (Sandpile, {"chips": 2}),
    (Walkers, {"edge_decay": 0.3, "maturation": 1, "degree_max": 2}),
    *((program, {}) for program in (Chatter, Summed, Least, Counted, Rumour, Everything, Carried)),
]


@pytest.mark.parametrize(("program", "params"), SHIPPED, ids=lambda given: getattr(given, "name", ""))
def test_what_comes_with_shoal_goes_on_from_every_tick(program: type[Program], params: dict[str, Any]) -> None:
    """Saved and loaded at every tick, and the same as without."""
    if "source" in program.parameters() and "source" not in params:
        params = {"source": "1", **params}
    ticks = 12 if program.anytime else 0
    said = []
    for check in (False, True):
        with shoal.local(shards=3, check=check) as session:
            run = session.load("g", data=graph()).run(program, ticks=ticks, **params)
            shown = [run.result(column.name).digest for column in program.columns if not column.hidden]
            said.append((run.tick, shown, run.show()["figures"]))
    assert said[0] == said[1]


class Forgetful(NodeProgram):
    """Counts on itself."""

    name = "forgetful"
    n = Attribute(0)
    count = 0

    def begin_tick(self) -> None:
        self.count += 1

    def on_tick(self, node: Node) -> None:
        node.n = self.count


class Late(Program):
    """Makes in `start` what it needs in every tick."""

    name = "late"
    columns = (Column("c", np.int64),)

    def start(self, ws: Workspace) -> None:
        self.view = ws.fresh("c")
        self.view[:] = 0

    def advance(self, ws: Workspace) -> None:
        ws.set("c", self.view + 1)


class Saving(Program):
    """Saves less than it has."""

    name = "saving"
    columns = (Column("c", np.int64),)
    saves = True

    def prepare(self, ws: Workspace) -> None:
        self.notes = {partition: [0.0, 0.0] for partition in ws.part.partitions}

    def start(self, ws: Workspace) -> None:
        ws.set("c", 0)

    def advance(self, ws: Workspace) -> None:
        for note in self.notes.values():
            note[0] += 0.5
            note[1] += 0.5

    def save(self, ws: Workspace, partition: int) -> bytes:
        return np.array([int(self.notes[partition][0]), 0.0]).tobytes()

    def load(self, ws: Workspace, partition: int, state: memoryview) -> None:
        self.notes[partition] = np.frombuffer(state).tolist()


@pytest.mark.parametrize(
    ("program", "told"),
    [
        (
            Forgetful,
            "tick 2 differs when the run resumes from tick 1: column 'n' of node '.*' .* is 2, and 1 when",
        ),
        (Forgetful, "on `self` differ 'count': between ticks `self` may hold only what `prepare` creates"),
        (Late, "resumed after tick 0, the program fails in tick 1: (.*\n)+.*no attribute 'view'"),
        (Saving, "what is kept beside columns .* of partition .*; on `self` differ 'notes'"),
    ],
)
@pytest.mark.parametrize("shards", [1, 3])
def test_the_check_says_what_does_not_survive_a_resume(program: type[Program], told: str, shards: int) -> None:
    assert re.search(told, fails(program, shards, check=True))


Memory = dict[Any, Any]
GLOBAL: list[int] = []


def two_names(m: Memory) -> None:
    m["a"] = m["b"] = []


def a_name_and_a_place_within(m: Memory) -> None:
    m["a"] = [1]
    m["b"] = {"c": [m["a"]]}


def itself(m: Memory) -> None:
    m["a"] = []
    m["a"].append(m["a"])


def a_tuple_of_what_changes(m: Memory) -> None:
    m["a"] = m["b"] = ([],)


def a_global(m: Memory) -> None:
    m["a"] = GLOBAL


def a_default(m: Memory, given: list[int] = []) -> None:  # noqa: B006 -- that is the mistake
    m["a"] = given


def a_view(m: Memory) -> None:
    m["a"] = {}
    m["b"] = MappingProxyType(m["a"])


def bytes_that_change(m: Memory) -> None:
    m["a"] = bytearray(b"x")


def a_number_of_numpy(m: Memory) -> None:
    m["a"] = [np.float64(1.0)]


def a_set(m: Memory) -> None:
    m["a"] = {1, 2}


class Word(str):
    """A text of a kind of its own."""

    __slots__ = ()


def a_subclass(m: Memory) -> None:
    m[Word("a")] = 1


def too_large(m: Memory) -> None:
    m["a"] = 2**64


def half_a_letter(m: Memory) -> None:
    m["a"] = "\udc80"


SHARED = [two_names, a_name_and_a_place_within, itself, a_tuple_of_what_changes, a_global, a_default, a_view]
UNPLAIN = [bytes_that_change, a_number_of_numpy, a_set, a_subclass, too_large, half_a_letter]
TOLD = {
    **dict.fromkeys(SHARED, "held elsewhere, too: under another name, by another node or agent, or by the program"),
    a_tuple_of_what_changes: "is a tuple and held elsewhere, too, and what is in it can change",
    **dict.fromkeys(UNPLAIN, "remembers None, bool"),
    too_large: "does not fit an integer of 64 bits",
    half_a_letter: "is text that cannot be encoded",
}


@pytest.mark.parametrize("mistake", [*SHARED, *UNPLAIN])
@pytest.mark.parametrize("shards", [1, 3])
def test_a_node_is_refused_what_would_come_back_otherwise(mistake: Callable[[Memory], None], shards: int) -> None:
    class Mistaken(NodeProgram):
        """Remembers what it can't."""

        name = "mistaken"

        def on_tick(self, node: Node) -> None:
            if self.tick == 3:
                mistake(node.memory)

    told = fails(Mistaken, shards)
    assert "advance of tick 3 failed at node '" in told
    assert "TypeError: node.memory['" in told
    assert TOLD[mistake] in told


class Through(NodeProgram):
    """Two nodes of a shard that have one list."""

    name = "through"

    def on_start(self, node: Node) -> None:
        node.memory["mine"] = []

    def on_tick(self, node: Node) -> None:
        if node.id == "1":
            self.last = node.memory["mine"]
        elif hasattr(self, "last"):
            node.memory["theirs"] = self.last


def test_what_a_program_holds_of_a_node_is_refused() -> None:
    assert "node '1'" in fails(Through)


class Plain(NodeProgram):
    """Remembers everything that can be remembered, and what it was sent."""

    name = "plain"
    n = Attribute(0)
    odd = (1, "two", (None, b"3"))

    def on_tick(self, node: Node) -> None:
        m = node.memory
        kept = m.setdefault("list", [])
        kept.append({2: "int", "t": [self.tick], b"k": -0.0})
        m["keys"] = {1: "int", 1.5: "float", None: (), (1, "k"): [True], b"k": float("nan"), False: -0.0}
        m["order"] = dict.fromkeys(("z", "a", str(self.tick)))
        m["same"], m["again"], m["wide"] = self.odd, self.odd, [2**64 - 1, -(2**63)]
        node.send({"kept": kept, "of": [self.tick]}, via="*")
        kept.append("changed after it was sent")

    def on_message(self, node: Node, msg: Any) -> None:
        node.memory["said"] = msg
        node.memory.setdefault("all", []).append(msg)
        node.n = len(repr(node.memory))


@pytest.mark.parametrize("shards", [1, 3])
def test_what_can_be_kept_comes_back_as_it_was(shards: int) -> None:
    found = []
    for check in (False, True):
        with shoal.local(shards, check=check) as session:
            found.append(session.load("g", data=graph()).run(Plain, ticks=5).result("n").digest)
    assert found[0] == found[1]


class Begun(Agent):
    """Has a list that its class begins with."""

    seen: list[int] = []  # noqa: RUF012 -- a first value
    SCALE = [1, 2]  # noqa: RUF012
    all_of_them: ClassVar[list[int]] = []

    def act(self, here: AgentContext) -> None:
        self.seen.append(here.tick)
        here.emit("told", len(self.seen) * self.SCALE[0])


class Two(Agent):
    """One list under two names."""

    def sense(self, here: AgentContext) -> None:
        if here.tick == 2:
            self.x: list[int] = []
            self.y = self.x


class Changing(Agent):
    """Bytes that change."""

    def sense(self, here: AgentContext) -> None:
        self.x = bytearray(b"x")


class Given(Agent):
    """What it is born with."""

    def act(self, here: AgentContext) -> None:
        self.notes.append(here.tick)  # type: ignore[attr-defined]
        here.emit("told", len(self.notes))  # type: ignore[attr-defined]
        if here.tick == 2:
            here.spawn(Given, notes=self.notes)  # type: ignore[attr-defined]


class Agents(Colony):
    """One kind of agent on every node."""

    signals = (Signal("told", decay=0.0),)

    def populate(self, ground: PartitionContext) -> None:
        notes: list[int] = []
        for place in ground.nodes:
            ground.spawn(self.agents[0], place, **({"notes": notes} if self.agents[0] is Given else {}))


def colony_of(kind: type[Agent]) -> type[Colony]:
    return type("Some", (Agents,), {"name": f"some-{kind.kind}", "agents": (kind,), "__doc__": "Some."})


@pytest.mark.parametrize("kind", [Begun, Given])
def test_agents_begin_with_lists_of_their_own(kind: type[Agent]) -> None:
    found = []
    for shards, check in ((1, False), (1, True), (3, True)):
        with shoal.local(shards, check=check) as session:
            run = session.load("g", data=graph()).run(colony_of(kind), ticks=3)
            found.append(sorted(run.table_rows("signals")))
    assert found[0] == found[1] == found[2]
    if kind is Begun:
        assert {row[-1] for row in found[0]} == {1.0 + 2.0 + 3.0}
        assert Begun.seen == []


@pytest.mark.parametrize(
    ("kind", "told"),
    [(Two, r"its attributes\['[xy]'\] is a list and held elsewhere"), (Changing, r"\['x'\] is of type bytearray")],
)
def test_agents_are_refused_what_would_come_back_otherwise(kind: type[Agent], told: str) -> None:
    assert re.search(told, fails(colony_of(kind)))
