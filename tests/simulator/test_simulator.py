"""A fixed set of seeds of every scenario, and checks that the simulator detects what it is there to detect."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from consensus import Entry, Raft
from daemon.control.bootstrap import Alive, Bootstrap
from daemon.control.lives import Life
from daemon.control.log_time import LogTime
from daemon.control.messages import Grant
from daemon.control.pacing import Pacing
from daemon.control.settings import OnDisk
from daemon.control.versions import OWN
from daemon.state.machine import Request
from daemon.state.records import RunRecord
from daemon.state.sessions import Sessions
from daemon.store import StateRecord, Store
from daemon.store.high_water import HighWater
from shoal.lockstep.effects import RunOver, RunPhase, TickEffect
from shoal.lockstep.machine import TickMachine
from shoal.program.phase import Phase
from tests.simulator.__main__ import main, replay
from tests.simulator.cluster import Cluster
from tests.simulator.disk import Disk, SimStoreThread
from tests.simulator.foundings import founded_in_bad_weather
from tests.simulator.invariants import Invariants, RunWatch
from tests.simulator.network import CONTROL, TICKS, Weather
from tests.simulator.programs import SmallGraph, Twin
from tests.simulator.scenarios import SCENARIOS
from tests.simulator.virtual_loop import Life as Process
from tests.simulator.virtual_loop import VirtualLoop
from tests.simulator.world import MS, SECOND, World

SEEDS = range(2)
FOUND = [
    # A stop took effect while a new view was formed: its holders never fetched the result, and a copy was missing.
    ("rolling-restart", 3),
    # A run ended while three of four were drained: the fourth had its partitions, and no source for the result.
    ("everything", 100356),
    # With a copy on every shard, a drained one stayed a holder after the others, and so was never released.
    ("everything", 100835),
    # A founder withdrew its declaration after another had counted it: two clusters were founded.
    ("founding-siege", 35),
    ("founding-siege", 63),
    ("founding-siege", 7100082),
    # A returning shard still had a tick of wcc from a view with another cut, and gave it out as that of the run's end.
    ("disk-trouble", 1002),
    ("disk-trouble", 1059),
    # All members were drained at once, and the work was never balanced again: two of the four did it all.
    ("leader-ping-pong", 7100095),
    # Of three drained shards two returned, and the third left before they had fetched a run's data from it.
    ("leader-ping-pong", 50),
    # A shard reported that a disk had gone back while there was no leader; the next leader did not know it.
    ("disk-went-back", 151),
    # A leaving voter was removed while another was dead for good, and the only one left was no majority.
    ("siege", 92),
    # The leader's slow disk synced each proposal once per retransmission, and so it never answered anything else.
    ("everything", 140),
    # Asked twice for a partition, a slow disk sent two pieces with one name: one run's state became that of another.
    ("siege", 232),
    # A piece built here was dropped while another shard still received its own; then the log had the graph.
    ("lossy-load", 2),
    # The shard that loaded a graph died, and the others kept its pieces.
    ("graph-replaced", 1),
    # A graph was dropped while a copy of it arrived, and the partition table was written after that.
    ("graph-replaced", 4),
    # A copy became available from other shards than at first, but the first, which was gone, was asked for ever.
    ("everything", 4),
    # A receiver had given a piece up and started it anew; what it had beyond the first gap was never sent again.
    ("lossy-load", 1023),
    # A leaving voter was slower than the majority that removed it, and never received the entry that said so.
    ("leave", 3127),
    # A shard that had been cut off heard of a run's end, and kept the tick at which it stood itself as the result.
    ("random-faults", 4120),
    # A disk that had gone back and been replaced was put in again: all ignored its server, and nobody told it why.
    ("disk-went-back", 4106),
    # The simulator's own: a host slept past the end of all faults, and was asked to answer a read before it woke up.
    ("wrong-clock", 4302),
]
"""Seeds that once failed; what a seed does changes with the daemon and with the simulator."""


@pytest.mark.parametrize(("name", "seed"), [*((name, seed) for name in SCENARIOS for seed in SEEDS), *FOUND])
def test_scenario(name: str, seed: int) -> None:
    try:
        SCENARIOS[name](seed, False)
    except AssertionError as error:
        raise AssertionError(f"{error}\nreplay: {replay(name, seed)}") from error


@pytest.mark.parametrize(("size", "expect", "seed"), [(3, 2, 2029), (5, 3, 7200003), (4, 3, 7200024), (4, 3, 7200058)])
def test_one_cluster_is_founded_although_a_fifth_of_all_messages_is_lost(size: int, expect: int, seed: int) -> None:
    founded_in_bad_weather(seed, size, expect)


def _takes_it_back(bootstrap: Bootstrap, alive: Alive) -> bool:
    return False


def test_a_promise_that_is_taken_back_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Bootstrap, "is_bound", _takes_it_back)
    with pytest.raises(AssertionError):
        _try_seeds("founding-siege", 80)


@pytest.mark.parametrize("seed", [9002, 9032])
def test_a_load_that_was_given_up_by_its_receiver_goes_on(seed: int) -> None:
    run_scenario = SCENARIOS["lossy-load"]
    assert run_scenario(seed, False).invariants is not None


@pytest.mark.parametrize("name", ["power-cut", "lossy-load"])
def test_a_seed_replays_exactly(name: str) -> None:
    first, second = SCENARIOS[name](3, False), SCENARIOS[name](3, False)
    assert first.world.fingerprint == second.world.fingerprint
    assert first.world.events == second.world.events
    assert SCENARIOS[name](4, False).world.fingerprint != first.world.fingerprint


def test_a_seed_replays_exactly_whatever_strings_hash_to() -> None:
    script = (
        "from tests.simulator.scenarios import SCENARIOS; print(SCENARIOS['everything'](3, False).world.fingerprint)"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": salt},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for salt in ("1", "2")
    }
    assert len(told) == 1
    assert told != {""}


def test_a_failing_seed_prints_the_command_that_replays_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(seed: int, verbose: bool) -> Cluster:
        raise AssertionError("as the test wants it")

    monkeypatch.setitem(SCENARIOS, "lossy-load", fails)
    assert main(["--seeds", "1", "--scenario", "lossy-load", "--processes", "1"]) == 1
    told = capsys.readouterr().out
    assert "python -m tests.simulator --seed 0 --scenario lossy-load --verbose" in told
    assert "as the test wants it" in told


# Checks of the simulator: broken machines first, each with a scenario that detects it.


def _commits_alone(raft: Raft, now: int) -> None:
    if raft.last_index > raft.commit_index:
        raft.commit_index = raft.last_index
        raft._replicate(now)


def _knows_no_outcome(sessions: Sessions, request: Request) -> None:
    return None


def _believes_itself(time: LogTime, server: str, unix_ns: int, voters: Sequence[str], asked_ns: int, now: int) -> None:
    """Counts only the leader's own clock, which needs no answer."""
    if asked_ns == now:
        told(time, server, unix_ns, (server,), asked_ns, now)


def _keeps_one_share(machine: TickMachine, *arguments: Any) -> list[TickEffect]:
    effects = push(machine, *arguments)
    while len(machine._sent) > 1:
        del machine._sent[min(machine._sent)]
    return effects


def _hears_no_grant(pacing: Pacing, grant: Grant) -> bool:
    return False


def _try_seeds(scenario: str, seeds: int = 30) -> None:
    """Tries seeds until one fails; which one it is changes with everything."""
    for seed in range(seeds):
        SCENARIOS[scenario](seed, False)


push, told = TickMachine._push, LogTime.told


@pytest.mark.parametrize(
    ("broken", "name", "by", "scenario"),
    [
        (Raft, "_commit", _commits_alone, "leader-cut-off"),
        (Sessions, "_recorded", _knows_no_outcome, "siege"),
        (TickMachine, "_push", _keeps_one_share, "lost-and-repeated"),
        (LogTime, "told", _believes_itself, "wrong-clock"),
        (Pacing, "hear", _hears_no_grant, "leader-cut-off"),
    ],
)
def test_a_broken_machine_is_noticed(
    monkeypatch: pytest.MonkeyPatch, broken: object, name: str, by: Callable[..., object], scenario: str
) -> None:
    monkeypatch.setattr(broken, name, by)
    with pytest.raises(AssertionError):
        _try_seeds(scenario)


def _lies(scenario: str, monkeypatch: pytest.MonkeyPatch) -> None:
    init = Disk.__init__

    def lying(disk: Disk, path: Path, name: str, random: Random) -> None:
        init(disk, path, name, random, lies=True)

    monkeypatch.setattr(Disk, "__init__", lying)
    _try_seeds(scenario)


def _nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Life, "tag", property(lambda life: ""))
    monkeypatch.setattr(HighWater, "read", lambda high_water, disk: 0)
    monkeypatch.setattr(OnDisk, "life", property(lambda found: Life(found.disk, 1 << 60, 1 << 60, 1 << 60, False)))


@pytest.mark.parametrize("scenario", ["power-cut", "kill-and-return"])
def test_a_disk_that_says_it_has_synced_and_has_not_is_noticed(monkeypatch: pytest.MonkeyPatch, scenario: str) -> None:
    _nobody_looks(monkeypatch)
    with pytest.raises(AssertionError):
        _lies(scenario, monkeypatch)


def _forgets_the_floor(store: Store, records: Sequence[StateRecord]) -> None:
    put_states(store, [replace(record, floor=record.tick, older=0) for record in records])


put_states = Store.put_states


def test_a_store_that_deletes_the_last_committed_checkpoint_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It deletes all checkpoints before the next is committed everywhere: then no tick is held for all partitions."""
    monkeypatch.setattr(Store, "put_states", _forgets_the_floor)
    with pytest.raises(AssertionError):
        _try_seeds("kill-and-go-on")


def _invariants() -> Invariants:
    invariants = Invariants(Twin(SmallGraph.draw(Random(1))))
    phases = (Phase.SENSE, Phase.ADVANCE)
    invariants.runs[1, 1] = RunWatch(("a", "b"), phases, 0, (("a",), ("b",)))
    return invariants


def test_a_phase_that_starts_early_is_noticed() -> None:
    invariants = _invariants()
    start, sense = RunPhase(1, 0, Phase.ADVANCE), RunPhase(1, 1, Phase.SENSE)
    invariants.started("a", 1, start)
    invariants.started("b", 1, start)
    invariants.finished("a", 1, start)
    with pytest.raises(AssertionError, match="a starts sense of tick 1 of run 1, and b has not come so far"):
        invariants.started("a", 1, sense)
    invariants.finished("b", 1, start)
    invariants.started("a", 1, sense)


def test_a_phase_that_is_skipped_is_noticed() -> None:
    with pytest.raises(AssertionError, match="skips"):
        _invariants().started("a", 1, RunPhase(1, 1, Phase.SENSE))


def test_two_ends_of_a_run_are_noticed() -> None:
    invariants = _invariants()
    invariants.over("a", 1, RunOver(1, 4, "failed", ""))
    with pytest.raises(AssertionError, match="b ends failed after tick 5"):
        invariants.over("b", 1, RunOver(1, 5, "failed", ""))


def test_a_run_that_falls_behind_a_committed_checkpoint_is_noticed() -> None:
    cluster = Cluster(1, 2)
    cluster.form()
    host = cluster.members()[0]
    registry, invariants = host.shard.registry, cluster.invariants
    assert registry.view is not None
    run = RunRecord(
        "r-1", 1, "r", "small", registry.graphs["small"].load, (), 9, 0, False, (Phase.ADVANCE,), (), 0, resumed=3
    )
    placed = registry.placements["small"]
    invariants.checkpoints[1] = {
        5: {p: frozenset([(placed[p][0], cluster.hosts[placed[p][0]].disk.identity)]) for p in range(len(placed))}
    }
    with pytest.raises(AssertionError, match="r-1 goes on after tick 3, and 5 was committed"):
        invariants.begun(run, registry.view, placed)


def test_a_committed_entry_that_changes_is_noticed() -> None:
    safety = _invariants().safety
    safety.committed("a", 1, [Entry(1, 1, b"x")])
    with pytest.raises(AssertionError, match="another applied"):
        safety.committed("b", 1, [Entry(1, 1, b"y")])


def test_registries_that_differ_are_noticed() -> None:
    cluster = Cluster(1, 2)
    cluster.form()
    host = cluster.hosts["bee"]
    host.shard.registry.runs_begun += 1
    host.shard._replica.applied -= 1
    with pytest.raises(AssertionError, match="another registry"):
        cluster.invariants.given(host.shard, [])


# Checks that the world does what it says.


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
    assert host.loop.life._inbox
    assert host.shard.applied_index == applied
    cluster.world.run(200 * MS)
    assert not host.loop.life._inbox
    cluster.faults.crash("ant", back_after=SECOND)
    assert not host.running
    assert host.disk.stored is not None
    cluster.world.run(SECOND)
    cluster.world.run(10 * SECOND)
    assert (host.generation, host.shard.in_view, host.shard.has_seat) == (2, True, True)
    assert bee.shard.registry.epoch > 1


def test_what_a_disk_has_not_synced_is_lost_and_states_perhaps_in_part(tmp_path: Path) -> None:
    world, kept = World(5), set()
    for number in range(40):
        disk, loop = Disk(tmp_path / str(number), "ant", Random(number)), VirtualLoop(Process(world, Random(number)))
        thread, done = SimStoreThread(disk.open(1, OWN), disk, loop, _nobody), list[str]()
        thread.submit_states(StateRecord(1, 1, 0, {0: b"synced"}), lambda done=done: done.append("synced"))  # type: ignore[misc]
        world.run(SECOND)
        thread.submit_states(StateRecord(1, 2, 1, {0: b"going", 1: b"going"}), lambda: None)
        world.run(0)
        thread.submit_states(StateRecord(1, 3, 1, {0: b"waiting"}), lambda: None)
        world.run(0)
        loop.kill()
        disk.cut()
        assert done == ["synced"]
        held = disk.ticks_held(1)
        assert held[1] == {0}
        assert 3 not in held
        kept.add(len(held.get(2, ())))
    assert kept == {0, 1, 2}


def _nobody(_: BaseException) -> None:
    """Ignores it."""


def test_a_full_disk_makes_its_host_go_and_come_back() -> None:
    cluster = Cluster(5, 3)
    cluster.form()
    cluster.faults.fill_disk("ant")
    cluster.start_run("pagerank", 5)
    assert cluster.world.run_until(lambda: not cluster.hosts["ant"].running, 10 * SECOND)
    cluster.recover()
    cluster.check_runs()
