"""Whatever a program does, it does to its run: how each way of failing is told."""

from __future__ import annotations

import threading
import time
from random import Random

import numpy as np
import pytest

from daemon.host.tick_runner import TickRunner
from daemon.protocol.load import LoadLimits
from daemon.protocol.tick import FAILURE_CHARACTERS_MAX, TickMachine, TickTiming
from daemon.protocol.tick_effects import RunOver
from shoal import BadParameter, Column, Param, Phase, Program, Workspace
from tests.simulator.programs import PARTITIONS, SmallGraph


class Bad(Program):
    """Fails in its second tick."""

    name = "bad"
    columns = (Column("count", np.int64),)
    how = Param("", "in which way")

    def start(self, ws: Workspace) -> None:
        ws.set("count", 0)

    def advance(self, ws: Workspace) -> None:
        ws.set("count", ws.tick)
        if ws.tick == 2:
            self.fail()

    def fail(self) -> None:
        match self.how:
            case "exit":
                raise SystemExit("I have had enough")
            case "own":
                raise type("Mine", (BaseException,), {})("mine")
            case "node":
                try:
                    raise KeyError("libc6")
                except KeyError as error:
                    error.shoal_node = "libc6"  # type: ignore[attr-defined]
                    raise RuntimeError("what comes of it") from error
            case "parameter":
                raise BadParameter("parameter 'source': no node is called '99'")
            case "long":
                raise ValueError("x" * 3 * FAILURE_CHARACTERS_MAX + " the end")
            case "hang":
                while True:
                    pass


class Misdeclared(Bad):
    """Its columns are none."""

    columns = (7,)  # type: ignore[assignment]


def over(runner: TickRunner, program: Program) -> RunOver:
    """The run alone on one shard."""
    part = SmallGraph.draw(Random(7)).part("one", ("one",), (("one",),) * PARTITIONS)
    machine = TickMachine(1, "one", ("one",), (Phase.ADVANCE,), 9, TickTiming())
    (end,) = [news for news in runner.begin(machine, part, program) if isinstance(news, RunOver)]
    runner.forget(1)
    return end


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("exit", "one: advance of tick 2 failed\nTraceback"),
        ("exit", "SystemExit: I have had enough"),
        ("own", "Mine: mine"),
        ("node", "one: advance of tick 2 failed at node 'libc6'\nTraceback"),
        ("node", "RuntimeError: what comes of it"),
        ("parameter", "one: advance of tick 2 failed: parameter 'source': no node is called '99'"),
        ("long", "one: advance of tick 2 failed\n"),
        ("long", "xxx the end"),
    ],
)
def test_what_it_raises_is_told_with_its_place(how: str, told: str) -> None:
    runner = TickRunner("one", LoadLimits(), time.monotonic_ns)
    end = over(runner, Bad(how=how))
    assert (end.outcome, end.tick) == ("failed", 1)
    assert told in end.failure
    assert len(end.failure) <= FAILURE_CHARACTERS_MAX
    assert "tick_runner.py" not in end.failure, "the traceback begins with the program's own lines"
    assert over(runner, Bad(how="exit")).outcome == "failed", "and the runner goes on"


def test_what_it_declares_may_be_nonsense() -> None:
    end = over(TickRunner("one", LoadLimits(), time.monotonic_ns), Misdeclared())
    assert (end.outcome, end.tick) == ("failed", 0)
    assert end.failure.startswith("one: advance of tick 0 failed\nTraceback")


def test_one_that_does_not_return_is_got_out_of() -> None:
    runner = TickRunner("one", LoadLimits(), time.monotonic_ns)
    ends: list[RunOver] = []
    thread = threading.Thread(target=lambda: ends.append(over(runner, Bad(how="hang"))))
    thread.start()
    until = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < until:
        busy = runner.section.busy
        if busy is not None and time.monotonic_ns() - busy[1] > 50_000_000:
            assert (busy[0].run, busy[0].tick, busy[0].phase) == (1, 2, Phase.ADVANCE)
            runner.section.interrupt(busy)
        thread.join(0.01)
    (end,) = ends
    assert (end.outcome, end.tick) == ("failed", 1)
    assert end.failure.startswith("one: stopped: the program did not return from advance of tick 2 for 0.")


def test_ctrl_c_in_a_simulation_is_not_the_programs_doing(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Bad) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Bad, "fail", interrupted)
    with pytest.raises(KeyboardInterrupt):
        over(TickRunner("one", LoadLimits(), time.monotonic_ns), Bad())
