"""Runs on real daemons: stopping, stepping, failing, and phases that take their time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from shoal import Graph, RunFailed, ShoalError, UnknownProgram
from shoal.api.errors import Failed, Refused
from shoal.client.admin_protocol import AdminConnection
from tests.cluster.trial import ask, metrics, summed, wait_for
from tests.trials import Count, Everything, HaltsWrong, Raise, Sleep, Unbuildable

PHASES = ("sense", "act", "decay", "advance")


@pytest.fixture
def graph(three: list[DevShard]) -> Iterator[Graph]:
    """A ring of a thousand nodes, so that every shard has some."""
    nodes = list(range(1000))
    with shoal.connect(str(three[0].socket)) as session:
        loaded = session.load("ring", data=shoal.from_arrays(nodes, [*nodes[1:], 0]))
        yield loaded
        for run in session.runs():
            if run.state in ("running", "stopping"):
                run.stop().wait(30)
        session.drop("ring")


def test_a_stop_ends_all_shards_at_the_same_tick(three: list[DevShard], graph: Graph) -> None:
    """A shard that passes a tick's barrier has seen everyone's stop, so all end at the same tick."""
    for stopper in three:
        run = graph.start(Count, ticks=10**9)
        wait_for(lambda run=run: run.show()["tick"] > 20, 10, "some ticks")  # type: ignore[misc]
        shown = ask(stopper, "run stop", run=run.name)
        assert shown["state"] == "stopped"
        assert run.wait(10).state == "stopped"
        result = run.result("tick")
        assert set(result.values.tolist()) == {shown["tick"]}
        assert {ask(shard, "run show", run=run.name)["tick"] for shard in three} == {shown["tick"]}
        with pytest.raises(ShoalError, match=f"is already over: it stopped after {shown['tick']} ticks"):
            run.stop()


def test_a_paced_run_goes_a_step_at_a_time(three: list[DevShard], graph: Graph) -> None:
    run = graph.start("trial-everything", ticks=4, paced=True)
    for tick in (1, 2, 3):
        shard = three[tick % 3]  # any shard may be asked: the leader grants
        result = ask(shard, "run step", run=run.name)
        assert (result["run"], result["tick"]) == (run.name, tick)
        assert sorted(result["phases"], key=PHASES.index) == list(PHASES)
        for seconds in result["phases"].values():
            assert seconds.keys() == {"shard-1", "shard-2", "shard-3"}
            assert all(0 <= figure < 10 for figure in seconds.values())
        assert result["cross_bytes"] > 0
        # Another shard may still be waiting for the last share that this one has seen.
        wait_for(lambda tick=tick: run.show()["tick"] == tick, 10, "the tick at the first shard")  # type: ignore[misc]
    assert run.state == "running"
    run.step()
    assert run.wait(10).state == "completed"
    with pytest.raises(ShoalError, match="already over: it completed after 4 ticks"):
        run.step()
    with shoal.local(3) as session:
        nodes = list(range(1000))
        local = session.load("ring", data=shoal.from_arrays(nodes, [*nodes[1:], 0])).run(Everything, ticks=4)
        assert local.result("a").digest == run.result("a").digest


def test_a_paced_run_can_be_stopped_and_a_free_one_not_stepped(graph: Graph) -> None:
    paced = graph.start(Count, paced=True)
    paced.step()
    assert paced.stop().state == "stopped"
    assert paced.tick == 2  # the tick that carries the stop
    assert set(paced.result("tick").values.tolist()) == {2}
    free = graph.start(Count)
    with pytest.raises(ShoalError, match="is not paced: it runs by itself"):
        free.step()
    free.stop()


def test_an_interval_paces_and_is_watched(graph: Graph) -> None:
    began = time.monotonic()
    run = graph.start(Count, ticks=20, interval=0.02)
    seen: list[int] = []
    run.wait(30, progress=lambda event: seen.append(event["tick"]))
    assert time.monotonic() - began >= 19 * 0.02
    assert run.state == "completed"
    assert seen == sorted(seen)
    assert len(seen) >= 2


def test_waiting_has_an_end(graph: Graph) -> None:
    run = graph.start(Count)
    with pytest.raises(TimeoutError, match=f"run '{run.name}' is still running, at tick"):
        run.wait(0.2)
    assert run.show()["state"] == "running"
    run.stop()


@pytest.mark.parametrize("phase", PHASES)
def test_a_failure_ends_the_run_with_its_traceback_and_nothing_else(
    three: list[DevShard], graph: Graph, phase: str
) -> None:
    with pytest.raises(RunFailed) as caught:
        graph.run(Raise, shard="shard-2", phase=phase, tick=2, timeout=30)
    told = str(caught.value)
    assert f"shard-2: {phase} of tick 2 failed" in told
    assert "Traceback (most recent call last)" in told
    assert "shoal_trials.py" in told
    assert "ZeroDivisionError: the trial's own failure in tick 2" in told
    name = told.split("'")[1]
    for shard in three:
        shown = ask(shard, "run show", run=name)
        assert (shown["state"], shown["tick"]) == ("failed", 1)
    with pytest.raises(Refused, match=f"run '{name}' has no result: it is failed"):
        ask(three[0], "run result", run=name, column="tick")


def test_a_failure_at_the_start_and_after_the_last_share(graph: Graph) -> None:
    with pytest.raises(RunFailed, match=r"shard-1: start of the run failed\n[^|]*the trial's own failure in tick 0"):
        graph.run(Raise, shard="shard-1", tick=0, timeout=30)
    with pytest.raises(RunFailed, match=r"(?s)halted after tick 2 failed.*no such thing as an end"):
        graph.run(HaltsWrong, ticks=5, timeout=30)


def test_programs_that_cannot_be_made_or_imported(three: list[DevShard], graph: Graph) -> None:
    with pytest.raises(Failed, match="this program cannot be made"):
        graph.run(Unbuildable)
    with pytest.raises(
        UnknownProgram, match=r"installed as shoal_trials_gone:Nothing, but can't be imported: ModuleNotFoundErr"
    ):
        graph.run("trial-gone")
    known = [program["name"] for program in ask(three[1], "program list")["programs"]]
    assert {"degree", "pagerank", "wcc", "trial-count"} <= set(known)
    assert "trial-gone" not in known


def test_a_long_phase_silences_nobody_and_is_named(three: list[DevShard], graph: Graph) -> None:
    """One shard's tick thread is stuck in a kernel for seconds; its control loop and all other daemons continue."""
    sleeper, others = three[1], [three[0], three[2]]
    before = {shard.name: summed(shard, "shoal_phase_late_total", peer="shard-2") for shard in others}
    others_late = summed(sleeper, "shoal_phase_late_total", peer="shard-1")
    run = graph.start(Sleep, shard="shard-2", phase="decay", tick=2, seconds=3.0)
    slowest, late = 0.0, dict.fromkeys(before, False)
    suspected = False
    named: list[dict[str, Any]] = []
    until = time.monotonic() + 20
    while run.show()["state"] == "running" and time.monotonic() < until:
        for shard in three:
            began = time.monotonic()
            with AdminConnection(shard.socket, timeout=5) as connection:
                connection.call("status")
                members = connection.call("members")[0]["members"]
            slowest = max(slowest, (time.monotonic() - began) / 2)
            suspected |= any(member["state"] != "alive" for member in members)
        for shard in others:
            late[shard.name] |= summed(shard, "shoal_phase_late_total", peer="shard-2") > before[shard.name]
            rows = ask(shard, "barrier", run=run.name)["runs"]
            named += [row for row in rows if row["missing"] == ["shard-2"] and row["waiting_seconds"] > 0.5]
    assert run.state == "completed"
    assert slowest < 1.0, "an answer took too long"
    assert all(late.values())
    assert not suspected
    assert named
    assert any(row["doing"]["shard-2"].startswith("computing decay of tick 2 for") for row in named)
    assert named[-1]["entries"]["shard-1"] > named[-1]["entries"]["shard-2"]
    assert any(
        "decay of tick 2 has waited" in line and "shard shard-2: computing decay of tick 2" in line
        for line in others[0].log.read_text().splitlines()
    )
    assert summed(sleeper, "shoal_phase_late_total", peer="shard-1") == others_late


def test_the_shards_where_a_run_stands(graph: Graph) -> None:
    run = graph.start(Count, ticks=10**9)
    shown = wait_for(
        lambda: (now := run.show()) and len(now["shards"]) == 3 and now["tick"] > 5 and now, 10, "word from all shards"
    )
    assert shown["phase"] == "advance"
    assert all(shard["tick"] >= 0 and shard["doing"] for shard in shown["shards"].values())
    assert shown["last_tick"]["phases"]["advance"].keys() == shown["shards"].keys()
    run.stop()


def test_several_runs_at_once_and_a_limit(three: list[DevShard], graph: Graph) -> None:
    runs = [graph.start(Count, ticks=10**9) for _ in range(8)]
    with pytest.raises(Refused, match=r"8 runs are already active \(ticks.runs_max\)"):
        graph.start(Count)
    with pytest.raises(Refused, match=f"'ring' is in use by {runs[0].name}"):
        ask(three[0], "graph drop", graph="ring")
    for run in runs:
        run.stop()
    assert {run.wait(20).state for run in runs} == {"stopped"}
    assert not [name for name in metrics(three[0], "shoal_run_tick") if "trial" in name]
