"""Replies have the shapes that their commands declare, and local sessions and clusters give the same replies and
errors.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import Session
from shoal.api.command import Command
from shoal.api.commands import CONTRACTS, cluster, graphs, programs, results, runs
from shoal.api.errors import BY_NAME, ShoalError
from shoal.client.admin_protocol import AdminConnection
from shoal.client.local import LocalBackend
from tests.shapes import misfit, shape
from tests.trials import Count, Raise, Unbuildable

NODES = {"ids": ["a", "b", "c"], "gloss": ["tree of old oak", "oak and stone", "stone"]}
ADDRESS: list[str] = []
ZERO = b"""
from shoal import Program
class Zero(Program):
    name = "zero"
    def start(self, ws): pass
"""


def data() -> shoal.GraphData:
    return shoal.from_arrays(
        ["a", "b", "c"], ["b", "c", "a"], nodes=NODES["ids"], node_columns={"gloss": NODES["gloss"]}
    )


@pytest.fixture
def sessions(three: list[DevShard]) -> Iterator[tuple[Session, Session]]:
    """One local session and one with a cluster, with graphs of the same names, because errors list them."""
    ADDRESS[:] = [str(three[0].socket)]
    with shoal.local(3) as here, shoal.connect(str(three[0].socket)) as there:
        for graph in there.graphs():  # from other tests
            here.load(graph.name, data=data())
        try:
            yield here, there
        finally:
            for name in {graph.name for graph in there.graphs()} & {"shapes", "other"}:
                there.drop(name, force=True)


def compared(value: Any) -> Any:
    """Returns the shape of a reply, independent of the shards' names."""
    if isinstance(value, dict):
        return {"shard" if re.fullmatch(r"(shard-)?[123]", key) else key: compared(each) for key, each in value.items()}
    if isinstance(value, list):
        shapes = [compared(each) for each in value]
        return [each for i, each in enumerate(shapes) if each not in shapes[:i]]
    return shape(value)


def test_replies_have_one_shape_here_and_there(sessions: tuple[Session, Session]) -> None:
    replies: list[list[tuple[str, Any]]] = []
    for session in sessions:
        told: list[tuple[str, Any]] = []

        def ask(command: Command[Any], session: Session = session, told: list[tuple[str, Any]] = told) -> Any:
            reply = session.ask(command)
            assert misfit(reply, command.contract.reply) == "", command
            told.append((command.contract.name, reply))
            return reply

        events: list[Any] = []
        loaded = session._backend.load("shapes", data(), events.append)
        assert events
        assert [fault for event in events if (fault := misfit(event, graphs.GraphLoad.contract.events))] == []
        assert misfit(loaded, graphs.LoadedGraph) == ""
        told.append(("graph load", loaded))
        ask(graphs.GraphShow("shapes"))
        ask(graphs.GraphList())
        ask(cluster.Ring("shapes"))
        ask(cluster.Ring())
        paced = ask(runs.RunStart("pagerank", "shapes", paced=True, ticks=5))["run"]
        ask(runs.RunShow(paced))
        ask(runs.RunStep(paced))
        told.append(("after a step", session.ask(runs.RunShow(paced))))
        ask(results.RunTicks(paced))
        ask(runs.RunStop(paced))
        ask(runs.RunShow(paced))
        knows = ask(runs.RunStart("knowledge", "shapes", ticks=1))["run"]
        seen: list[Any] = []
        waited = session._backend.wait(knows, 30, seen.append)
        assert [fault for event in seen if (fault := misfit(event, runs.RunWait.contract.events))] == []
        assert misfit(waited, runs.RunReply) == ""
        told.append(("run wait", waited))
        ask(results.RunTicks(knows))
        ask(results.RunSearch(knows, "oak"))
        ask(runs.RunList())
        ask(programs.ProgramList())
        ask(cluster.Status())
        ask(graphs.GraphDrop("shapes"))
        replies.append(told)
    here, there = replies
    assert [name for name, _ in here] == [name for name, _ in there]
    for (name, ours), (_, theirs) in zip(here, there, strict=True):
        ours, theirs = compared(ours), compared(theirs)
        assert ours.keys() == theirs.keys(), name
        for key in ours.keys() - MAY_DIFFER.get(name, set()):
            assert ours[key] == theirs[key], (name, key)


MAY_DIFFER: dict[str, set[str]] = {
    # What only a cluster has: other members, disks, versions, gossip, other users' graphs and runs.
    "status": {"disk", "versions", "leader", "draining", "halted", "held_back", "other_clusters"},
    "run start": {"phase", "shards", "figures"},  # it may have done a tick already
    "run show": {"phase", "shards"},
    "run wait": {"phase", "shards"},
    "run stop": {"phase", "shards"},
    "after a step": {"phase", "shards"},
    "ring": {"partitions"},
    "graph list": {"graphs"},
    "run list": {"runs"},
    "program list": {"programs"},
}


def test_what_only_daemons_answer_has_its_declared_shape(three: list[DevShard]) -> None:
    spec, frames = data().to_wire()
    asked: list[Command[Any]] = [
        cluster.Help(), cluster.Status(), cluster.Members(), cluster.View(), cluster.Ring(), cluster.Barrier(),
        graphs.GraphLoad("shapes", spec), graphs.Ghosts(), graphs.GraphShow("shapes"),
        runs.RunStart("pagerank", "shapes", paced=True), runs.RunStep("RUN"), cluster.Barrier("RUN"),
        runs.RunShow("RUN"),
        runs.RunStop("RUN"), runs.RunWait("RUN"), results.RunTicks("RUN"), results.RunResult("RUN"),
        results.RunRows("RUN", digest=True), runs.RunList(), runs.RunStart("knowledge", "shapes", ticks=1),
        runs.RunWait("RUN"), results.RunTable("RUN", "edges"), results.RunSearch("RUN", "oak"),
        programs.ProgramDeploy("zero.py"), programs.ProgramShow("zero", source=True), programs.ProgramShow("pagerank"),
        programs.ProgramList(), programs.ProgramRemove("zero"), cluster.LogLevel("info"), cluster.Metrics(),
        graphs.GraphList(), graphs.GraphDrop("shapes", force=True),
    ]  # fmt: skip
    unasked = {"found", "drain", "leave", "join", "backup"}  # the cluster must stay as it is
    assert {command.contract.name for command in asked} == {contract.name for contract in CONTRACTS} - unasked
    sent = {"graph load": frames, "program deploy": [ZERO]}
    run = ""
    with AdminConnection(three[1].socket) as connection:
        for command in asked:
            contract = command.contract
            args = {name: run if value == "RUN" else value for name, value in contract.args(command).items()}
            reply, _ = connection.call(contract.name, args, sent.get(contract.name, ()))
            assert misfit(reply, contract.reply, contract.name) == ""
            run = reply["run"] if contract.name == "run start" else run


MISTAKES: dict[str, Callable[[Session], object]] = {
    "no such graph": lambda s: s.graph("nothing"),
    "no such graph to drop": lambda s: s.drop("nothing"),
    "no such run": lambda s: s.get_run("nothing-1"),
    "no such program": lambda s: s.graph("shapes").start("pagerang"),
    "no such parameter": lambda s: s.graph("shapes").start("pagerank", dumping=0.5),
    "a parameter out of bounds": lambda s: s.graph("shapes").start("pagerank", damping=-1),
    "negative ticks": lambda s: s.graph("shapes").start("pagerank", ticks=-1),
    "too many ticks": lambda s: s.graph("shapes").start("pagerank", ticks=2**60),
    "an endless interval": lambda s: s.graph("shapes").start("pagerank", interval=1e9),
    "a negative interval": lambda s: s.graph("shapes").start("pagerank", interval=-1.0),
    "an interval that is no number": lambda s: s.graph("shapes").start("pagerank", interval="soon"),  # type: ignore[arg-type]
    "a checkpoint before the first tick": lambda s: s.graph("shapes").start("pagerank", checkpoint=-2),
    "a name that is taken": lambda s: s.load("shapes", data=data()),
    "a name that is none": lambda s: s.load("a b", data=data()),
    "a name that is too long": lambda s: s.graph("x" * 5000),
    "a name that is no text": lambda s: s.graph(7),  # type: ignore[arg-type]
    "a name that is not UTF-8": lambda s: s.graph("caf\udce9"),
    "a name that no request can say": lambda s: s.graph(b"shapes"),  # type: ignore[arg-type]
    "a parameter that no request can say": lambda s: s.graph("shapes").start("pagerank", damping=np.int64(1)),
    "a parameter that is too long": lambda s: s.graph("shapes").start("bfs", source="x" * 10**6),
    "a load of nothing": lambda s: s.load(None, data=data()),  # type: ignore[arg-type]
    "a load under a long name": lambda s: s.load("x" * 5000, data=data()),
    "a wait that is no number": lambda s: done(s).wait("soon"),  # type: ignore[arg-type]
    "a column that is no name": lambda s: done(s).result(None),  # type: ignore[arg-type]
    "a tick that is no number": lambda s: list(done(s).stream(tick="last")),  # type: ignore[arg-type]
    "a table that is no name": lambda s: done(s).table_rows(7),  # type: ignore[arg-type]
    "no columns": lambda s: done(s).table([]),
    "partitions of a graph without a name": lambda s: s.ask(cluster.Ring("")),
    "a search for nothing where nothing is to be found": lambda s: done(s).search(""),
    "no hits": lambda s: done(s).search("oak", 0),
    "too many hits": lambda s: done(s).search("oak", 10**6),
    "nothing to search for": lambda s: done(s, "knowledge").search("a"),
    "a program without texts": lambda s: done(s).search("oak"),
    "no such column": lambda s: done(s).result("dgree"),
    "no such table": lambda s: done(s).table_rows("edgs"),
    "no such tick": lambda s: done(s).at(7),
    "a stop of what is over": lambda s: done(s).stop(),
    "a step of what is over": lambda s: done(s).step(),
    "a step of what is not paced": lambda s: s.graph("shapes").start(Count, ticks=10**9).step(),
    "a result that is not there yet": lambda s: s.graph("shapes").start("pagerank", paced=True).result("rank"),
    "a wait that is too short": lambda s: s.graph("shapes").start(Count, ticks=10**9).wait(0.05),
    "a drop of what is used": lambda s: (s.graph("shapes").start("pagerank", paced=True), s.drop("shapes")),
    "a graph that was dropped": lambda s: replaced(s).start("degree"),
    "a run whose graph was dropped": lambda s: orphan(s).show(),
    "a program that fails at the start": lambda s: s.graph("shapes").run(Raise, tick=0),
    "a program that fails": lambda s: s.graph("shapes").run(Raise, tick=1),
    "a program that can't be made": lambda s: s.graph("shapes").start(Unbuildable),
    "a table that can't be read": lambda s: moody(s).table_rows("notes"),
    "a session that is closed": lambda s: closed(s).graphs(),
    "no program": lambda s: s._backend.deploy(b"x = 1\n", "x.py"),
    "a class that can't be imported": lambda s: s._backend.deploy(b"import no_such_thing\n", "x.py"),
}


MAY_DIFFER_IN_SENTENCES = (
    (r"\b(degree|pagerank|knowledge|moody-rows|trial-[a-z]+)-\d+", "RUN"),
    (r"at tick \d+", "at tick T"),
    (r"; installed: .*", ""),
    (r"\nTraceback.*", ""),
    (r"shard-\d(, shard-\d)*: |shard 'shard-\d': ", ""),  # only a cluster's shards have names: docs/library.md
)


def done(session: Session, program: str = "degree") -> shoal.Run:
    return session.graph("shapes").run(program, ticks=1)


MOODY = b"""
from shoal import Program, Table
class Moody(Program):
    name = "moody-rows"
    tables = (Table("notes", (("tick", "int64"),)),)
    ticks_default = 1
    saves = True
    def start(self, ws): pass
    def rows(self, ws, table, partition): raise ValueError("as it was told")
"""


def moody(session: Session) -> shoal.Run:
    session._backend.deploy(MOODY, "moody.py")
    return session.graph("shapes").run("moody-rows")


def closed(session: Session) -> Session:
    other = shoal.local() if isinstance(session._backend, LocalBackend) else shoal.connect(ADDRESS[0])
    other.close()
    return other


def replaced(session: Session) -> shoal.Graph:
    graph = session.load("other", data=data())
    session.drop("other")
    session.load("other", data=data())
    return graph


def orphan(session: Session) -> shoal.Run:
    run = session.load("other", data=data()).run("degree")
    session.drop("other")
    return run


def mistake(session: Session, what: str) -> tuple[str, str]:
    with pytest.raises(ShoalError) as raised:
        MISTAKES[what](session)
    error = raised.value
    assert type(error).__name__ in {*BY_NAME, "Refused", "Failed", "Usage", "SessionClosed"}, (
        "that class has no name on the socket"
    )
    return type(error).__name__, str(error)


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_the_same_here_and_there(sessions: tuple[Session, Session], what: str) -> None:
    said = []
    for session in sessions:
        session.load("shapes", data=data())
        kind, words = mistake(session, what)
        for what_differs, word in MAY_DIFFER_IN_SENTENCES:
            words = re.sub(what_differs, word, words, flags=re.DOTALL)
        said.append((kind, words))
        if any(graph.name == "shapes" for graph in session.graphs()):
            session.drop("shapes", force=True)
    assert said[0] == said[1]


def test_what_a_session_here_answers_is_what_sessions_ask() -> None:
    backend = LocalBackend(1)
    names = {contract.name for contract in CONTRACTS}
    assert set(backend._replies) < names
