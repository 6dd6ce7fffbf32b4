"""The floor of a tick: what n processes pay to exchange 1 kB with one another, over nothing but ZeroMQ.

An empty tick of four phases is four all-to-all exchanges. `floor` is the median time of that over bare blocking
sockets; `ours` is the same through the tick plane's own transport and codec: checks, bounds, counters and wake-ups
included. On a shared machine the noise is larger than what lies between them, so they are measured in turns, in one
run, and compared as a ratio. Even that came out anywhere from 1.2 to 3.6 with other work beside it: one run proves
nothing.

    python -m bench.floor [processes] [ticks]
"""

from __future__ import annotations

import multiprocessing
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection

import zmq

from daemon.keys import KeyPair
from daemon.protocol.frames import Frames
from daemon.transport import Curve, TickTransport
from daemon.wire import Codec

PAYLOAD_BYTES = 1024
WARM_UP_TICKS = 30
PATIENCE_MS = 20_000
WILDCARD = "tcp://127.0.0.1:*"

Keys = list[tuple[bytes, bytes]]
Exchange = Callable[[int], None]
"""Send phase number k to all peers, and wait for theirs."""


@dataclass(frozen=True, slots=True)
class PhaseMessage:
    """Shaped like what a tick sends: a few numbers, the aggregates, a payload."""

    run: int
    tick: int
    phase: int
    completed: int
    compute_ns: int
    flags: int
    aggregates: bytes
    payload: Frames


def floor(processes: int = 4, phases: int = 4, curve: bool = False, ticks: int = 300) -> float:
    """Milliseconds a tick (median) over bare sockets."""
    return _measure(_bare, processes, phases, curve, ticks)


def ours(processes: int = 4, phases: int = 4, curve: bool = False, ticks: int = 300) -> float:
    """Milliseconds a tick (median) through `TickTransport` and `Codec`."""
    return _measure(_transported, processes, phases, curve, ticks)


def compare(
    processes: int = 4, phases: int = 4, curve: bool = False, ticks: int = 300, turns: int = 5
) -> tuple[float, float]:
    """Both, in turns: the medians of `turns` runs."""
    pairs = [(floor(processes, phases, curve, ticks), ours(processes, phases, curve, ticks)) for _ in range(turns)]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _measure(
    work: Callable[[int, Connection, Keys | None, int, int], None], processes: int, phases: int, curve: bool, ticks: int
) -> float:
    """Start the processes, tell each where the others listen, and take the median of the first one's ticks."""
    keys = [zmq.curve_keypair() for _ in range(processes)] if curve else None
    context = multiprocessing.get_context("spawn")
    pipes, workers = [], []
    try:
        for number in range(processes):
            here, there = context.Pipe()
            worker = context.Process(target=work, args=(number, there, keys, phases, ticks), daemon=True)
            worker.start()
            there.close()
            pipes.append(here)
            workers.append(worker)
        endpoints = [pipe.recv() for pipe in pipes]
        for pipe in pipes:
            pipe.send(endpoints)
        medians = [float(pipe.recv()) for pipe in pipes]
        for pipe in pipes:
            pipe.send(None)  # all have finished: now sockets may be closed
        for worker in workers:
            worker.join(PATIENCE_MS / 1000)
    finally:
        for pipe in pipes:
            pipe.close()
        for worker in workers:
            if worker.is_alive():
                worker.kill()
                worker.join()
    return medians[0]


def _run(pipe: Connection, exchange: Exchange, phases: int, ticks: int) -> None:
    completed = 0
    times = []
    for tick in range(WARM_UP_TICKS + ticks):
        started = time.perf_counter_ns()
        for _ in range(phases):
            completed += 1
            exchange(completed)
        if tick >= WARM_UP_TICKS:
            times.append(time.perf_counter_ns() - started)
    pipe.send(statistics.median(times) / 1e6)
    pipe.recv()


def _bare(number: int, pipe: Connection, keys: Keys | None, phases: int, ticks: int) -> None:
    context = zmq.Context()
    pull = context.socket(zmq.PULL)
    pull.rcvtimeo = PATIENCE_MS
    if keys is not None:
        pull.curve_publickey, pull.curve_secretkey = keys[number]
        pull.curve_server = True
    port = pull.bind_to_random_port("tcp://127.0.0.1")
    pipe.send(f"tcp://127.0.0.1:{port}")
    pushes = []
    for peer, endpoint in enumerate(pipe.recv()):
        if peer != number:
            push = context.socket(zmq.PUSH)
            if keys is not None:
                push.curve_publickey, push.curve_secretkey = keys[number]
                push.curve_serverkey = keys[peer][0]
            push.connect(endpoint)
            pushes.append(push)
    payload = b"x" * (PAYLOAD_BYTES - 8)
    arrived: dict[int, int] = {}

    def exchange(completed: int) -> None:
        message = completed.to_bytes(8, "little") + payload
        for push in pushes:
            push.send(message, zmq.NOBLOCK)
        while arrived.get(completed, 0) < len(pushes):
            theirs = int.from_bytes(pull.recv()[:8], "little")
            arrived[theirs] = arrived.get(theirs, 0) + 1
        del arrived[completed]

    _run(pipe, exchange, phases, ticks)
    context.destroy(linger=0)


def _transported(number: int, pipe: Connection, keys: Keys | None, phases: int, ticks: int) -> None:
    curve = None
    if keys is not None:
        curve = Curve(KeyPair(str(number), *keys[number]), {public: str(i) for i, (public, _) in enumerate(keys)}.get)
    transport = TickTransport(WILDCARD, curve=curve, count=lambda name, labels, amount: None)
    codec = Codec("bench", {1: PhaseMessage})
    pipe.send(transport.endpoint)
    endpoints = pipe.recv()
    peers = [str(peer) for peer in range(len(endpoints)) if peer != number]
    for peer in peers:
        assert transport.connect(peer, endpoints[int(peer)], None if keys is None else keys[int(peer)][0])
    payload = b"x" * PAYLOAD_BYTES
    arrived: dict[int, int] = {}

    def exchange(completed: int) -> None:
        message = PhaseMessage(1, completed // phases, completed % phases, completed, 1000, 0, b"", (payload,))
        frames = codec.encode(1, str(number), 1, message)
        for peer in peers:
            assert transport.send(peer, frames)
        while arrived.get(completed, 0) < len(peers):
            for received in transport.poll(PATIENCE_MS * 1_000_000):
                theirs = codec.decode(received).message.completed
                arrived[theirs] = arrived.get(theirs, 0) + 1
        del arrived[completed]

    _run(pipe, exchange, phases, ticks)
    transport.close()


def main() -> None:
    """Print the table."""
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    ticks = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    print(f"{processes} processes, {PAYLOAD_BYTES} bytes to each peer, median ms a tick")
    print("| exchanges a tick | wire | floor | ours | ratio |\n| --- | --- | --- | --- | --- |")
    for phases in (1, 4):
        for curve in (False, True):
            bare, full = compare(processes, phases, curve, ticks)
            print(f"| {phases} | {'CURVE' if curve else 'plain'} | {bare:.2f} | {full:.2f} | {full / bare:.2f} |")


if __name__ == "__main__":
    main()
