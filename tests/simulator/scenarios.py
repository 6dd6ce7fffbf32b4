"""The scenarios, by name. Each creates a cluster from a seed, does something to it, and checks the result.

`invariants` checks what must hold at every step; `Cluster.recover` and `Cluster.check_runs` check what must hold once
the faults have ended: one cluster, every run over with the right bits, every copy where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any

from daemon.control.log_time import ASK_INTERVAL_NS
from daemon.state.commands import Drain
from daemon.state.records import FAILED, STOPPED
from tests.simulator.bursts import bursts
from tests.simulator.cluster import GRAPH, SLOW, TICKS_MAX, Cluster
from tests.simulator.foundings import founded_in_a_storm, founding_siege
from tests.simulator.host import Host
from tests.simulator.load_scenario import lossy_load
from tests.simulator.network import FAIR, LOSSY, PLANES, TICKS, Weather
from tests.simulator.sieges import leader_ping_pong, siege
from tests.simulator.upgrade import upgraded_in_the_middle
from tests.simulator.workload import recovered, start_runs
from tests.simulator.world import MS, SECOND, UNIX_EPOCH_NS

Scenario = Callable[[int, bool], Cluster]

LINKS = ("partition", "partition", "pause", "pause", "storm", "storm")
EVERYTHING = (*LINKS, "crash", "crash", "crash", "disk full", "wipe", "loss", "drain", "leave", "join", "power cut")


# Bad links, good machines.


def lost_and_repeated(seed: int, verbose: bool = False) -> Cluster:
    """A fifth of all messages on both planes are lost, others repeated: every tick still ends, none too early."""
    cluster = _cluster(seed, verbose, "loss", membership=SLOW, weather=LOSSY)
    random = cluster.world.random("scenario")
    runs = [
        cluster.start_run("pagerank", random.randint(5, 20), checkpoint_ticks=random.choice([-1, 0, 1, 3])),
        cluster.start_run("rumour", random.randint(2, 6)),
        cluster.start_run("wcc", TICKS_MAX),
    ]
    assert cluster.world.run_until(partial(cluster.is_over, *runs), 120 * SECOND), "a tick does not end"
    return recovered(cluster)


def random_faults(seed: int, verbose: bool = False) -> Cluster:
    """Links of all kinds may fail, and one machine, during runs of all kinds."""
    cluster = _cluster(seed, verbose, "random", least=1, most=6, weather=FAIR if seed % 2 else LOSSY)
    cluster.faults.schedule(10 * SECOND, 1, (*LINKS, "crash"))
    cluster.chatter(10 * SECOND)
    start_runs(cluster, 8 * SECOND)
    return recovered(cluster)


def leader_cut_off(seed: int, verbose: bool = False) -> Cluster:
    """The first leader is partitioned: a paced and a stepped run continue under the next one, and lose no tick."""
    cluster = _cluster(seed, verbose, "cut", least=3, membership=SLOW)
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
            cluster.world.run(6 * SECOND)  # time to refute suspicions: two cuts in a row may convict
    assert cluster.world.run_until(partial(cluster.is_over, paced, stepped), 60 * SECOND), "a tick does not come"
    return recovered(cluster)


def stopped_and_broken(seed: int, verbose: bool = False) -> Cluster:
    """A stop, and a failing program, end the run on all shards at the same tick (the invariants compare the ends)."""
    cluster = _cluster(seed, verbose, "end", least=1, membership=SLOW)
    random = cluster.world.random("scenario")
    cluster.network.weather[TICKS] = random.choice([cluster.network.weather[TICKS], LOSSY])
    kinds: list[tuple[int, bool]] = [(0, False), (random.choice([20, 100]) * MS, False), (0, True)]
    for interval_ns, is_stepped in kinds:
        run = cluster.start_run("rumour", 1_000_000, interval_ns=interval_ns, paced=is_stepped)
        if is_stepped:
            _ask_for_steps(cluster, run, random)
        cluster.world.run(random.randrange(600 * MS))
        cluster.stop_run(run)
        assert cluster.world.run_until(partial(cluster.is_over, run), 30 * SECOND), "it does not stop"
        assert cluster.record(run).state == STOPPED, cluster.record(run)
        if cluster.record(run).tick:
            cluster.check_result(cluster.record(run))
    for phase in ("start", "sense", "act", "advance", "halted"):
        _breaks(cluster, phase, 0 if phase == "start" else random.randint(1, 5))
    cluster.recover()
    return cluster


# Machines that die, and come back or not.


def leader_killed(seed: int, verbose: bool = False) -> Cluster:
    """The tick leader dies in a free-running run: the others know which member is missing, and continue without it."""
    cluster = _cluster(seed, verbose, "kill", least=3, membership=SLOW)
    random = cluster.world.random("scenario")
    run = cluster.start_run(random.choice(["pagerank", "rumour"]), 1_000_000, checkpoint_ticks=-1)
    cluster.world.run(random.randint(200 * MS, 1_500 * MS))
    leader = cluster.leader()
    assert leader is not None
    number = cluster.record(run).number
    cluster.faults.lose(leader.name)
    cluster.world.run(2 * SECOND)  # less time than membership needs: they only have barrier and gossip
    for host in cluster.members():
        _names_the_missing(host, number, leader.name)
    _goes_on(cluster, run)
    cluster.stop_run(run)
    return recovered(cluster)


def kill_and_go_on(seed: int, verbose: bool = False) -> Cluster:
    """Up to R - 1 machines die for good during runs with all cadences."""
    cluster = _cluster(seed, verbose, "kills", least=4)
    random = cluster.world.random("scenario")
    start_runs(cluster, 500 * MS)
    for _ in range(random.choice([1, 2])):
        victim = random.choice([host for host in cluster.members() if host.running])
        cluster.world.run_until(partial(cluster.may_lose, victim.name), 20 * SECOND)
        if victim.running and cluster.may_lose(victim.name):
            cluster.faults.lose(victim.name)
        start_runs(cluster, SECOND)
    return recovered(cluster)


def kill_and_return(seed: int, verbose: bool = False) -> Cluster:
    """A machine dies and returns after any time: before the others notice, or long after."""
    cluster = _cluster(seed, verbose, "return", least=1)
    random = cluster.world.random("scenario")
    start_runs(cluster, 500 * MS)
    for _ in range(random.choice([1, 2, 3])):
        up = [host.name for host in cluster.running()]
        if up:
            cluster.faults.crash(
                random.choice(up), random.randint(10 * MS, random.choice([300 * MS, 3 * SECOND, 9 * SECOND]))
            )
        cluster.world.run(random.randrange(3 * SECOND))
    return recovered(cluster)


def comes_and_goes(seed: int, verbose: bool = False) -> Cluster:
    """A machine dies and returns repeatedly: the others soon compute without it, and with it again at the end."""
    cluster = _cluster(seed, verbose, "flapping", least=3)
    random = cluster.world.random("scenario")
    run = cluster.start_run("pagerank", 1_000_000, interval_ns=300 * MS)
    victim = random.choice(cluster.names)
    others = [host for host in cluster.members() if host.name != victim]
    before, end = others[0].shard.registry.epoch, cluster.world.now + 60 * SECOND
    cuts = 0
    while cluster.world.now < end:
        away = random.randint(4 * SECOND, 6 * SECOND)
        cluster.faults.crash(victim, away, "comes and goes")
        cuts += 1
        cluster.world.run(away + random.randint(SECOND, 2 * SECOND))
    views = others[0].shard.registry.epoch - before
    assert views <= 12, f"{views} views in a minute, for {cuts} departures of one"
    _goes_on(cluster, run)
    assert cluster.world.run_until(cluster.is_settled, 60 * SECOND), f"{victim} is not let in: {cluster.told()}"
    cluster.stop_run(run)
    return recovered(cluster)


def lost_partition(seed: int, verbose: bool = False) -> Cluster:
    """All holders of some partitions are away: the graph is halted, and continues when one of them returns."""
    cluster = _cluster(seed, verbose, "partition", least=3)
    random = cluster.world.random("scenario")
    run = cluster.start_run("pagerank", 60, interval_ns=100 * MS, checkpoint_ticks=random.choice([0, 1, 4]))
    cluster.world.run(random.randrange(2 * SECOND))
    registry = cluster.members()[0].shard.registry
    holders = random.choice(registry.placements[GRAPH])
    for name in holders:
        cluster.faults.crash(name, random.randint(5 * SECOND, 15 * SECOND), "holder of a partition away")
        cluster.world.run(random.choice([0, 0, random.randrange(3 * SECOND)]))
    cluster.world.run(random.randrange(8 * SECOND))
    del run
    return recovered(cluster)


def power_cut(seed: int, verbose: bool = False) -> Cluster:
    """The whole cluster loses its power, perhaps again while it restarts."""
    cluster = _cluster(seed, verbose, "power", least=1)
    random = cluster.world.random("scenario")
    for _ in range(random.choice([1, 1, 2])):
        start_runs(cluster, SECOND)
        cluster.faults.power_cut(random.choice([100 * MS, 3 * SECOND, 8 * SECOND]))
        cluster.world.run_until(lambda: bool(cluster.members()), 60 * SECOND)
    return recovered(cluster)


def disk_trouble(seed: int, verbose: bool = False) -> Cluster:
    """Disks fill up, are slow, and are replaced."""
    cluster = _cluster(seed, verbose, "disk", least=3)
    random = cluster.world.random("scenario")
    for host in cluster.hosts.values():
        host.disk.sync_ns = (MS, random.choice([5, 50, 300]) * MS)
    cluster.faults.schedule(12 * SECOND, 1, ("disk full", "disk full", "wipe", "crash"))
    start_runs(cluster, 10 * SECOND)
    return recovered(cluster)


def disk_went_back(seed: int, verbose: bool = False) -> Cluster:
    """A disk goes back to an earlier state, and its server has forgotten what it said: the others know that, no longer
    count it, and it comes back as a new server.
    """
    cluster = _cluster(seed, verbose, "went back", least=3)
    random = cluster.world.random("scenario")
    for _ in range(random.choice([1, 2, 3])):
        start_runs(cluster, SECOND)
        cluster.chatter(2 * SECOND)
        leader = cluster.leader()
        names = [leader.name] if leader is not None and random.random() < 0.4 else cluster.names
        victim = random.choice(names)
        if random.random() < 0.6:  # so that it has an earlier life
            cluster.faults.crash(victim, random.randrange(3 * SECOND))
            start_runs(cluster, 2 * SECOND)
        cluster.world.run_until(partial(cluster.may_lose, victim), 20 * SECOND)
        if cluster.may_lose(victim) and cluster.faults.go_back(victim, random.choice([MS, 500 * MS, 6 * SECOND])):
            cluster.chatter(8 * SECOND)
            cluster.world.run_until(partial(_is_back, cluster.hosts[victim]), 60 * SECOND)
            cluster.world.run_until(cluster.is_settled, 60 * SECOND)
        leader = cluster.leader()
        if leader is not None and random.random() < 0.5:
            cluster.faults.crash(leader.name, random.randrange(5 * SECOND))
    return recovered(cluster)


def no_room(seed: int, verbose: bool = False) -> Cluster:
    """A machine is lost while others have no room for copies of its data: they are made once there is room."""
    cluster = _cluster(seed, verbose, "room", least=3)
    random = cluster.world.random("scenario")
    runs = [cluster.start_run("pagerank", 5), cluster.start_run("rumour", 3)]
    assert cluster.world.run_until(partial(cluster.is_over, *runs), 60 * SECOND), "a run does not end"
    victim = random.choice(cluster.names)
    assert cluster.world.run_until(partial(cluster.may_lose, victim), 60 * SECOND), "a copy is not made"
    others = [name for name in cluster.names if name != victim]
    for name in others if random.random() < 0.5 else random.sample(others, len(others) - 1):
        cluster.faults.crowd_disk(name)
    if random.random() < 0.5:
        cluster.faults.wipe(victim, random.randint(3, 9) * SECOND)
    else:
        cluster.faults.lose(victim)
    cluster.chatter(12 * SECOND)
    cluster.world.run(12 * SECOND)
    return recovered(cluster)


def wrong_clock(seed: int, verbose: bool = False) -> Cluster:
    """One wall clock at a time is wrong, more often the leader's: the log's time stays with the others'."""
    cluster = _cluster(seed, verbose, "clock", least=3)
    cluster.faults.schedule(10 * SECOND, 1, ("clock set", "clock set", "crash", "pause", "partition"))
    cluster.chatter(10 * SECOND)
    start_runs(cluster, 9 * SECOND)
    recovered(cluster)
    cluster.world.run(2 * ASK_INTERVAL_NS)
    before_ns = UNIX_EPOCH_NS + cluster.world.now
    cluster.until_decided(lambda: Drain("nobody", True), but="no shard")
    leader = cluster.leader()
    assert leader is not None
    assert leader.shard.state.time_ns >= before_ns - SECOND, "all clocks are right, and the log is behind"
    return cluster


# What operators do.


def graph_replaced(seed: int, verbose: bool = False) -> Cluster:
    """The graph is replaced under its name, with runs on it in progress or queued, while machines come and go."""
    cluster = _cluster(seed, verbose, "replaced", least=2)
    random = cluster.world.random("scenario")
    for _ in range(random.randint(1, 3)):
        start_runs(cluster, 500 * MS)
        for _ in range(random.randrange(4)):
            cluster.start_run("pagerank", random.choice([2, 9]), interval_ns=50 * MS, runs_max=random.choice([1, 2]))
        if random.random() < 0.7:
            up = [host.name for host in cluster.running()]
            cluster.faults.crash(random.choice(up), random.choice([200 * MS, 3 * SECOND, 9 * SECOND]))
            cluster.world.run(random.randrange(SECOND))
        if random.random() < 0.7:
            cluster.replace_graph()
    start_runs(cluster, 500 * MS)
    return recovered(cluster)


def rolling_restart(seed: int, verbose: bool = False) -> Cluster:
    """Each machine in turn is drained, by command or by its signal to end, restarted, and returns; a run goes on."""
    cluster = _cluster(seed, verbose, "rolling", least=2, most=4)
    run = cluster.start_run("pagerank", 1_000, interval_ns=50 * MS, checkpoint_ticks=cluster.world.seed % 4)
    for name in cluster.names:
        host = cluster.hosts[name]
        if seed % 2:
            assert cluster.drain(name), f"{name} is not let go: {cluster.told()}"
        host.leave()
        assert cluster.world.run_until(partial(_is_down, host), 20 * SECOND), f"{name} does not go: {cluster.told()}"
        cluster.faults.restart(name)
        assert cluster.world.run_until(cluster.is_settled, 60 * SECOND), f"{name} is not back: {cluster.told()}"
    _goes_on(cluster, run)
    cluster.stop_run(run)
    return recovered(cluster)


def join_and_grow(seed: int, verbose: bool = False) -> Cluster:
    """Machines join one after the other, or at once, during runs; they get their share."""
    random = Random(f"{seed} join")
    size, spare = random.randint(1, 3), random.randint(1, 3)
    cluster = Cluster(seed, size, spare=spare, replicas=random.choice([1, 2, 3]), verbose=verbose)
    cluster.form()
    for name in cluster.names[size:]:
        start_runs(cluster, 500 * MS)
        cluster.faults.join(name)
        cluster.world.run(random.choice([0, random.randrange(5 * SECOND)]))
    recovered(cluster)
    view = cluster.members()[0].shard.registry.view
    assert view is not None
    assert view.names == tuple(cluster.names), view
    return cluster


def leave(seed: int, verbose: bool = False) -> Cluster:
    """Machines leave for good, one after the other, down to the last two."""
    cluster = _cluster(seed, verbose, "leave", least=3)
    random = cluster.world.random("scenario")
    for name in random.sample(cluster.names, random.randint(1, len(cluster.names) - 2)):
        start_runs(cluster, 500 * MS)
        cluster.faults.leave(name)
        left = cluster.world.run_until(partial(lambda name: name in cluster.faults.gone, name), 60 * SECOND)
        assert left, f"{name} can't leave: {cluster.told()}"
        cluster.world.run(random.randrange(2 * SECOND))
    return recovered(cluster)


def everything(seed: int, verbose: bool = False) -> Cluster:
    """All kinds of faults, in any order."""
    random = Random(f"{seed} everything")
    cluster = Cluster(
        seed, random.randint(2, 5), spare=random.randint(0, 2), replicas=random.choice([2, 2, 3]), verbose=verbose
    )
    cluster.network.weather = dict.fromkeys(PLANES, random.choice([FAIR, FAIR, LOSSY]))
    cluster.form()
    for host in cluster.hosts.values():
        host.phase_ns = (MS, random.choice([5, 50, 300]) * MS)
        host.disk.sync_ns = (MS // 10, random.choice([1, 1, 20, 200]) * MS)
    cluster.faults.schedule(16 * SECOND, random.choice([1, 1, 2, 5]), EVERYTHING)
    cluster.chatter(16 * SECOND)
    start_runs(cluster, 14 * SECOND)
    return recovered(cluster)


SCENARIOS: dict[str, Scenario] = {
    "lost-and-repeated": lost_and_repeated,
    "leader-killed": leader_killed,
    "random-faults": random_faults,
    "leader-cut-off": leader_cut_off,
    "stopped-and-broken": stopped_and_broken,
    "lossy-load": lossy_load,
    "founded-in-a-storm": founded_in_a_storm,
    "founding-siege": founding_siege,
    "kill-and-go-on": kill_and_go_on,
    "kill-and-return": kill_and_return,
    "comes-and-goes": comes_and_goes,
    "lost-partition": lost_partition,
    "power-cut": power_cut,
    "disk-trouble": disk_trouble,
    "disk-went-back": disk_went_back,
    "wrong-clock": wrong_clock,
    "no-room": no_room,
    "graph-replaced": graph_replaced,
    "rolling-restart": rolling_restart,
    "join-and-grow": join_and_grow,
    "leave": leave,
    "everything": everything,
    "siege": siege,
    "leader-ping-pong": leader_ping_pong,
    "upgraded-in-the-middle": upgraded_in_the_middle,
    "bursts": bursts,
}


def _cluster(
    seed: int, verbose: bool, purpose: str, *, least: int = 2, most: int = 5, weather: Weather = FAIR, **more: Any
) -> Cluster:
    """Forms a cluster in that weather, which lasts."""
    random = Random(f"{seed} size {purpose}")
    cluster = Cluster(seed, random.randint(least, most), replicas=random.choice([2, 2, 3]), verbose=verbose, **more)
    cluster.network.weather = dict.fromkeys(PLANES, weather)
    cluster.form()
    return cluster


def _is_down(host: Host) -> bool:
    return not host.running


def _is_back(host: Host) -> bool:
    return host.running and not host.is_broken and host.shard.in_view


def _goes_on(cluster: Cluster, run: str) -> None:
    """Waits until the run has committed three more ticks than anyone has seen."""
    number = cluster.record(run).number
    before = max((_tick(host, number) for host in cluster.members()), default=0)
    done = cluster.world.run_until(
        lambda: any(_tick(host, number) > before + 3 for host in cluster.members()), 30 * SECOND
    )
    assert done, f"{run} does not go on: {cluster.told()}"


def _tick(host: Host, number: int) -> int:
    machine = host.runner.plane.runs.get(number)
    return machine.tick if machine is not None else 0


def _names_the_missing(host: Host, number: int, dead: str) -> None:
    machine = host.runner.plane.runs[number]
    lacking = machine.lacking() if machine.state.value != "holding" else host.runner.plane.replication.lacking(number)
    assert lacking == (dead,), f"{host.name} lacks {lacking}, and {dead} is dead"
    late = [late for _, late in host.diary.late if late.run == number]
    assert late, f"{host.name} names nobody"
    assert dead in late[-1].missing, late[-1]


def _step(cluster: Cluster, run: str, tick: int, random: Random) -> None:
    """Grants the next tick, again if the answer does not come, until all have completed it."""
    number = cluster.record(run).number

    def done() -> bool:
        return all(_ticks_done(host, number) >= tick for host in cluster.members())

    for _ in range(20):
        if any(_granted(host, number) < tick for host in cluster.members()):
            _ask_for_step(cluster, random.choice([host for host in cluster.members() if host.well]), number)
        if cluster.world.run_until(done, 1_500 * MS):
            return
    raise AssertionError(f"tick {tick} of {run} does not come")


def _ask_for_steps(cluster: Cluster, run: str, random: Random) -> None:
    for _ in range(random.randint(0, 3)):
        _ask_for_step(cluster, random.choice(cluster.members()), cluster.record(run).number)
        cluster.world.run(random.randrange(100 * MS))


def _ask_for_step(cluster: Cluster, host: Host, number: int) -> None:
    host.spawn(lambda daemon: daemon.context.orders.step_run(number))


def _granted(host: Host, number: int) -> int:
    machine = host.runner.plane.runs.get(number)
    return machine.granted or 0 if machine is not None else 0


def _ticks_done(host: Host, number: int) -> int:
    machine = host.runner.plane.runs.get(number)
    if machine is None:  # the log has already ended it
        return 1 << 60
    return machine.tick if machine.state.value in ("paced", "over") else machine.tick - 1


def _breaks(cluster: Cluster, phase: str, tick: int) -> None:
    run = cluster.start_run("breaks", 1_000, {"phase": phase, "tick": tick}, checkpoint_ticks=-1)
    assert cluster.world.run_until(partial(cluster.is_over, run), 30 * SECOND), "the failure does not end it"
    record = cluster.record(run)
    assert record.state == FAILED, record
    assert "as it was told to" in record.failure, record
    assert record.tick == max(tick - 1, 0), record
    if phase != "halted":  # there the others have committed the tick at which one alone fails
        cluster.world.run(10 * MS)  # until the tick planes learn of it
        ended = {name: host.diary.ended[record.number] for name, host in cluster.hosts.items()}
        assert set(ended.values()) == {record.tick}, ended
