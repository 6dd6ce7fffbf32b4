"""The scenarios, by name. Each makes a cluster from a seed, does something to it, and says what must have come of it.

What must hold at every step is in `invariants`; what must hold once the faults have ended, in `Cluster.recover` and
`Cluster.check_runs`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random

from daemon.protocol.registry import FAILED, STOPPED
from tests.simulator.cluster import TICKS_MAX, Cluster
from tests.simulator.host import Host
from tests.simulator.load_scenario import lossy_load
from tests.simulator.network import FAIR, PLANES, TICKS, Weather
from tests.simulator.world import MS, SECOND

Scenario = Callable[[int, bool], Cluster]

LOSSY = Weather(loss=0.2, repetition=0.15, delay_max_ns=5 * MS)


def lost_and_repeated(seed: int, verbose: bool = False) -> Cluster:
    """A fifth of all messages of both planes dropped, others repeated: every tick still ends, none before its time."""
    cluster = _cluster(seed, verbose, "loss", weather=LOSSY)
    random = cluster.world.random("scenario")
    runs = [
        cluster.start_run("pagerank", random.randint(5, 20)),
        cluster.start_run("rumour", random.randint(2, 6)),
        cluster.start_run("wcc", TICKS_MAX),
    ]
    assert cluster.world.run_until(partial(_is_over, cluster, *runs), 120 * SECOND), "a tick does not end"
    cluster.recover()
    for run in runs:
        record = cluster.record(run)
        assert record is not None
        cluster.check_result(record)
    cluster.check_runs(runs)
    return cluster


def leader_killed(seed: int, verbose: bool = False) -> Cluster:
    """The tick leader dies in a free-running run: who is left knows who is missing, from the barrier alone."""
    cluster = _cluster(seed, verbose, "kill")
    random = cluster.world.random("scenario")
    run = cluster.start_run(random.choice(["pagerank", "rumour"]), 1_000_000)
    cluster.world.run(random.randint(200 * MS, 1_500 * MS))
    leader = cluster.leader()
    assert leader is not None
    number = _number(cluster, run)
    cluster.faults.crash(leader.name)
    cluster.world.run(2 * SECOND)  # less than membership takes: barrier and gossip are all that they have
    for host in cluster.members():
        _names_the_missing(host, number, leader.name)
    finished = dict(cluster.invariants.runs[number].finished)
    cluster.recover()
    assert cluster.invariants.runs[number].finished == finished, "a phase was passed without the dead"
    for host in cluster.members():
        record = host.shard.registry.runs[run]
        assert (record.state, f"lost {leader.name}:" in record.failure) == (FAILED, True), record
    return cluster


def random_faults(seed: int, verbose: bool = False) -> Cluster:
    """Anything may happen to a cluster with runs of all kinds."""
    weather = FAIR if seed % 2 else LOSSY
    cluster = _cluster(seed, verbose, "random", least=1, most=7, weather=weather)
    random = cluster.world.random("scenario")
    for host in cluster.hosts.values():
        host.phase_ns = (MS, random.choice([5, 50, 300]) * MS)
    cluster.faults.schedule(12 * SECOND, crashes_max=random.choice([0, 0, (len(cluster.names) - 1) // 2]))
    cluster.chatter(12 * SECOND)
    for _ in range(random.randint(1, 4)):
        kind = random.choice(["pagerank", "rumour", "wcc", "degree"])
        interval = random.choice([0, 0, 100 * MS])
        ticks = random.choice([1, 5, 20]) if kind in ("pagerank", "rumour") else TICKS_MAX
        cluster.start_run(kind, ticks, interval_ns=interval)
        cluster.world.run(random.randrange(4 * SECOND))
    cluster.world.run(random.randrange(8 * SECOND))
    cluster.recover()
    cluster.check_runs(_all_runs(cluster))
    return cluster


def leader_cut_off(seed: int, verbose: bool = False) -> Cluster:
    """A paced and a stepped run go on under the next leader when the first is cut off, and lose no tick."""
    cluster = _cluster(seed, verbose, "cut", least=3)
    random = cluster.world.random("scenario")
    ticks = random.randint(5, 9)
    paced = cluster.start_run("pagerank", 4 * ticks, interval_ns=random.choice([50, 150, 400]) * MS)
    stepped = cluster.start_run("rumour", ticks, paced=True)
    for tick in range(1, ticks + 1):
        leader = cluster.leader()
        if tick in (2, 4) and leader is not None:
            cluster.faults.partition([leader.name], random.randint(2_000 * MS, 2_600 * MS))
            cluster.chatter(2 * SECOND)
        _step(cluster, stepped, tick, random)
        if tick == 2:
            cluster.world.run(6 * SECOND)  # for suspicions to be refuted: two cuts in a row may convict
    assert cluster.world.run_until(partial(_is_over, cluster, paced, stepped), 60 * SECOND), "a tick does not come"
    cluster.recover()
    for run in (paced, stepped):
        record = cluster.record(run)
        assert record is not None
        cluster.check_result(record)
    return cluster


def stopped_and_broken(seed: int, verbose: bool = False) -> Cluster:
    """A stop, and a program that fails, end all shards at the same tick (the invariants compare their ends)."""
    cluster = _cluster(seed, verbose, "end", least=1)
    random = cluster.world.random("scenario")
    cluster.network.weather[TICKS] = random.choice([cluster.network.weather[TICKS], LOSSY])
    kinds: list[tuple[int, bool]] = [(0, False), (random.choice([20, 100]) * MS, False), (0, True)]
    for interval_ns, is_stepped in kinds:
        run = cluster.start_run("rumour", 1_000_000, interval_ns=interval_ns, paced=is_stepped)
        if is_stepped:
            _ask_for_steps(cluster, run, random)
        cluster.world.run(random.randrange(600 * MS))
        cluster.stop_run(run)
        assert cluster.world.run_until(partial(_is_over, cluster, run), 30 * SECOND), "it does not stop"
        record = cluster.record(run)
        assert record is not None
        assert record.state == STOPPED, record
        cluster.check_result(record)
    for phase in ("start", "sense", "act", "advance", "halted"):
        tick = 0 if phase == "start" else random.randint(1, 5)
        _breaks(cluster, phase, tick)
    cluster.recover()
    return cluster


def founded_in_a_storm(seed: int, verbose: bool = False) -> Cluster:
    """A host is gone and back as somebody else while the cluster is being founded: one cluster comes of it.

    There may be more hosts than are expected; whoever is not among the founders waits.
    """
    random = Random(f"{seed} founding")
    size = random.randint(2, 5)
    expect = random.choice([size, size // 2 + 1])
    cluster = Cluster(seed, size, expect=expect, verbose=verbose)
    cluster.network.weather = dict.fromkeys(PLANES, random.choice([FAIR, LOSSY]))
    for name in cluster.names:
        cluster.world.after(random.randrange(2 * SECOND), cluster.hosts[name].start)
    cluster.world.run(2 * SECOND + random.randrange(3 * SECOND))
    if expect > 2:  # of two founders, none can do without the other
        cluster.faults.crash(random.choice(cluster.names))
        cluster.world.run(random.randrange(3 * SECOND))
        cluster.faults.restart(min(cluster.faults.crashed))
    assert cluster.world.run_until(partial(_is_founded, cluster), 60 * SECOND), cluster.told()
    cluster.recover()
    return cluster


SCENARIOS: dict[str, Scenario] = {
    "lost-and-repeated": lost_and_repeated,
    "leader-killed": leader_killed,
    "random-faults": random_faults,
    "leader-cut-off": leader_cut_off,
    "stopped-and-broken": stopped_and_broken,
    "lossy-load": lossy_load,
    "founded-in-a-storm": founded_in_a_storm,
}


def _cluster(
    seed: int, verbose: bool, purpose: str, *, least: int = 2, most: int = 5, weather: Weather = FAIR
) -> Cluster:
    """Formed in that weather, which lasts."""
    size = Random(f"{seed} size {purpose}").randint(max(least, 3 if purpose == "kill" else 1), most)
    cluster = Cluster(seed, size, verbose=verbose)
    cluster.network.weather = dict.fromkeys(PLANES, weather)
    cluster.form()
    return cluster


def _is_founded(cluster: Cluster) -> bool:
    """There is a view, and whoever still lives as a member of it takes part."""
    views = [host.shard.registry.view for host in cluster.running() if host.shard.registry.view is not None]
    lives = [host for host in cluster.running() if views and views[0].has(host.identity)]
    return bool(views) and len(lives) > len(views[0].members) / 2 and all(host.shard.in_view for host in lives)


def _all_runs(cluster: Cluster) -> list[str]:
    return sorted({name for host in cluster.members() for name in host.shard.registry.runs})


def _number(cluster: Cluster, run: str) -> int:
    record = cluster.record(run)
    assert record is not None, run
    return record.number


def _is_over(cluster: Cluster, *runs: str) -> bool:
    """Whether all members that are up know that the runs have ended."""
    registries = [host.shard.registry.runs for host in cluster.members()]
    return all(run in known and not known[run].active for known in registries for run in runs)


def _names_the_missing(host: Host, number: int, dead: str) -> None:
    machine = host.runner.plane.runs[number]
    assert machine.lacking() == (dead,), f"{host.name} lacks {machine.lacking()}, and {dead} is dead"
    assert machine.barrier.missing(machine.entry) == (dead,)
    late = [late for _, late in host.diary.late if late.run == number]
    assert late, f"{host.name} names nobody"
    assert late[-1].missing == (dead,), late[-1]
    known = {shard.shard: shard.entry for shard in host.shard.progress.of(number, 0)}
    assert min(known, key=lambda name: (known[name], name != dead)) == dead, f"{host.name} knows {known}"


def _step(cluster: Cluster, run: str, tick: int, random: Random) -> None:
    """Ask for the next tick, again if the answer does not come, until all have done it."""
    number = _number(cluster, run)

    def done() -> bool:
        return all(_ticks_done(host, number) >= tick for host in cluster.members())

    for _ in range(20):
        if any(_granted(host, number) < tick for host in cluster.members()):
            host = random.choice([host for host in cluster.members() if not host.paused])
            host.perform(host.shard.step_run(cluster.request(), number, cluster.world.now))
        if cluster.world.run_until(done, 1_500 * MS):
            return
    raise AssertionError(f"tick {tick} of {run} does not come")


def _ask_for_steps(cluster: Cluster, run: str, random: Random) -> None:
    number = _number(cluster, run)
    for _ in range(random.randint(0, 3)):
        host = random.choice(cluster.members())
        host.perform(host.shard.step_run(cluster.request(), number, cluster.world.now))
        cluster.world.run(random.randrange(100 * MS))


def _granted(host: Host, number: int) -> int:
    machine = host.runner.plane.runs.get(number)
    return machine.granted or 0 if machine is not None else 0


def _ticks_done(host: Host, number: int) -> int:
    machine = host.runner.plane.runs.get(number)
    if machine is None:  # the log has ended it already
        return 1 << 60
    return machine.tick if machine.state.value in ("paced", "over") else machine.tick - 1


def _breaks(cluster: Cluster, phase: str, tick: int) -> None:
    run = cluster.start_run("breaks", 1_000, {"phase": phase, "tick": tick})
    assert cluster.world.run_until(partial(_is_over, cluster, run), 30 * SECOND), "the failure does not end it"
    record = cluster.record(run)
    assert record is not None
    assert record.state == FAILED, record
    assert "as it was told to" in record.failure, record
    assert record.tick == max(tick - 1, 0), record
    if phase != "halted":  # there the others have committed the tick at which one alone fails to
        cluster.world.run(10 * MS)  # for the tick planes to hear of it
        ended = {name: host.diary.ended[record.number] for name, host in cluster.hosts.items()}
        assert set(ended.values()) == {record.tick}, ended
