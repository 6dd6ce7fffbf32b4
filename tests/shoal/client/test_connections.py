"""A session with a daemon keeps its answers apart, whatever interrupts it and however many threads it has."""

from __future__ import annotations

import asyncio
import contextlib
import multiprocessing
import os
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import shoal
from daemon.admin.endpoint import OperatorDoor
from daemon.admin.registry import Registry
from shoal import Session, ShoalError
from shoal.api.command import Exchange, Framed
from shoal.api.commands.graphs import GraphLoad
from shoal.api.commands.results import RunRows
from shoal.api.commands.runs import RunShow, RunStop, RunWait
from shoal.api.errors import HungUp, Refused, Unreachable
from shoal.client.admin_protocol import AdminConnection
from shoal.client.cluster import SocketBackend
from shoal.client.connections import KEPT_MAX, Connections
from tests.daemon.admin.hosted import Hosted, eventually
from tests.interrupt import Interrupt, InterruptAfter

SECONDS = 10.0


class Daemon:
    """Answers with what it was asked, and counts what it has begun and carried out."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.started, self.cancelled = threading.Event(), threading.Event()
        self.waiting = 0

    async def show(self, asked: RunShow) -> Any:
        await asyncio.sleep(0)
        return {"run": asked.run, "state": "running", "tick": 1}

    async def wait(self, asked: RunWait, exchange: Exchange) -> Any:
        self.waiting += 1
        self.started.set()
        try:
            for tick in range(3) if asked.run == "short" else iter(int, 1):
                await exchange.emit({"run": asked.run, "tick": tick})
                await asyncio.sleep(0.001)
        except BaseException:  # cancelled, or nobody there to be told
            self.cancelled.set()
            raise
        finally:
            self.waiting -= 1
        return {"run": asked.run, "state": "completed", "tick": 3}

    async def load(self, asked: GraphLoad, exchange: Exchange) -> Any:
        for done in range(3):
            await exchange.emit({"stage": "store", "done": done, "total": 3})
        self.loads.append(asked.name)
        return {"graph": asked.name}

    async def rows(self, asked: RunRows) -> Any:
        return Framed({"run": asked.run}, (np.full(50_000, len(asked.run)),))

    async def refuse(self, asked: RunStop) -> Any:
        raise Refused(f"not {asked.run}")

    def registry(self) -> Registry:
        commands = Registry()
        commands.bind(
            RunShow.answered_by(self.show),
            RunWait.followed_by(self.wait),
            RunRows.answered_by(self.rows),
            RunStop.answered_by(self.refuse),
            GraphLoad.followed_by(self.load),
        )
        return commands


@pytest.fixture
def daemon() -> Daemon:
    return Daemon()


@pytest.fixture
def host(daemon: Daemon, tmp_path: Path) -> Iterator[Hosted]:
    with Hosted(daemon.registry(), tmp_path / "s") as hosted:
        yield hosted


@pytest.fixture(params=["here", "afar"])
def address(request: pytest.FixtureRequest, host: Hosted) -> Iterator[str]:
    """Of the daemon's socket, and of its endpoint for operators."""
    if request.param == "here":
        yield str(host.path)
        return

    async def opened() -> OperatorDoor:
        return OperatorDoor(
            "tcp://127.0.0.1:*", host.server, curve=None, name_of=lambda key: "carol", count=lambda *what: None
        )

    async def closed() -> None:
        door.close()

    door = host.in_loop(opened())
    yield door.endpoint
    host.in_loop(closed())


@pytest.fixture
def connections(address: str) -> Iterator[Connections]:
    made = Connections(lambda: AdminConnection(address, SECONDS))
    yield made
    made.close()


@pytest.fixture
def session(connections: Connections) -> Session:
    return Session(SocketBackend(connections))


def clients(host: Hosted) -> int:
    async def count() -> int:
        return len(host.server._connections)

    return int(host.in_loop(count()))


def answers_right(backend: SocketBackend, salt: object) -> None:
    for i in range(3):
        run = f"run-{salt}-{i}"
        assert backend.call(RunShow(run))["run"] == run
    said, frames = backend._connections.call("run rows", {"run": "abc"})
    assert said == {"run": "abc"}
    assert set(np.frombuffer(frames[0], np.int64)) == {3}


FILES = (
    "shoal/client/admin_protocol.py", "shoal/client/connections.py", "shoal/client/cluster.py",
    "shoal/client/remote.py", "shoal/client/tunnel.py", "shoal/client/watched_sockets.py", "contextlib.py",
)  # fmt: skip


def is_clients(frame: FrameType) -> bool:
    """Whether it runs the client's own code."""
    return frame.f_code.co_filename.endswith(FILES)


ASKED: dict[str, Callable[[SocketBackend], Any]] = {
    "call": lambda backend: backend.call(RunShow("interrupted")),
    "frames": lambda backend: backend._connections.call("run rows", {"run": "interrupted"}),
    "wait": lambda backend: backend.wait("short", None, lambda event: None),
    "load": lambda backend: backend.load("g", shoal.from_arrays([1, 2], [2, 1]), None),
    "refused": lambda backend: refused(backend, "x"),
}


def refused(backend: SocketBackend, run: str) -> None:
    with pytest.raises(ShoalError, match=f"not {run}"):
        backend.call(RunStop(run))


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # sockets that were let go of
@pytest.mark.parametrize("asked", ASKED)
def test_an_interrupt_at_any_instruction_leaves_no_answer_to_the_next_question(
    connections: Connections, host: Hosted, address: str, asked: str
) -> None:
    stride = (1 if asked in ("call", "frames", "refused") else 4) * (8 if address.startswith("tcp") else 1)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_interrupt_everywhere, SocketBackend(connections), ASKED[asked], stride).result()
    assert len(connections._kept) <= KEPT_MAX
    eventually(lambda: clients(host) <= KEPT_MAX)


def _interrupt_everywhere(backend: SocketBackend, ask: Callable[[SocketBackend], Any], stride: int) -> None:
    chance = random.Random(5)
    at, is_over = 0, False
    while not is_over:
        at += chance.randint(1, 2 * stride - 1)
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at, is_clients, "opcode") as interrupt:
            ask(backend)
        is_over = interrupt.left > 0
        if chance.random() < 0.2 or is_over:
            answers_right(backend, at)
    assert at > 300, "instructions were interrupted"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # finalizers that were interrupted
def test_an_interrupt_at_any_instruction_of_a_hangup_keeps_no_connection_open(address: str, host: Hosted) -> None:
    """Neither that one nor those that are closed after it."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(_hang_up_interrupted, address).result()
    eventually(lambda: clients(host) == 0)


def _hang_up_interrupted(address: str) -> None:
    at, is_over = 0, False
    while not is_over:
        at += 1
        connection = AdminConnection(address, SECONDS)
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at, is_clients, "opcode") as interrupt:
            connection.close()
        is_over = interrupt.left > 0
        del connection
    assert at > 20, "instructions were interrupted"
    AdminConnection(address, SECONDS).close()


@pytest.mark.filterwarnings("ignore:unclosed.*socket:ResourceWarning")  # interrupted before anybody had it in hand
def test_forty_interrupts_at_random_moments(session: Session, daemon: Daemon, host: Hosted) -> None:
    data, chance = shoal.from_arrays(np.arange(200_000), np.arange(200_000)), random.Random(7)
    for salt in range(40):
        run = session.get_run(f"b-{salt}")
        with InterruptAfter(chance.uniform(0.0001, 0.02)) as interrupt:
            match salt % 3:
                case 0:
                    run.wait()
                case 1:
                    session._backend.load(f"g-{salt}", data, None)
                    signal.pause()
                case _:
                    while True:
                        run.show()
        assert interrupt.happened
        assert run.show()["run"] == run.name == f"b-{salt}"
        answers_right(session._backend, salt)  # type: ignore[arg-type]
    eventually(lambda: daemon.waiting == 0)
    eventually(lambda: clients(host) <= KEPT_MAX)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit, MemoryError, GeneratorExit])
def test_an_exception_while_the_progress_is_shown_cancels_the_wait(
    session: Session, daemon: Daemon, error: type[BaseException]
) -> None:
    def fail(event: object) -> None:
        raise error

    run = session.get_run("b")
    with pytest.raises(error):
        run.wait(progress=fail)
    assert daemon.cancelled.wait(SECONDS)
    assert run.show()["run"] == "b"


def test_a_timeout_leaves_a_session_that_answers(address: str, host: Hosted) -> None:
    with shoal.connect(address, timeout=0.2) as session:
        goes_on = threading.Event()
        host.loop.call_soon_threadsafe(goes_on.wait, SECONDS)
        with pytest.raises(Unreachable, match=r"did not answer within 0\.2 seconds"):
            session.get_run("a")
        goes_on.set()
        assert session.get_run("b").name == "b"


def test_who_is_called_during_a_wait_may_ask(session: Session) -> None:
    run, shown = session.get_run("short"), []
    run.wait(progress=lambda event: shown.append((event["tick"], session.get_run(f"n{event['tick']}").name)))
    assert shown == [(0, "n0"), (1, "n1"), (2, "n2")]


def test_threads_get_their_own_answers(session: Session, host: Hosted, connections: Connections) -> None:
    backend = SocketBackend(connections)

    def ask(thread: int) -> None:
        for i in range(30):
            answers_right(backend, f"{thread}-{i}")
            refused(backend, str(thread))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(ask, range(12)))
    eventually(lambda: clients(host) <= KEPT_MAX)


def test_a_thread_that_waits_keeps_nobody_else_waiting(session: Session, daemon: Daemon) -> None:
    run = session.get_run("long")
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(run.wait)
        assert daemon.started.wait(SECONDS)
        assert session.get_run("b").name == "b"
        assert not waiting.done()
        session.close()
        with pytest.raises(ShoalError, match="the session was closed during this call"):
            waiting.result(SECONDS)
    assert daemon.cancelled.wait(SECONDS)


def test_a_closed_session_says_so(session: Session, daemon: Daemon, host: Hosted) -> None:
    run = session.get_run("long")
    session.close()
    session.close()
    for use in (run.show, run.wait, session.graphs, lambda: session.load("g", data=shoal.from_arrays([1], [2]))):
        with pytest.raises(ShoalError, match=r"the session is closed: open another"):
            use()
    eventually(lambda: clients(host) == 0)


def test_a_session_survives_a_daemon_that_is_started_again(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "s"
    with Hosted(daemon.registry(), path):
        session = shoal.connect(str(path))
        assert session.get_run("a").name == "a"
    with pytest.raises(Unreachable, match="is the daemon running"):
        session.get_run("a")
    with Hosted(daemon.registry(), path) as host:
        assert session.get_run("b").name == "b"
        session._backend.load("g", shoal.from_arrays([1], [2]), None)  # it changes something, and nothing was sent yet
        assert daemon.loads == ["g"]
        assert clients(host) == 1
        session.close()


def test_only_what_reads_is_asked_again_of_a_daemon_that_closes_in_that_moment(
    connections: Connections, host: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut() -> None:
        """As a full house does to whoever has been idle for longest; and before that is noticed, it is used."""
        connections.call("run show", {"run": "a"})
        monkeypatch.setattr(AdminConnection, "is_usable", True)

        async def hang_up() -> None:
            for client in list(host.server._connections):
                assert client.task is not None
                client.task.cancel()

        host.in_loop(hang_up())

    cut()
    assert connections.call("run show", {"run": "b"}, may_repeat=True)[0]["run"] == "b"
    cut()
    with pytest.raises(HungUp, match="closed the connection"):
        connections.call("graph load", {"name": "g", "spec": {}})
    connections.call("graph load", {"name": "g", "spec": {}})


def test_a_child_has_connections_of_its_own(session: Session, host: Hosted, daemon: Daemon) -> None:
    assert session.get_run("parent").name == "parent"
    context = multiprocessing.get_context("fork")
    with context.Pool(3, _inherit, (session,)) as pool:
        asked = [f"child-{i}" for i in range(60)]
        found = pool.map_async(_name_of, asked)
        for i in range(60):
            assert session.get_run(f"parent-{i}").name == f"parent-{i}"
        assert found.get(30) == asked
    eventually(lambda: clients(host) == 1)
    assert session.get_run("parent").name == "parent"


inherited: list[Session] = []
"""In a child: the session that it was forked with."""


def _inherit(session: Session) -> None:
    inherited.append(session)


def _name_of(run: str) -> str:
    return inherited[0].get_run(run).name


def test_a_child_that_leaves_does_not_hang_up_for_its_parent(session: Session, daemon: Daemon) -> None:
    def fork(event: object) -> None:
        child = os.fork()
        if not child:
            try:
                assert session.get_run("child").name == "child"
                session.close()
            finally:
                os._exit(0 if sys.exc_info()[0] is None else 1)
        assert os.waitpid(child, 0)[1] == 0

    assert session.get_run("short").wait(progress=fork).state == "completed"
    assert session.get_run("b").name == "b"


@pytest.mark.parametrize("address", ["here"], indirect=True)  # afar it takes until the daemon finds it does not read
def test_a_childs_copy_does_not_keep_an_interrupted_wait_going(session: Session, daemon: Daemon) -> None:
    child = 0

    def fork(event: object) -> None:
        nonlocal child
        child = os.fork()
        if not child:
            signal.pause()
            os._exit(0)
        raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            session.get_run("long").wait(progress=fork)
        assert daemon.cancelled.wait(SECONDS)
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


def test_an_upload_that_was_interrupted_is_dropped(session: Session, daemon: Daemon, host: Hosted) -> None:
    data = shoal.from_arrays(np.arange(2_000_000), np.arange(2_000_000))
    session.get_run("a")  # it is connected
    goes_on = threading.Event()
    host.loop.call_soon_threadsafe(goes_on.wait, SECONDS)  # so that it is in the middle of it
    with InterruptAfter(0.05) as interrupt:
        session._backend.load("g", data, None)
    goes_on.set()
    assert interrupt.happened
    assert session.get_run("b").name == "b"
    eventually(lambda: clients(host) == 1)
    assert daemon.loads == []


def test_an_answer_about_another_run_is_none(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    run = session.get_run("b")
    call = Connections.call

    def swapped(self: Connections, command: str, args: Any, frames: Any = (), **how: bool) -> Any:
        return call(self, command, {"run": "c"}, frames, **how)

    monkeypatch.setattr(Connections, "call", swapped)
    for ask in (run.show, lambda: run.result("rank")):
        with pytest.raises(ShoalError, match="was asked about run 'b' and answered about 'c'"):
            ask()
    assert run.name == "b"
