"""The floor of a tick: the cost of exchanging 1 kB between n processes over bare ZeroMQ.

An empty tick of four phases is four all-to-all exchanges. `bare` does them over blocking sockets alone; `transported`
does the same through the tick plane's transport and codec, including checks, bounds, counters and wake-ups. On a shared
machine the noise exceeds their difference, so they are measured in turns, in one run, and compared as a ratio: the
processes keep running, and idle while others are measured.

    python -m bench.floor [processes] [ticks]
"""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import statistics
import sys
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from types import TracebackType

import zmq

from bench.figures import Sample
from daemon.config.keys import KeyPair
from daemon.transport import Curve, TickTransport
from daemon.wire import Codec
from shoal.api.struct import Count, Struct
from shoal.lockstep.frames import Frames

PAYLOAD_BYTES = 1024
WARM_UP_TICKS = 30
PATIENCE_MS = 20_000
WILDCARD = "tcp://127.0.0.1:*"

Keys = list[tuple[bytes, bytes]]
Exchange = Callable[[int], None]
"""Sends phase number k to all peers, and waits for theirs."""
Work = Callable[[int, Connection, Keys | None], None]


class PhaseMessage(Struct):
    """Shaped like a tick's message: a few numbers, the aggregates, a payload."""

    run: Count
    completed: Count
    columns: Count
    aggregates: bytes
    stop: bool
    failure: str
    compute_ns: Count
    sent_bytes: Count
    payload: Frames


class Exchangers:
    """Processes that exchange data on request; a context manager."""

    def __init__(self, work: Work, processes: int, curve: bool) -> None:
        keys = [zmq.curve_keypair() for _ in range(processes)] if curve else None
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._workers = []
        try:
            for number in range(processes):
                here, there = context.Pipe()
                worker = context.Process(target=work, args=(number, there, keys), daemon=True)
                worker.start()
                there.close()
                self._pipes.append(here)
                self._workers.append(worker)
            endpoints = [pipe.recv() for pipe in self._pipes]
            for pipe in self._pipes:
                pipe.send(endpoints)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Exchangers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def measure(self, phases: int, ticks: int) -> Sample:
        """Returns milliseconds per tick: the first process's median, and the processor time of all."""
        for pipe in self._pipes:
            pipe.send((phases, ticks))
        answers = []
        for pipe in self._pipes:
            if not pipe.poll(6 * PATIENCE_MS / 1000):
                raise TimeoutError("a process that exchanges has not answered")
            answers.append(pipe.recv())
        return Sample(answers[0][0], sum(cpu for _, cpu in answers))

    def close(self) -> None:
        """Ends the processes."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError):
                pipe.send(None)
        for worker in self._workers:
            worker.join(2)
            if worker.is_alive():
                worker.kill()
                worker.join()
        for pipe in self._pipes:
            pipe.close()


def _obey(pipe: Connection, exchange: Exchange) -> None:
    """Runs the requested number of exchanges, repeatedly, until the parent requests the end or closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this process
    completed = 0
    with contextlib.suppress(EOFError):
        while (told := pipe.recv()) is not None:
            phases, ticks = told
            times = []
            cpu = 0
            for tick in range(WARM_UP_TICKS + ticks):
                if tick == WARM_UP_TICKS:
                    cpu = time.process_time_ns()
                started = time.perf_counter_ns()
                for _ in range(phases):
                    completed += 1
                    exchange(completed)
                times.append(time.perf_counter_ns() - started)
            spent = (time.process_time_ns() - cpu) / 1e6 / ticks
            pipe.send((statistics.median(times[WARM_UP_TICKS:]) / 1e6, spent))


def bare(number: int, pipe: Connection, keys: Keys | None) -> None:
    """Exchanges over blocking sockets alone."""
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
        arrived.pop(completed, None)

    _obey(pipe, exchange)
    context.destroy(linger=0)


def transported(number: int, pipe: Connection, keys: Keys | None) -> None:
    """Exchanges over the tick plane's transport and codec."""
    curve = None
    if keys is not None:
        everyone = {public: str(place) for place, (public, _) in enumerate(keys)}
        curve = Curve(KeyPair(str(number), *keys[number]), everyone.get)
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
        message = PhaseMessage(1, completed, 0, b"", False, "", 1000, PAYLOAD_BYTES, (payload,))
        frames = codec.encode(1, str(number), 1, message)
        for peer in peers:
            assert transport.send(peer, frames)
        while arrived.get(completed, 0) < len(peers):
            for received in transport.poll(PATIENCE_MS * 1_000_000):
                theirs = codec.decode(received).message.completed
                arrived[theirs] = arrived.get(theirs, 0) + 1
        arrived.pop(completed, None)

    _obey(pipe, exchange)
    transport.close()


def main() -> None:
    """Prints how the transport and codec compare with the floor."""
    processes = int(sys.argv[1]) if len(sys.argv) > 1 else 4
    ticks = int(sys.argv[2]) if len(sys.argv) > 2 else 300
    print(f"{processes} processes, {PAYLOAD_BYTES} bytes to each peer, median ms a tick")
    print("| exchanges a tick | wire | floor | ours | ratio |\n| --- | --- | --- | --- | --- |")
    for curve in (False, True):
        with Exchangers(bare, processes, curve) as floor, Exchangers(transported, processes, curve) as ours:
            for phases in (1, 4):
                pairs = [(floor.measure(phases, ticks).value, ours.measure(phases, ticks).value) for _ in range(5)]
                below, above = (statistics.median(side) for side in zip(*pairs, strict=True))
                ratio = statistics.median(b / a for a, b in pairs)
                wire = "CURVE" if curve else "plain"
                print(f"| {phases} | {wire} | {below:.2f} | {above:.2f} | {ratio:.2f} |")


if __name__ == "__main__":
    main()
