"""The replicated state machine."""

from __future__ import annotations

from dataclasses import replace
from random import Random
from typing import Any

import pytest

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
    apply,
    freeze,
    mistake_in_snapshot,
    restore,
)
from daemon.state.commands import (
    AddGraph,
    CommandCodec,
    CommandUnreadable,
    Decision,
    DropGraph,
    EndRun,
    FormView,
    Identity,
    StartRun,
    StopRun,
)
from daemon.state.records import Disk, View
from daemon.state.runs import RUNS_REMEMBERED
from daemon.wire import Rejected
from shoal.program.phase import Phase

VIEW = FormView("v", 1, (Identity("a", 1), Identity("b", 4)), 20, 2)
VIEW_RECORD = View(1, (Identity("a", 1), Identity("b", 4)), 20, 2)
GRAPH = AddGraph("g", "web", "load-1", 1, 9, 20, 8, 3, "int", (("age", "int64"),), ())
RUN = StartRun("s", "rank", "web", "load-1", (("damping", "0.9"),), 10, 0, False, 1 << Phase.ACT, ("rank",), 77)


def applied(*decisions: Decision) -> Registry:
    registry = Registry()
    for decision in decisions:
        apply(registry, decision)
    return registry


def kinds(announcements: list[Announcement]) -> list[type]:
    return [type(announcement) for announcement in announcements]


def refused(registry: Registry, decision: Decision) -> str:
    before = replace(registry, recent=registry.recent.copy(), runs=dict(registry.runs), graphs=dict(registry.graphs))
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
    assert decided == Decided("s", "", "rank-1")
    assert kinds(apply(registry, StopRun("t", "rank-1"))) == [RunStopping, Decided]
    assert registry.active_runs() == [registry.runs["rank-1"]]
    assert kinds(apply(registry, EndRun("e", "rank-1", "stopped", 4, "", 5, 99))) == [RunEnded, Decided]
    assert (registry.runs["rank-1"].state, registry.runs["rank-1"].tick) == ("stopped", 4)
    assert registry.active_runs() == []
    assert kinds(apply(registry, DropGraph("d", "web", "load-1"))) == [GraphRemoved, Decided]


def test_a_command_that_comes_twice_is_applied_once() -> None:
    registry = applied(VIEW, GRAPH, RUN)
    assert apply(registry, RUN) == []
    assert apply(registry, replace(RUN, ticks=99)) == []
    assert list(registry.runs) == ["rank-1"]


def test_what_makes_no_sense_any_more_is_declined_in_words() -> None:
    registry = applied(VIEW, GRAPH)
    assert "epoch 3 does not follow epoch 1" in refused(registry, replace(VIEW, request="1", epoch=3))
    assert "loaded already" in refused(registry, replace(GRAPH, request="2"))
    assert "the view changed" in refused(registry, replace(GRAPH, request="3", name="x", epoch=0))
    assert "no graph is called 'x'; loaded: web" in refused(registry, replace(RUN, request="4", graph="x"))
    assert "there is no run 'x'" in refused(registry, StopRun("5", "x"))
    apply(registry, RUN)
    assert "in use by rank-1" in refused(registry, DropGraph("6", "web", "load-1"))
    apply(registry, EndRun("e", "rank-1", "completed", 10, "", 0, 0))
    assert "over already" in refused(registry, EndRun("7", "rank-1", "failed", 10, "", 0, 0))
    assert "over already: it completed after 10 ticks" in refused(registry, StopRun("8", "rank-1"))


def test_a_snapshot_holds_everything() -> None:
    registry = applied(VIEW, GRAPH, RUN, StopRun("t", "rank-1"), replace(RUN, request="s2"))
    copy = Registry()
    news = restore(copy, freeze(registry))
    assert copy == registry
    assert freeze(copy) == freeze(registry)
    assert kinds(news) == [ViewInstalled, GraphInstalled, HoldingsChanged, RunBegun, RunStopping, RunBegun]
    assert apply(copy, RUN) == [], "what was asked before the snapshot is still known"


def test_a_snapshot_announces_only_what_is_new_in_it() -> None:
    registry = applied(VIEW, GRAPH, RUN)
    behind = applied(VIEW, GRAPH, RUN)
    apply(registry, EndRun("e", "rank-1", "completed", 10, "", 0, 0))
    apply(registry, DropGraph("d", "web", "load-1"))
    assert kinds(restore(behind, freeze(registry))) == [GraphRemoved, HoldingsChanged, RunEnded]
    assert kinds(restore(behind, freeze(registry))) == [HoldingsChanged]


def test_a_run_that_began_and_ended_between_two_snapshots_never_began_here() -> None:
    behind = applied(VIEW, GRAPH)
    ahead = applied(VIEW, GRAPH, RUN, EndRun("e", "rank-1", "completed", 10, "", 0, 0))
    assert kinds(restore(behind, freeze(ahead))) == [HoldingsChanged]
    assert behind.runs["rank-1"].state == "completed"


def test_equal_logs_give_equal_registries_wherever_a_snapshot_comes_between() -> None:
    random, codec = Random(4), CommandCodec()
    log: list[Decision] = [VIEW, GRAPH]
    for number in range(60):
        name = f"rank-{random.randint(1, 20)}"
        choice: list[Decision] = [
            replace(RUN, request=f"s{random.randint(0, 30)}"),
            StopRun(f"t{number}", name),
            EndRun(f"e{random.randint(0, 30)}", name, "completed", 3, "", 0, 0),
        ]
        log.append(random.choice(choice))
    whole, halved = Registry(), Registry()
    for number, decision in enumerate(log):
        again = codec.decode(codec.encode(decision))
        assert again == decision
        apply(whole, decision)
        apply(halved, decision)
        if number % 7 == 0:
            copy = Registry()
            restore(copy, freeze(halved))
            halved = copy
    assert freeze(whole) == freeze(halved)


def test_old_runs_are_forgotten_and_active_ones_never() -> None:
    registry = applied(VIEW, GRAPH, replace(RUN, request="first"))
    for number in range(RUNS_REMEMBERED + 10):
        apply(registry, replace(RUN, request=f"s{number}"))
        apply(registry, EndRun(f"e{number}", f"rank-{number + 2}", "completed", 1, "", 0, 0))
    assert len(registry.runs) <= RUNS_REMEMBERED + 1
    assert registry.runs["rank-1"].active


def test_bytes_of_another_version_are_no_decision() -> None:
    for nonsense in (b"nonsense", b""):
        with pytest.raises(CommandUnreadable, match=r"no command.*malformed"):
            CommandCodec().decode(nonsense)


def test_a_command_that_breaks_something_is_taken_back_and_declined_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the log: if it ended this shard, it would end every shard, at each start."""
    from daemon.state import applying

    whole = applying._outcome

    def broken(registry: Registry, decision: Decision) -> Any:
        outcome = whole(registry, decision)
        if isinstance(decision, DropGraph):
            registry.draining.add("a")
            raise KeyError("half-way through")
        return outcome

    registry, twin = applied(VIEW, GRAPH), applied(VIEW, GRAPH)
    before = freeze(replace(registry, recent=registry.recent.copy()))
    monkeypatch.setattr(applying, "_outcome", broken)
    news = apply(registry, DropGraph("drop", "web", "load-1"))
    assert apply(twin, DropGraph("drop", "web", "load-1")) == news
    said, decided = news
    assert isinstance(said, NotApplied)
    assert said.what == "DropGraph"
    assert "half-way through" in said.error
    assert decided == Decided("drop", "it can't be applied: KeyError: 'half-way through'", "")
    registry.recent.remove("drop")
    assert freeze(registry) == before
    assert apply(twin, DropGraph("drop", "web", "load-1")) == [], "once"
    assert kinds(apply(twin, RUN)) == [RunBegun, Decided], "and the log goes on"


@pytest.mark.parametrize(
    "decision",
    [
        FormView("x", 1, (Identity("a\x1b[2J", 1),), 20, 2),
        FormView("x", 1, (Identity("", 1),), 20, 2),
        FormView("x", 1, tuple(Identity(f"s{n}", 1) for n in range(2000)), 10_000, 2),
        FormView("x", 1, (Identity("a", 1),), 2**62, 2),
        FormView("x", 1, (Identity("a", 1),), 20, 0),
    ],
)
def test_a_view_that_no_leader_forms_is_declined(decision: Decision) -> None:
    assert refused(Registry(), decision)


@pytest.mark.parametrize(
    "decision",
    [
        replace(GRAPH, request="x", load="l", name="w\x1b]0;x\x07"),
        replace(GRAPH, request="x", load="l", name=""),
        replace(GRAPH, request="x", load="l", name="n" * 64),
        replace(RUN, request="x", program="../x"),
        replace(RUN, request="x", program="a\nb"),
    ],
)
def test_names_that_nobody_can_give_are_declined(decision: Decision) -> None:
    assert refused(applied(VIEW, GRAPH), decision)


def test_a_snapshot_that_no_shard_has_made_is_not_taken() -> None:
    registry = applied(VIEW, GRAPH, RUN)
    assert mistake_in_snapshot(freeze(registry)) is None
    run = registry.runs["rank-1"]
    for wrong in (
        {"placements": {"web": registry.placements["web"][1:]}},
        {"placements": {"web": (("nobody",),) * 8}},
        {"view": None},
        {"view": replace(VIEW_RECORD, members=())},
        {"view": replace(VIEW_RECORD, replicas=0)},
        {"view": replace(VIEW_RECORD, virtual_nodes=2**60)},
        {"graphs": {}, "placements": {}},
        {"runs_begun": 0},
        {"runs": {"rank-1": replace(run, state="gone")}},
        {"runs": {"rank-1": replace(run, number=0)}},
        {"disks": {"a\x1b": Disk(1, {})}},
    ):
        bad = freeze(replace(registry, **wrong))
        assert mistake_in_snapshot(bad) is not None, wrong
        other = applied(VIEW)
        before = freeze(other)
        with pytest.raises(Rejected):
            restore(other, bad)
        assert freeze(other) == before
    assert mistake_in_snapshot(b"") is not None
    assert mistake_in_snapshot(b"nonsense") is not None
