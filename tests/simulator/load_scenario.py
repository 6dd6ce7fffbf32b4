"""Pieces of graphs on their way over links that lose, repeat and reorder: all bytes arrive, once, or a reason does."""

from __future__ import annotations

from functools import partial
from random import Random

from daemon.transfer.chunks import Shipment
from shoal.lockstep.effects import SendTick
from shoal.lockstep.messages import PieceBuilt, PieceDropped
from tests.simulator.cluster import LOAD_LIMITS, Cluster
from tests.simulator.host import Host
from tests.simulator.network import TICKS, Weather
from tests.simulator.world import MS, SECOND


def lossy_load(seed: int, verbose: bool = False) -> Cluster:
    """Two loads at once, each to every member; then one that is given up."""
    random = Random(f"{seed} load")
    cluster = Cluster(seed, random.randint(2, 4), verbose=verbose)
    cluster.form()
    cluster.network.weather[TICKS] = Weather(random.choice([0.1, 0.2, 0.4]), 0.2, MS // 10, 50 * MS)
    if random.random() < 0.5:
        side = random.sample(cluster.names, 1)
        cluster.faults.partition(side, random.randint(100 * MS, 2 * SECOND), planes=(TICKS,))
    pieces: dict[tuple[str, str], list[bytes]] = {}
    for load in ("first", "second"):
        _ship(cluster, cluster.hosts[random.choice(cluster.names)], load, pieces, random)
    _build_what_arrives(cluster, random)
    done = cluster.world.run_until(lambda: _answered(cluster) == len(pieces), 60 * SECOND)
    assert done, f"{_answered(cluster)} of {len(pieces)} pieces are answered"
    _compare(cluster, pieces)
    _give_up(cluster, random)
    cluster.recover()
    return cluster


def _ship(
    cluster: Cluster, sender: Host, load: str, pieces: dict[tuple[str, str], list[bytes]], random: Random
) -> None:
    shipments = []
    for to in cluster.names:
        if to != sender.name:
            sizes = [random.choice([0, 1, 8, 4096, 4097, 50_000]) for _ in range(random.randint(0, 4))]
            pieces[load, to] = [random.randbytes(size) for size in sizes]
            shipments.append(Shipment(load, to, b"spec of " + load.encode(), pieces[load, to], LOAD_LIMITS))
    sender.order(lambda runner: runner.perform(runner.plane.ship(shipments, cluster.world.now)))


def _build_what_arrives(cluster: Cluster, random: Random) -> None:
    """As a daemon does, off every loop: the answer comes in a while."""
    built: dict[str, int] = dict.fromkeys(cluster.names, 0)

    def look() -> None:
        for name, host in cluster.hosts.items():
            for piece in host.diary.arrived[built[name] :]:
                built[name] += 1
                answer = PieceBuilt(piece.load, "", len(piece.frames), 0, 0, 0, 0)
                cluster.world.after(random.randrange(300 * MS), partial(_answer, host, answer))
        cluster.world.after(10 * MS, look)

    look()


def _answer(host: Host, answer: PieceBuilt) -> None:
    host.order(lambda runner: runner.perform(runner.plane.intake.built(answer)))


def _answered(cluster: Cluster) -> int:
    shipments = [s for host in cluster.hosts.values() for s in host.runner.plane.shipments.values()]
    return sum(shipment.answer is not None for shipment in shipments)


def _compare(cluster: Cluster, pieces: dict[tuple[str, str], list[bytes]]) -> None:
    arrived = {(piece.load, name): piece for name, host in cluster.hosts.items() for piece in host.diary.arrived}
    assert sum(len(host.diary.arrived) for host in cluster.hosts.values()) == len(pieces), "a piece arrived twice"
    for key, frames in pieces.items():
        assert arrived[key].spec == b"spec of " + key[0].encode()
        assert [frame.tobytes() for frame in arrived[key].frames] == frames, f"{key} arrived with other bytes"
    for host in cluster.hosts.values():
        for shipment in host.runner.plane.shipments.values():
            assert shipment.answer is not None
            assert (shipment.answer.error, shipment.deadline) == ("", None)


def _give_up(cluster: Cluster, random: Random) -> None:
    """A load that its sender drops leaves nothing behind, once the receivers hear of it or have waited long enough."""
    sender = cluster.hosts[random.choice(cluster.names)]
    others = [name for name in cluster.names if name != sender.name]
    pieces: dict[tuple[str, str], list[bytes]] = {}
    _ship(cluster, sender, "third", pieces, random)
    cluster.world.run(random.randrange(300 * MS))

    def drop(runner: object) -> list[SendTick]:
        sender.runner.plane.land("third")
        return [SendTick(to, PieceDropped("third")) for to in others]

    sender.order(drop)
    for load in ("first", "second"):
        for host in cluster.running():
            host.runner.plane.land(load)
            host.runner.plane.intake.forget(load)
    cluster.world.run(LOAD_LIMITS.idle_timeout_ns + 5 * SECOND)
    for host in cluster.running():
        assert host.runner.plane.intake.deadline is None, f"{host.name} still keeps a piece"
        assert not host.runner.plane.shipments
