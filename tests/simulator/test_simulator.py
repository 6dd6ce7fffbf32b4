"""A fixed set of seeds of every scenario, and whether the simulator would notice what it is there to notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from consensus import Entry, Raft
from daemon.protocol.cluster_messages import Grant
from daemon.protocol.decisions import Decision
from daemon.protocol.pacing import Pacing
from daemon.protocol.registry import Announcement, Registry, RunRecord, View
from daemon.protocol.tick import TickMachine
from daemon.protocol.tick_effects import RunOver, RunPhase, TickEffect
from shoal.phase import Phase
from tests.simulator.__main__ import main, replay
from tests.simulator.cluster import Cluster
from tests.simulator.invariants import Invariants
from tests.simulator.network import CONTROL, TICKS, Weather
from tests.simulator.scenarios import SCENARIOS
from tests.simulator.world import MS, SECOND

SEEDS = range(7)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", SCENARIOS)
def test_scenario(name: str, seed: int) -> None:
    try:
        SCENARIOS[name](seed, False)
    except AssertionError as error:
        raise AssertionError(f"{error}\nreplay: {replay(name, seed)}") from error


@pytest.mark.parametrize("name", ["random-faults", "lossy-load"])
def test_a_seed_replays_exactly(name: str) -> None:
    first, second = SCENARIOS[name](3, False), SCENARIOS[name](3, False)
    assert first.world.fingerprint == second.world.fingerprint
    assert first.world.events == second.world.events
    assert SCENARIOS[name](4, False).world.fingerprint != first.world.fingerprint


def test_a_failing_seed_prints_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(seed: int, verbose: bool) -> Cluster:
        raise AssertionError("as the test wants it")

    monkeypatch.setitem(SCENARIOS, "lossy-load", fails)
    assert main(["--seeds", "1", "--scenario", "lossy-load"]) == 1
    told = capsys.readouterr().out
    assert "python -m tests.simulator --seed 0 --scenario lossy-load --verbose" in told
    assert "as the test wants it" in told


# Would it notice? Broken machines first, each with a scenario that finds it.


def _commits_alone(raft: Raft, now: int) -> None:
    if raft.last_index > raft.commit_index:
        raft.commit_index = raft.last_index
        raft._replicate(now)


def _applies_again(registry: Registry, decision: Decision) -> list[Announcement]:
    registry._recent.clear()
    return apply(registry, decision)


def _keeps_one_share(machine: TickMachine, *arguments: Any) -> list[TickEffect]:
    effects = push(machine, *arguments)
    while len(machine._sent) > 1:
        del machine._sent[min(machine._sent)]
    return effects


def _hears_no_grant(pacing: Pacing, grant: Grant) -> bool:
    return False


def _try_seeds(scenario: str) -> None:
    for seed in range(5):
        SCENARIOS[scenario](seed, False)


apply, push = Registry.apply, TickMachine._push


@pytest.mark.parametrize(
    ("broken", "name", "by", "scenario"),
    [
        (Raft, "_commit", _commits_alone, "leader-cut-off"),
        (Registry, "apply", _applies_again, "lost-and-repeated"),
        (TickMachine, "_push", _keeps_one_share, "lost-and-repeated"),
        (Pacing, "hear", _hears_no_grant, "leader-cut-off"),
    ],
)
def test_a_broken_machine_is_noticed(
    monkeypatch: pytest.MonkeyPatch, broken: type, name: str, by: Callable[..., object], scenario: str
) -> None:
    monkeypatch.setattr(broken, name, by)
    with pytest.raises(AssertionError):
        _try_seeds(scenario)


def _invariants() -> Invariants:
    invariants = Invariants()
    run = RunRecord("r-1", 1, "r", "g", (), 9, 0, False, (Phase.SENSE, Phase.ADVANCE), (), 0)
    invariants.begun(run, View(1, (), 1))
    invariants.runs[1].members = ("a", "b")
    return invariants


def test_a_phase_that_starts_early_is_noticed() -> None:
    invariants = _invariants()
    start, sense = RunPhase(1, 0, Phase.ADVANCE), RunPhase(1, 1, Phase.SENSE)
    invariants.started("a", start)
    invariants.started("b", start)
    invariants.finished("a", start)
    with pytest.raises(AssertionError, match="a starts sense of tick 1 of run 1, and b has not come so far"):
        invariants.started("a", sense)
    invariants.finished("b", start)
    invariants.started("a", sense)


def test_a_phase_that_is_skipped_is_noticed() -> None:
    with pytest.raises(AssertionError, match="skips"):
        _invariants().started("a", RunPhase(1, 1, Phase.SENSE))


def test_two_ends_of_a_run_are_noticed() -> None:
    invariants = _invariants()
    invariants.over("a", RunOver(1, 4, "stopped", ""), {})
    with pytest.raises(AssertionError, match="b ends stopped after tick 5"):
        invariants.over("b", RunOver(1, 5, "stopped", ""), {})


def test_a_committed_entry_that_changes_is_noticed() -> None:
    safety = Invariants().safety
    for name in ("a", "b"):
        safety._terms[name] = 1
    safety.committed("a", [Entry(1, 1, b"x")])
    with pytest.raises(AssertionError, match="another applied"):
        safety.committed("b", [Entry(1, 1, b"y")])


def test_registries_that_differ_are_noticed() -> None:
    cluster = Cluster(1, 2)
    cluster.form()
    host = cluster.hosts["bee"]
    host.shard.registry.runs_begun += 1
    host.shard._applied -= 1
    with pytest.raises(AssertionError, match="another registry"):
        cluster.invariants.persisted(host.shard, [])


# Does the world do what it says?


def test_the_network_loses_repeats_and_cuts_what_it_is_told_to() -> None:
    cluster = Cluster(1, 3)
    received: list[tuple[int, str, bytes]] = []
    for name in cluster.names:
        cluster.network.attach(name, lambda plane, frames: received.append((cluster.world.now, plane, frames[0])))
    cluster.network.weather[TICKS] = Weather(loss=0.2, repetition=0.25, delay_min_ns=MS, delay_max_ns=50 * MS)
    numbers = [number.to_bytes(2, "big") for number in range(2000)]
    for number in numbers:
        cluster.network.send(TICKS, "ant", "bee", [number])
    cluster.world.run(SECOND)
    arrived = [frame for _, _, frame in received]
    assert 0.16 < 1 - len(set(arrived)) / 2000 < 0.24
    assert 0.16 < (len(arrived) - len(set(arrived))) / 2000 < 0.24
    assert arrived != sorted(arrived), "it should reorder"
    assert all(MS <= when <= 50 * MS for when, _, _ in received)
    received.clear()
    cluster.faults.partition(["ant"], 10 * SECOND, one_way=True)
    cluster.network.send(CONTROL, "ant", "bee", [b"cut"])
    cluster.network.send(CONTROL, "bee", "ant", [b"through"])
    cluster.world.run(SECOND)
    assert [frame for _, _, frame in received] == [b"through"]


def test_a_paused_host_keeps_its_inbox_and_a_crashed_one_forgets() -> None:
    cluster = Cluster(5, 3)
    cluster.form()
    host = cluster.hosts["ant"]
    cluster.faults.pause("ant", SECOND)
    applied = host.shard.applied_index
    bee = cluster.hosts["bee"]
    cluster.world.run(900 * MS)
    assert host._inbox
    assert host.shard.applied_index == applied
    cluster.world.run(200 * MS)
    assert not host._inbox
    cluster.faults.crash("ant")
    assert not host.running
    cluster.world.run(SECOND)
    cluster.faults.restart("ant")
    cluster.world.run(10 * SECOND)
    assert (host.generation, host.shard.in_view, host.shard.raft) == (2, False, None)
    assert bee.shard.missing_members() == ["ant"]
