"""What the log decides is routed once, and what it makes due is looked at before the door closes."""

from __future__ import annotations

from typing import get_args

from consensus import Append, Entry, Persist
from daemon.control.effects import Answered, BeginRun, TellStates
from daemon.control.events import Due, LeadershipChanged, ReplicaEvent, StateReplaced, due_after
from daemon.state import Announcement, HoldingsChanged, RunBegun, ViewInstalled, command_codec
from daemon.state.commands import DropGraph, FormView, StopRun
from daemon.state.envelope import LogEntry
from daemon.state.machine import Request
from tests.daemon.control.network import SETTINGS, ShardCluster
from tests.simulator.world import SECOND

LATE = 10**18


def test_what_is_due_is_known_of_every_event() -> None:
    due = {
        kind.__name__: due_after(object.__new__(kind)) for kind in (*get_args(Announcement), *get_args(ReplicaEvent))
    }
    assert {name for name, what in due.items() if Due.HOLDINGS in what} == {
        "ViewInstalled",
        "HoldingsChanged",
        "GraphRemoved",
        "StateReplaced",
    }
    assert due[LeadershipChanged.__name__] == (Due.PROPOSALS, Due.LEAD)
    assert due_after(StateReplaced()) == (Due.HOLDINGS,)
    assert due_after(Answered("r", "")) == ()


def test_a_lone_shard_has_all_that_follows_in_one_door() -> None:
    """Its first view, and what it holds, are decided by the log that it alone is."""
    cluster = ShardCluster(1)
    cluster.form()
    (machine,) = cluster.running()
    cluster.add_graph()
    number = cluster.start_run()
    kinds = [type(effect) for effect in machine.diary]
    assert kinds.index(HoldingsChanged) < kinds.index(ViewInstalled)
    assert kinds.index(BeginRun) < kinds.index(RunBegun), "the tick plane first"
    assert machine.up.deadline is not None
    assert machine.up.deadline > cluster.world.now, "nothing is left for the next door"
    assert machine.registry.active_runs()[0].number == number


def test_each_event_is_routed_with_the_state_just_behind_its_entry() -> None:
    """However many entries come at once: what is asked of the host in one view is of no use in the next."""
    cluster = ShardCluster(3).formed()
    cluster.start_run()
    leader, other, now = cluster.led(), cluster.others()[0], cluster.world.now
    raft, view, codec = other.up.raft, other.registry.view, command_codec()
    assert raft is not None
    assert view is not None
    entries = []
    for number, epoch in enumerate((2, 3, 4), start=1):
        formed = codec.encode(FormView(epoch, view.members, view.virtual_nodes, view.replicas))
        data = codec.seal(LogEntry("cluster", "fox", 1, number, 1, 0, formed))
        entries.append(Entry(raft.last_index + number, raft.term, data))
    append = Append(raft.term, raft.last_index, raft.log.last_term, tuple(entries), entries[-1].index)
    effects = list(other.up.step(leader.up.identity, append, now))
    for persist in [effect for effect in effects if isinstance(effect, Persist)]:
        effects += other.up.persisted(persist, now)
    assert [effect.epoch for effect in effects if isinstance(effect, TellStates)] == [2, 3, 4]
    assert [effect.view.epoch for effect in effects if isinstance(effect, ViewInstalled)] == [2, 3, 4]


def test_who_was_cut_off_learns_in_a_snapshot_what_was_decided_on_its_request() -> None:
    cluster = ShardCluster(3).formed()
    leader, asker = cluster.led(), cluster.others()[0]
    now = cluster.world.now
    asker.perform(asker.up.propose("mine", DropGraph("web", "load-web"), now + 60 * SECOND, now))
    cluster.world.run_until(lambda: "web" not in leader.registry.graphs, SECOND, 100_000)
    cluster.cut = frozenset({asker.name})
    assert asker.answer("mine") is None
    for _ in range(2 * SETTINGS.snapshot_entries):
        cluster.propose(StopRun("nothing"), leader)
    cluster.cut = frozenset()
    cluster.until(lambda: asker.answer("mine") is not None, 20 * SECOND)
    answer = asker.answer("mine")
    assert answer is not None
    assert (answer.error, answer.name, answer.decided) == ("", "web", True)
    raft = asker.up.raft
    assert raft is not None
    assert 0 < answer.index < raft.log.snapshot.index, "its entry is in no log any more"


def test_an_answer_has_a_token_that_rises_from_leader_to_leader() -> None:
    cluster = ShardCluster(3).formed()
    tokens = [cluster.propose(StopRun("nothing"), machine).index for machine in cluster.running()]
    cluster.led().kill()
    cluster.until(lambda: cluster.leader() is not None and cluster.led().up.leader == cluster.led().name)
    tokens += [cluster.propose(StopRun("nothing")).index for _ in range(2)]
    assert tokens == sorted(set(tokens))
    assert tokens[0] > 0


def test_nobody_proposes_in_the_name_of_another_life() -> None:
    cluster = ShardCluster(3).formed()
    other = cluster.others()[0]
    cluster.propose(StopRun("nothing"), other)
    outcome = cluster.led().up.state.sessions.outcome
    assert outcome(Request(other.name, other.generation + 1, 1)) is None
    assert outcome(Request(other.name, other.generation, 1)) is not None
