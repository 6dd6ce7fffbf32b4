"""A session in one process that is interrupted, or shared by threads: every answer is as if neither had happened."""

from __future__ import annotations

import contextlib
import multiprocessing
import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any

import numpy as np
import pytest

import shoal
from shoal import Graph, Program, Run, RunFailed, Session, ShoalError, UnknownRun
from shoal.api.errors import NameTaken
from tests.interrupt import Interrupt, InterruptAfter
from tests.trials import Count, Everything, Raise

SECONDS = 10.0


@pytest.fixture
def session() -> Iterator[Session]:
    with shoal.local(3) as opened:
        yield opened


@pytest.fixture
def graph(session: Session) -> Graph:
    return session.load("ring", data=shoal.from_arrays(np.arange(30), (np.arange(30) * 7 + 1) % 30))


def is_ours(frame: FrameType) -> bool:
    """Whether it runs code of this project."""
    name = str(frame.f_globals.get("__name__"))
    return name.startswith("shoal") or name == "tests.trials"


def outcome(run: Run) -> tuple[Any, ...]:
    shown = run.show()
    kept = {name: run.result(name).digest for name in ("a", "b", "c", "marks")}
    return run.state, run.tick, shown["totals"], shown["figures"], shown["last_tick"]["cross_bytes"], kept


def wait(run: Run) -> None:
    run.wait()


def stop(run: Run) -> None:
    """Where it is, after a tick that it had before this."""
    if run.show()["state"] == "running":
        run.stop()


@pytest.mark.parametrize("check", [False, True])
@pytest.mark.parametrize("ask", [wait, stop])
def test_an_interrupt_at_any_line_changes_nothing(ask: Callable[[Run], None], check: bool) -> None:
    with shoal.local(3, check=check) as session:
        graph = session.load("ring", data=shoal.from_arrays(np.arange(30), (np.arange(30) * 7 + 1) % 30))
        for _ in range(2):  # the first time some more is done, which is kept with the graph
            alone = graph.start(Everything, ticks=3)
            with Interrupt(10**9, is_ours) as interrupt:
                ask(alone)
        due, lines = outcome(alone), 10**9 - interrupt.left
        for at in [1, *random.Random(3).sample(range(1, lines), 25), lines]:
            run = graph.start(Everything, ticks=3)
            with pytest.raises(KeyboardInterrupt), Interrupt(at, is_ours):
                ask(run)
            assert run.show()["run"] == run.name
            ask(run)
            assert outcome(run) == due


def test_an_interrupt_at_any_line_of_a_start_or_a_load_leaves_nothing_behind(session: Session) -> None:
    data = shoal.from_arrays(np.arange(30), (np.arange(30) * 7 + 1) % 30)
    chance, at, is_over = random.Random(4), 0, False
    while not is_over:
        at += chance.randint(1, 400)
        name = f"g-{at}"
        with contextlib.suppress(KeyboardInterrupt), Interrupt(at, is_ours) as interrupt:
            session.load(name, data=data).start(Everything, ticks=3)
        is_over = interrupt.left > 0
        for graph in session.graphs():
            for run in session.runs():
                assert run.wait().state == "completed"
            assert graph.run(Count, ticks=2).result("tick").to_numpy().tolist() == [2] * 30
            session.drop(graph.name)
        assert session.runs() == []
    assert at > 300


def test_an_interrupt_in_what_runs_for_long_does_not_begin_anew(graph: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shoal.client.local_run.KEEP_SECONDS", 0.0)
    monkeypatch.setattr("shoal.client.local_run.KEEP_SHARE", 0.0)
    due = graph.run(Everything, ticks=40).result("a").digest
    run, again = graph.start(Everything, ticks=40), 0

    def stop(event: object) -> None:
        raise KeyboardInterrupt

    def counted(frame: FrameType, event: str, _: object) -> None:
        nonlocal again
        again += event == "call" and frame.f_code is Everything.advance.__code__

    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            run.wait(progress=stop)
    while run.show()["tick"] < 20:
        with contextlib.suppress(TimeoutError):
            run.wait(timeout=0.001)
    with contextlib.suppress(KeyboardInterrupt), Interrupt(40, is_ours):
        run.wait()
    before = run.show()["tick"]
    assert before >= 20
    sys.setprofile(counted)
    try:
        run.stop()
    finally:
        sys.setprofile(None)
    assert again == 3, "one tick on each shard"
    assert (run.state, run.tick) == ("stopped", before + 1)
    assert graph.run(Everything, ticks=before + 1).result("a").digest == run.result("a").digest
    assert graph.run(Everything, ticks=40).result("a").digest == due


class Unkept(Program):
    """What it saves can't be saved."""

    name, ticks_default, saves = "unkept", 5, True
    columns = (shoal.Column("n", np.int64),)

    def start(self, ws: Any) -> None:
        ws.set("n", 0)

    def advance(self, ws: Any) -> None:
        ws.set("n", ws.column("n") + 1)

    def save(self, ws: Any, partition: int) -> bytes:
        raise ValueError("not this")


def test_forty_interrupts_at_random_moments(session: Session) -> None:
    data = shoal.from_arrays(np.arange(20_000), (np.arange(20_000) * 7 + 1) % 20_000)
    graph = session.load("g", data=data)
    due = graph.run("pagerank", ticks=30).result("rank").digest
    chance = random.Random(11)
    for i in range(40):
        run = graph.start("pagerank", ticks=30)
        for again in range(chance.randint(1, 3)):
            with InterruptAfter(chance.uniform(0.0001, 0.04)):
                run.wait() if i % 2 else session.load(f"h-{i}-{again}", data=data)
                run.wait()
        assert (run.wait().tick, run.result("rank").digest) == (30, due)


def test_threads_get_their_own_runs(session: Session, graph: Graph) -> None:
    due = {ticks: graph.run(Everything, ticks=ticks).result("a").digest for ticks in range(1, 5)}

    def ask(thread: int) -> None:
        for i in range(10):
            ticks = (thread + i) % 4 + 1
            run = graph.run(Everything, ticks=ticks)
            assert (run.tick, run.show()["run"], run.result("a").digest) == (ticks, run.name, due[ticks])
            own = session.load(f"own-{thread}-{i}", data=shoal.from_arrays([1, 2], [2, 1]))
            assert own.run(Count, ticks=i + 1).tick == i + 1
            session.drop(own.name)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(8)))
    names = [run.name for run in session.runs()]
    assert len(set(names)) == len(names) == 4 + 80


def test_threads_that_wait_for_one_run_do_its_ticks_together(graph: Graph) -> None:
    due = graph.run(Everything, ticks=50).result("a").digest
    run = graph.start(Everything, ticks=50)
    with ThreadPoolExecutor(6) as pool:
        found = [pool.submit(lambda: (run.wait().tick, run.result("a").digest)) for _ in range(6)]
        seen = [run.show() for _ in range(100)]
        assert [each.result() for each in found] == [(50, due)] * 6
    assert all(shown["tick"] == (shown["last_tick"] or {}).get("tick", 0) for shown in seen)


def test_one_name_is_loaded_once(session: Session) -> None:
    at_once = threading.Barrier(4)

    def load(i: int) -> int:
        at_once.wait(SECONDS)
        try:
            session.load("g", data=shoal.from_arrays(np.arange(1000 + i), np.arange(1000 + i)))
        except NameTaken:
            return 0
        return 1000 + i

    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            (loaded,) = [nodes for nodes in pool.map(load, range(4)) if nodes]
            assert session.graph("g").node_count == loaded
            session.drop("g")


class Slow(Program):
    """Waits in its first tick until it may go on."""

    name, ticks_default = "slow", 2
    columns = (shoal.Column("n", np.int64),)
    began, goes_on = threading.Event(), threading.Event()

    def start(self, ws: Any) -> None:
        ws.set("n", 0)

    def advance(self, ws: Any) -> None:
        self.began.set()
        assert self.goes_on.wait(SECONDS)
        ws.set("n", ws.column("n") + 1)


@pytest.fixture
def slow(graph: Graph) -> Iterator[Run]:
    Slow.began.clear()
    Slow.goes_on.clear()
    yield graph.start(Slow)
    Slow.goes_on.set()


def test_a_tick_keeps_nobody_waiting_who_looks(session: Session, graph: Graph, slow: Run) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow.wait)
        assert Slow.began.wait(SECONDS)
        assert slow.show()["tick"] == 0
        assert slow.ticks_kept() == []
        assert graph.run(Count, ticks=3).tick == 3
        assert len(session.runs()) == 2
        assert not waiting.done()
        Slow.goes_on.set()
        assert waiting.result(SECONDS).state == "completed"


def test_a_run_whose_graph_is_dropped_meanwhile_ends(session: Session, graph: Graph, slow: Run) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow.wait)
        assert Slow.began.wait(SECONDS)
        session.drop(graph.name, force=True)
        Slow.goes_on.set()
        with pytest.raises((RunFailed, UnknownRun), match="dropped"):
            waiting.result(SECONDS)
    assert session.runs() == []


def test_a_session_that_is_closed_meanwhile_ends_the_wait(session: Session, slow: Run) -> None:
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow.wait)
        assert Slow.began.wait(SECONDS)
        session.close()
        Slow.goes_on.set()
        with pytest.raises(ShoalError, match=r"the session is closed: open another"):
            waiting.result(SECONDS)
    for use in (slow.show, session.graphs, lambda: session.load("g", data=shoal.from_arrays([1], [2]))):
        with pytest.raises(ShoalError, match="the session is closed"):
            use()


def test_a_handler_that_is_called_within_a_tick_can_look_and_cannot_stop(graph: Graph, slow: Run) -> None:
    said: list[Any] = []

    def handler(*_: object) -> None:
        said.append(slow.show()["tick"])
        with pytest.raises(ShoalError, match="is in the middle of a tick"):
            slow.stop()
        Slow.goes_on.set()

    before = signal.signal(signal.SIGUSR1, handler)
    knock = threading.Timer(0.05, signal.pthread_kill, (threading.get_ident(), signal.SIGUSR1))
    knock.start()
    try:
        assert slow.wait().state == "completed"
    finally:
        knock.join()
        signal.signal(signal.SIGUSR1, before)
    assert said == [0]


def test_who_is_told_of_the_progress_may_stop_it(graph: Graph) -> None:
    run = graph.start(Count, ticks=100)
    run.wait(progress=lambda shown: run.stop() and None)
    assert (run.state, run.tick) == ("stopped", 2)


def test_a_child_goes_on_with_what_its_parent_was_doing(graph: Graph, slow: Run) -> None:
    found = multiprocessing.get_context("fork").SimpleQueue()

    def ask() -> None:
        Slow.goes_on.set()
        found.put((slow.show()["tick"], slow.wait().tick, set(slow.result("n").to_numpy().tolist())))

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(slow.wait)
        assert Slow.began.wait(SECONDS)
        child = multiprocessing.get_context("fork").Process(target=ask)
        child.start()
        assert found.get() == (0, 2, {2})
        child.join(SECONDS)
        Slow.goes_on.set()
        assert waiting.result(SECONDS).tick == 2


def test_a_failure_is_one_however_often_it_is_looked_at(graph: Graph) -> None:
    run = graph.start(Raise, tick=3)
    with contextlib.suppress(KeyboardInterrupt), Interrupt(60, is_ours):
        run.wait()
    with ThreadPoolExecutor(4) as pool:
        for waiting in [pool.submit(run.wait) for _ in range(4)]:
            with pytest.raises(RunFailed, match="failed at tick 2"):
                waiting.result(SECONDS)


def test_what_cannot_be_kept_is_done_again_from_the_start_and_fails_at_its_end_as_on_a_cluster(
    graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shoal.client.local_run.KEEP_SECONDS", 0.0)
    for at in range(1, 400, 13):
        run = graph.start(Unkept)
        with contextlib.suppress(KeyboardInterrupt, RunFailed), Interrupt(at, is_ours):
            run.wait()
        with pytest.raises(RunFailed, match=r"failed at tick 4: save after tick 5 failed\nTraceback"):
            run.wait()
