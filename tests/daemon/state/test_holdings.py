"""The replicated state machine: who holds what, runs that wait, and whatever else a log may hold, in any order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.state import Registry, RunBegun, RunEnded, command_codec
from daemon.state.commands import (
    AddGraph,
    Drain,
    DropGraph,
    DropParts,
    EndRun,
    FormView,
    Holding,
    HoldParts,
    Identity,
    ResumeRun,
    StartRun,
    StateSource,
    StopRun,
    to_bits,
)
from daemon.state.machine import Command
from tests.daemon.state.registries import LOAD, PARTITIONS, apply, formed, freeze, restore

EVERYTHING = frozenset(range(PARTITIONS))


def resume(epoch: int, tick: int = 4, run: str = "rank-1") -> ResumeRun:
    return ResumeRun(run, epoch, tick, ())


def test_with_each_view_every_run_waits_until_it_is_resumed() -> None:
    log = formed()
    log.run()
    (run,) = log.registry.active_runs()
    assert (run.epoch, log.registry.waiting_runs()) == (1, [])
    assert "does not wait" in log.apply(resume(1))
    log.view("abc")
    (run,) = log.registry.waiting_runs()
    assert run.epoch == 0
    assert "does not wait in epoch 1" in log.apply(resume(1, 5))
    begun, _ = apply(log.registry, resume(2))
    assert isinstance(begun, RunBegun)
    assert (begun.run.epoch, begun.run.resumed) == (2, 4)
    assert log.registry.waiting_runs() == []
    assert "does not wait" in log.apply(resume(2, 6))


def test_a_tick_counts_as_it_was_made_last() -> None:
    """Ticks up to 4 were made in view 1, the run went on from there in view 3; 7 of view 2 was done again."""
    log = formed()
    log.run()
    log.view("abc")
    log.view("abc")
    log.apply(ResumeRun("rank-1", 3, 4, (), origin=1))
    (run,) = log.registry.active_runs()
    assert [run.made_in(tick) for tick in (4, 5, 7)] == [1, 3, 3]
    void = [(epoch, tick) for epoch in (1, 2, 3) for tick in (3, 4, 7) if run.is_void(epoch, tick)]
    assert void == [(1, 7), (2, 4), (2, 7), (3, 4)]


def test_a_run_that_is_over_does_not_wait() -> None:
    log = formed()
    log.run()
    log.apply(EndRun("rank-1", "completed", 9, "", 0))
    log.view("abc")
    assert log.registry.waiting_runs() == []
    assert "does not wait" in log.apply(resume(2))


def test_a_halted_graph_begins_no_run_and_names_who_had_it() -> None:
    log = formed("ab", replicas=1)
    log.run()
    log.holds("b", 2)
    log.view({"a": 1}, replicas=1)
    lost = log.registry.lost("web")
    assert lost
    assert log.registry.last_holders("web") == [], "b has said since that it has nothing"
    assert f"{len(lost)} of its partitions are lost; no known shard had them" in log.run()
    assert "halted" in log.apply(resume(2))
    assert log.registry.waiting_runs() == []
    log.holds("b", 3, lost)
    assert "lost; b had them" in log.run()
    log.view({"a": 1, "b": 3}, replicas=1)
    assert log.registry.lost("web") == []
    assert log.run() == ""


def test_holdings_of_a_former_life_are_declined() -> None:
    log = formed()
    log.holds("a", 3, {0})
    assert "has restarted" in log.holds("a", 2, EVERYTHING)
    assert "has restarted" in log.holds("a", 2, EVERYTHING, is_whole=False)
    assert "has restarted" in log.holds("a", 4, EVERYTHING, is_whole=False), "a new life says all that it has first"
    assert "has sent a later report" in log.holds("a", 3, EVERYTHING), "and that once"
    assert log.held_by("a") == {0}


def test_who_has_begun_another_life_serves_nothing_until_the_next_view() -> None:
    log = formed()
    log.holds("b", 2, EVERYTHING)
    assert not log.registry.holds("b", LOAD, 0)
    assert all("b" not in holders for holders in log.registry.placeable(log.registry.graphs["web"]))
    log.view({"a": 1, "b": 2, "c": 1})
    assert log.registry.holds("b", LOAD, 0)


def test_a_graph_that_was_loading_while_a_member_restarted_is_declined() -> None:
    """What it had received for the load may not be on its disk."""
    log = formed()
    log.holds("b", 2)
    assert "b started again" in log.graph("other", "load-2")
    log.view({"a": 1, "b": 2, "c": 1})
    assert log.graph("other", "load-2") == ""


def test_what_is_not_counted_on_may_be_dropped_once_the_ideal_is_served() -> None:
    log = formed(replicas=1)
    (owner,), me = log.registry.placements["web"][0], Identity("a", 1)
    if owner == "a":
        me = Identity("b", 1)
    log.holds(me.name, held={0}, is_whole=False)
    assert log.apply(DropParts(me, Holding(LOAD, to_bits({0})))) == ""
    assert 0 not in log.held_by(me.name)
    assert "still needed" in log.apply(DropParts(Identity(owner, 1), Holding(LOAD, to_bits({0}))))
    assert "no longer held" in log.apply(DropParts(Identity("a", 9), Holding(LOAD, to_bits({0}))))
    assert "no longer held" in log.apply(DropParts(me, Holding("load-9", to_bits({0}))))
    log.drain(owner)
    log.holds(me.name, held={0}, is_whole=False)
    assert "still needed" in log.apply(DropParts(me, Holding(LOAD, to_bits({0})))), "it is on its way to others"


def test_partitions_that_a_graph_does_not_have_are_held_by_nobody() -> None:
    log = formed()
    log.holds("a", held={0, PARTITIONS, 999}, is_whole=False)
    assert log.held_by("a") <= EVERYTHING


def test_draining_ends_with_a_new_life_or_when_it_is_taken_back() -> None:
    log = formed()
    assert "no shard is called 'x'" in log.drain("x")
    assert log.drain("a") == ""
    assert log.registry.draining == {"a"}
    log.drain("a", is_on=False)
    assert log.registry.draining == set()
    log.drain("a")
    log.holds("a", 2)
    assert log.registry.draining == set()


def test_what_would_break_every_shard_at_each_start_is_declined() -> None:
    log = formed()
    view = FormView(2, (Identity("a", 1),), 10, 2)
    assert "needs members" in log.apply(replace(view, members=()))
    assert "each of them once" in log.apply(replace(view, members=(Identity("a", 1), Identity("a", 2))))
    assert "virtual nodes" in log.apply(replace(view, virtual_nodes=0))
    assert "virtual nodes" in log.apply(replace(view, virtual_nodes=10**9))
    assert "a holder at least" in log.apply(replace(view, replicas=0))
    assert "partitions" in log.graph("x", "load-x", 0)
    assert "partitions" in log.graph("x", "load-x", 10**9)
    assert "is a graph already" in log.graph("x", LOAD)
    log.run()
    assert "can't end with this outcome" in log.apply(EndRun("rank-1", "running", 1, "", 0))


def test_a_run_that_a_snapshot_has_forgotten_is_over() -> None:
    behind, ahead = formed(), formed()
    behind.run()
    (news,) = (n for n in restore(behind.registry, freeze(ahead.registry)) if isinstance(n, RunEnded))
    assert news.run.name == "rank-1"


# -- any log -----------------------------------------------------------------------------------------------------------

names = st.sampled_from("abcd")
generations = st.integers(1, 3)
identities = st.builds(Identity, names, generations)
graphs = st.sampled_from(("web", "net"))
loads = st.sampled_from((LOAD, "load-2", "load-3"))
runs = st.integers(1, 4).map("rank-{}".format)
bits = st.sets(st.integers(0, PARTITIONS)).map(to_bits)
held = st.builds(Holding, loads, bits)
epochs = st.integers(0, 6)
members = st.lists(identities, max_size=4, unique_by=lambda member: member.name).map(
    lambda found: tuple(sorted(found, key=lambda member: member.name))
)
asked: st.SearchStrategy[Command] = st.one_of(
    st.builds(FormView, epochs, members, st.just(4), st.integers(0, 3)),
    st.builds(HoldParts, identities, st.lists(held, max_size=2).map(tuple), st.booleans()),
    st.builds(DropParts, identities, held),
    st.builds(Drain, names, st.booleans()),
    st.builds(
        AddGraph,
        name=graphs,
        load=loads,
        epoch=epochs,
        node_count=st.just(9),
        edge_count=st.just(9),
        partition_count=st.integers(0, PARTITIONS),
        cross_edges=st.just(1),
        id_type=st.just("int"),
        node_columns=st.just(()),
        edge_columns=st.just(()),
    ),
    st.builds(DropGraph, graphs, loads, st.booleans()),
    st.builds(
        StartRun,
        program=st.just("rank"),
        graph=graphs,
        load=loads,
        params=st.just(()),
        ticks=st.just(9),
        interval_ns=st.just(0),
        paced=st.booleans(),
        phases=st.integers(0, 15),
        columns=st.just(()),
        checkpoint_ticks=st.integers(-1, 3),
    ),
    st.builds(
        ResumeRun,
        runs,
        epochs,
        st.integers(0, 9),
        st.lists(st.builds(StateSource, names, bits), max_size=2).map(tuple),
    ),
    st.builds(StopRun, runs),
    st.builds(
        EndRun,
        runs,
        st.sampled_from(("completed", "stopped", "failed", "running")),
        st.integers(0, 9),
        st.just(""),
        st.just(0),
    ),
)
steps = st.lists(st.tuples(asked, st.booleans(), st.booleans()), max_size=40)


def in_time(registry: Registry, decision: Command) -> Command:
    """The same as a leader would say it who is up to date; most of what is drawn would be declined otherwise."""
    match decision:
        case FormView():
            living = tuple(Identity(name, disk.generation) for name, disk in sorted(registry.disks.items()))
            return replace(decision, epoch=registry.epoch + 1, members=living)
        case AddGraph() | ResumeRun():
            return replace(decision, epoch=registry.epoch)
        case HoldParts(shard=shard):
            disk = registry.disks.get(shard.name)
            generation = (disk.generation if disk else 0) + decision.is_whole
            return replace(decision, shard=Identity(shard.name, generation))
        case _:
            return decision


def check(registry: Registry) -> None:
    view = registry.view
    assert set(registry.placements) == set(registry.graphs)
    assert len({graph.load for graph in registry.graphs.values()}) == len(registry.graphs)
    for name, graph in registry.graphs.items():
        assert view is not None
        placed = registry.placements[name]
        assert len(placed) == graph.partition_count
        for holders in placed:
            assert len(holders) == len(set(holders)) <= view.replicas
            assert set(holders) <= set(view.names)
    for graph in registry.graphs.values():
        for partition, holders in enumerate(registry.placements[graph.name]):
            for holder in holders:
                assert view is not None
                disk = registry.disks[holder]
                lives = disk.generation == next(m.generation for m in view.members if m.name == holder)
                assert disk.has(graph.load, partition) or not lives, "what is counted on is there, in that life"
    known = {graph.load: graph.partition_count for graph in registry.graphs.values()}
    for disk in registry.disks.values():
        for load, partitions in disk.loads.items():
            assert partitions
            assert max(partitions) < known[load], "of loads that are graphs, and of partitions that they have"
    assert registry.draining <= set(registry.disks)
    for run in registry.runs.values():
        assert run.epoch <= registry.epoch
        if run.active:
            assert run.graph in registry.graphs
            assert run.epoch in (0, registry.epoch)
            assert run.epoch == 0 or not registry.lost(run.graph)
    assert len(registry.runs) <= registry.runs_begun


@settings(max_examples=120, deadline=None)
@given(st.booleans(), steps)
def test_whatever_is_in_the_log_all_shards_agree_and_what_is_said_holds(
    is_formed: bool, log: list[tuple[Command, bool, bool]]
) -> None:
    registry, codec = formed().registry if is_formed else Registry(cluster="test"), command_codec()
    twin = Registry()
    restore(twin, freeze(registry))
    for drawn, is_timely, is_snapshot in log:
        command = in_time(registry, drawn) if is_timely else drawn
        first = apply(registry, command)
        again = codec.decode("cluster", codec.encode(command))
        assert again == command
        assert apply(twin, again) == first, "the same announcements everywhere"
        check(registry)
        if is_snapshot:
            frozen = freeze(twin)
            twin = Registry()
            restore(twin, frozen)
            assert freeze(twin) == frozen
        assert twin == registry
