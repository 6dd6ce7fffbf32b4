"""The replicated state machine."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import cast

import pytest
from msgspec import structs

from daemon.state import (
    Announcement,
    Decided,
    GraphInstalled,
    GraphRemoved,
    HoldingsChanged,
    NotApplied,
    Registry,
    RunBegun,
    RunEnded,
    RunStopping,
    ViewInstalled,
    cluster,
    command_codec,
)
from daemon.state.commands import (
    AddGraph,
    DropGraph,
    EndRun,
    FormView,
    Identity,
    StartRun,
    StopRun,
)
from daemon.state.envelope import CommandUnreadable
from daemon.state.graphs import drop_graph
from daemon.state.machine import Applied, Command, Outcome
from daemon.state.records import Disk, View
from daemon.state.registry import RUNS_REMEMBERED
from daemon.wire import Rejected
from shoal.program.phase import Phase
from tests.daemon.state.registries import apply, freeze, mistake_in_snapshot, restore

VIEW = FormView(1, (Identity("a", 1), Identity("b", 4)), 20, 2)
VIEW_RECORD = View(1, (Identity("a", 1), Identity("b", 4)), 20, 2)
GRAPH = AddGraph("web", "load-1", 1, 9, 20, 8, 3, "int", (("age", "int64"),), ())
RUN = StartRun("rank", "web", "load-1", (("damping", "0.9"),), 10, 0, False, 1 << Phase.ACT, ("rank",))


def applied(*decisions: Command) -> Registry:
    registry = Registry()
    for decision in decisions:
        apply(registry, decision)
    return registry


def kinds(announcements: list[Announcement]) -> list[type]:
    return [type(announcement) for announcement in announcements]


def refused(registry: Registry, decision: Command) -> str:
    before = replace(registry, runs=dict(registry.runs), graphs=dict(registry.graphs))
    (decided,) = apply(registry, decision)
    assert isinstance(decided, Decided)
    assert (registry.view, registry.graphs, registry.runs) == (before.view, before.graphs, before.runs)
    return decided.error


def test_a_run_from_its_view_to_its_end() -> None:
    registry = Registry()
    assert kinds(apply(registry, VIEW)) == [ViewInstalled, Decided]
    assert kinds(apply(registry, GRAPH)) == [GraphInstalled, HoldingsChanged, Decided]
    begun, decided = apply(registry, RUN)
    assert isinstance(begun, RunBegun)
    assert (begun.run.name, begun.run.number) == ("rank-1", 1)
    assert begun.run.phases == (Phase.ACT, Phase.ADVANCE)
    assert isinstance(decided, Decided)
    assert (decided.error, decided.name) == ("", "rank-1")
    assert kinds(apply(registry, StopRun("rank-1"))) == [RunStopping, Decided]
    assert registry.active_runs() == [registry.runs["rank-1"]]
    assert kinds(apply(registry, EndRun("rank-1", "stopped", 4, "", 5))) == [RunEnded, Decided]
    assert (registry.runs["rank-1"].state, registry.runs["rank-1"].tick) == ("stopped", 4)
    assert registry.active_runs() == []
    assert kinds(apply(registry, DropGraph("web", "load-1"))) == [GraphRemoved, Decided]


def test_runs_have_the_time_of_the_log() -> None:
    registry = applied(VIEW, GRAPH)
    apply(registry, RUN, 100)
    apply(registry, structs.replace(RUN, runs_max=1, may_queue=True), 200)
    apply(registry, EndRun("rank-1", "completed", 4, "", 5), 300)
    first, second = registry.runs.values()
    assert (first.started_unix_ns, first.ended_unix_ns) == (100, 300)
    assert second.started_unix_ns == 300, "when its turn came"


def test_what_makes_no_sense_any_more_is_declined_in_words() -> None:
    registry = applied(VIEW, GRAPH)
    assert "epoch 3 does not follow epoch 1" in refused(registry, structs.replace(VIEW, epoch=3))
    assert "already loaded" in refused(registry, GRAPH)
    assert "the view changed" in refused(registry, structs.replace(GRAPH, name="x", epoch=0))
    assert "no graph is called 'x'; loaded: web" in refused(registry, structs.replace(RUN, graph="x"))
    assert "there is no run 'x'" in refused(registry, StopRun("x"))
    apply(registry, RUN)
    assert "in use by rank-1" in refused(registry, DropGraph("web", "load-1"))
    apply(registry, EndRun("rank-1", "completed", 10, "", 0))
    assert "already over" in refused(registry, EndRun("rank-1", "failed", 10, "", 0))
    assert "already over: it completed after 10 ticks" in refused(registry, StopRun("rank-1"))


def test_a_snapshot_holds_everything() -> None:
    registry = applied(VIEW, GRAPH, RUN, StopRun("rank-1"), RUN)
    copy = Registry()
    news = restore(copy, freeze(registry))
    assert copy == registry
    assert freeze(copy) == freeze(registry)
    assert kinds(news) == [ViewInstalled, GraphInstalled, HoldingsChanged, RunBegun, RunStopping, RunBegun]


def test_a_snapshot_announces_only_what_is_new_in_it() -> None:
    registry = applied(VIEW, GRAPH, RUN)
    behind = applied(VIEW, GRAPH, RUN)
    apply(registry, EndRun("rank-1", "completed", 10, "", 0))
    apply(registry, DropGraph("web", "load-1"))
    assert kinds(restore(behind, freeze(registry))) == [GraphRemoved, HoldingsChanged, RunEnded]
    assert kinds(restore(behind, freeze(registry))) == [HoldingsChanged]


def test_a_run_that_began_and_ended_between_two_snapshots_never_began_here() -> None:
    behind = applied(VIEW, GRAPH)
    ahead = applied(VIEW, GRAPH, RUN, EndRun("rank-1", "completed", 10, "", 0))
    assert kinds(restore(behind, freeze(ahead))) == [HoldingsChanged]
    assert behind.runs["rank-1"].state == "completed"


def test_equal_logs_give_equal_registries_wherever_a_snapshot_comes_between() -> None:
    random, codec = Random(4), command_codec()
    log: list[Command] = [VIEW, GRAPH]
    for _ in range(60):
        name = f"rank-{random.randint(1, 20)}"
        choice: list[Command] = [
            RUN,
            StopRun(name),
            EndRun(name, "completed", 3, "", 0),
        ]
        log.append(random.choice(choice))
    whole, halved = Registry(), Registry()
    for number, decision in enumerate(log):
        again = codec.decode("cluster", codec.encode(decision))
        assert again == decision
        apply(whole, decision)
        apply(halved, decision)
        if number % 7 == 0:
            copy = Registry()
            restore(copy, freeze(halved))
            halved = copy
    assert freeze(whole) == freeze(halved)


def test_old_runs_are_forgotten_and_active_ones_never() -> None:
    registry = applied(VIEW, GRAPH, RUN)
    for number in range(RUNS_REMEMBERED + 10):
        apply(registry, RUN)
        apply(registry, EndRun(f"rank-{number + 2}", "completed", 1, "", 0))
    assert len(registry.runs) <= RUNS_REMEMBERED + 1
    assert registry.runs["rank-1"].active


def test_bytes_of_another_version_are_no_decision() -> None:
    for nonsense in (b"nonsense", b""):
        with pytest.raises(CommandUnreadable, match=r"no command.*malformed"):
            command_codec().read(nonsense)


def test_a_command_that_breaks_something_is_taken_back_and_declined_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the log: if it ended this shard, it would end every shard, at each start."""

    def broken(registry: Registry, command: Command, at: Applied) -> Outcome:
        drop_graph(registry, cast(DropGraph, command), at)
        registry.draining.add("a")
        raise KeyError("half-way through")

    registry, twin = applied(VIEW, GRAPH), applied(VIEW, GRAPH)
    before = freeze(registry)
    monkeypatch.setitem(cluster._BY_KIND, DropGraph, broken)
    news = apply(registry, DropGraph("web", "load-1"))
    assert apply(twin, DropGraph("web", "load-1")) == news
    said, decided = news
    assert isinstance(said, NotApplied)
    assert said.what == "DropGraph"
    assert "half-way through" in said.error
    assert isinstance(decided, Decided)
    assert decided.error == "it can't be applied: KeyError: 'half-way through'"
    assert freeze(registry) == before
    assert kinds(apply(twin, RUN)) == [RunBegun, Decided], "and the log goes on"


@pytest.mark.parametrize(
    "decision",
    [
        FormView(1, (Identity("a\x1b[2J", 1),), 20, 2),
        FormView(1, (Identity("", 1),), 20, 2),
        FormView(1, tuple(Identity(f"s{n}", 1) for n in range(2000)), 10_000, 2),
        FormView(1, (Identity("a", 1),), 2**62, 2),
        FormView(1, (Identity("a", 1),), 20, 0),
    ],
)
def test_a_view_that_no_leader_forms_is_declined(decision: Command) -> None:
    assert refused(Registry(), decision)


@pytest.mark.parametrize(
    "decision",
    [
        structs.replace(GRAPH, load="l", name="w\x1b]0;x\x07"),
        structs.replace(GRAPH, load="l", name=""),
        structs.replace(GRAPH, load="l", name="n" * 64),
        structs.replace(RUN, program="../x"),
        structs.replace(RUN, program="a\nb"),
    ],
)
def test_names_that_nobody_can_give_are_declined(decision: Command) -> None:
    assert refused(applied(VIEW, GRAPH), decision)


def test_a_snapshot_that_no_shard_has_made_is_not_taken() -> None:
    registry = applied(VIEW, GRAPH, RUN)
    assert mistake_in_snapshot([freeze(registry)]) is None
    run = registry.runs["rank-1"]
    for wrong in (
        {"placements": {"web": registry.placements["web"][1:]}},
        {"placements": {"web": (("nobody",),) * 8}},
        {"view": None},
        {"view": structs.replace(VIEW_RECORD, members=())},
        {"view": structs.replace(VIEW_RECORD, replicas=0)},
        {"view": structs.replace(VIEW_RECORD, virtual_nodes=2**60)},
        {"graphs": {}, "placements": {}},
        {"runs_begun": 0},
        {"runs": {"rank-1": structs.replace(run, state="gone")}},
        {"runs": {"rank-1": structs.replace(run, number=0)}},
        {"disks": {"a\x1b": Disk(1, {})}},
    ):
        bad = freeze(replace(registry, **wrong))
        assert mistake_in_snapshot([bad]) is not None, wrong
        other = applied(VIEW)
        before = freeze(other)
        with pytest.raises(Rejected):
            restore(other, bad)
        assert freeze(other) == before
    assert mistake_in_snapshot([]) is not None
    assert mistake_in_snapshot([b"nonsense"]) is not None
