"""Whatever a program does, it does to its run: how each way of failing is told."""

from __future__ import annotations

import threading
import time
from random import Random
from typing import Any

import numpy as np
import pytest

from daemon.runtime.tick_runner import TickRunner
from daemon.transfer.chunks import LoadLimits
from shoal import BadParameter, Column, Param, Phase, Program, Workspace
from shoal.engine.engine import Engine
from shoal.lockstep.effects import RunOver, RunPhase, StoreStates
from shoal.lockstep.machine import FAILURE_CHARACTERS_MAX, TickMachine
from shoal.lockstep.runner import State
from shoal.lockstep.timing import AT_THE_END, Cadence, TickTiming
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


class Anywhere(Program):
    """Fails in the method that is named, whichever that is."""

    name = "anywhere"
    columns = (Column("count", np.int64),)
    ticks_default = 3
    saves = True
    where = Param("", "in which method")

    def prepare(self, ws: Workspace) -> None:
        self.at("prepare")

    def start(self, ws: Workspace) -> None:
        self.at("start")

    def advance(self, ws: Workspace) -> None:
        self.at("advance")

    def halted(self, ws: Workspace) -> Any:
        self.at("halted")
        return np.array([1, 2]) if self.where == "an array" else False

    def collect(self, ws: Workspace) -> dict[str, Any]:
        self.at("collect")
        return {}

    def save(self, ws: Workspace, partition: int) -> bytes:
        self.at("save")
        return b""

    def load(self, ws: Workspace, partition: int, state: memoryview) -> None:
        self.at("load")

    def resume(self, ws: Workspace) -> None:
        self.at("resume")

    def at(self, method: str) -> None:
        if method == self.where:
            raise ValueError(f"as it was told in {method}")


class Misdeclared(Bad):
    """Its columns are none."""

    columns = (7,)  # type: ignore[assignment]


def over(
    runner: TickRunner, program: Program, *, ticks: int = 9, cadence: Cadence = AT_THE_END, state: State | None = None
) -> RunOver:
    """The run alone on one shard, whose disk takes no time."""
    part = SmallGraph.draw(Random(7)).part("one", ("one",), (("one",),) * PARTITIONS)
    tick = state[0] if state is not None else 0
    machine = TickMachine(1, "one", ("one",), (Phase.ADVANCE,), ticks, TickTiming(), tick=tick, cadence=cadence)
    news = runner.begin(machine, part, program, state=state)
    while stores := [item for item in news if isinstance(item, StoreStates)]:
        news = [item for item in news if item not in stores] + runner.stored(stores[0].token)
    (end,) = [item for item in news if isinstance(item, RunOver)]
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
    assert "runner.py" not in end.failure, "the traceback begins with the program's own lines"
    assert over(runner, Bad(how="exit")).outcome == "failed", "and the runner goes on"


def test_what_it_declares_may_be_nonsense() -> None:
    end = over(TickRunner("one", LoadLimits(), time.monotonic_ns), Misdeclared())
    assert (end.outcome, end.tick) == ("failed", 0)
    assert end.failure.startswith("one: start of the run failed\nTraceback")


@pytest.mark.parametrize("cadence", [Cadence(1), Cadence(-1)])
@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("prepare", "prepare of the run failed"),
        ("start", "start of the run failed"),
        ("advance", "advance of tick 1 failed"),
        ("halted", "halted after tick 0 failed"),
        ("collect", "collect after tick {held} failed"),
        ("save", "save after tick {held} failed"),
    ],
)
def test_the_method_that_failed_is_named(where: str, told: str, cadence: Cadence) -> None:
    """Keeping a state asks the program, too: at a checkpoint on the way, or at the last tick, which all have passed."""
    runner = TickRunner("one", LoadLimits(), time.monotonic_ns)
    end = over(runner, Anywhere(where=where), ticks=3, cadence=cadence)
    held = 1 if cadence.ticks == 1 else 3
    assert (end.outcome, end.tick) == ("failed", held - 1 if "held" in told else 0)
    assert end.failure.startswith(f"one: {told.format(held=held)}\nTraceback (most recent call last):\n")
    assert end.failure.endswith(f"ValueError: as it was told in {where}\n")
    assert f", in {where}\n" in end.failure
    assert over(runner, Anywhere(where="start")).outcome == "failed", "and the runner goes on"


def test_halted_has_to_say_yes_or_no() -> None:
    end = over(TickRunner("one", LoadLimits(), time.monotonic_ns), Anywhere(where="an array"))
    assert end.failure.startswith("one: halted after tick 0 failed\nTraceback")
    assert "truth value" in end.failure


@pytest.mark.parametrize("where", ["prepare", "load", "resume"])
def test_a_run_that_cannot_go_on_names_the_tick_that_it_would_go_on_from(where: str) -> None:
    runner = TickRunner("one", LoadLimits(), time.monotonic_ns)
    part = SmallGraph.draw(Random(7)).part("one", ("one",), (("one",),) * PARTITIONS)
    first = Engine(part, Anywhere())
    first.run(0, Phase.ADVANCE)
    end = over(runner, Anywhere(where=where), ticks=9, state=(4, first.capture()))
    assert end.failure.startswith(f"one: {where} of the run, to go on after tick 4, failed\nTraceback")


def test_one_that_does_not_return_is_got_out_of() -> None:
    runner = TickRunner("one", LoadLimits(), time.monotonic_ns)
    ends: list[RunOver] = []
    thread = threading.Thread(target=lambda: ends.append(over(runner, Bad(how="hang"))))
    thread.start()
    until = time.monotonic() + 20
    while thread.is_alive() and time.monotonic() < until:
        busy = runner.section.busy
        if busy is not None and time.monotonic_ns() - busy[1] > 50_000_000:
            assert busy[0] == RunPhase(1, 2, Phase.ADVANCE)
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
