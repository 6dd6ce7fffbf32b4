"""What is said at the end."""

from __future__ import annotations

import io
import json

from rich.console import Console

from chaos.campaign import Report
from chaos.floor import Floor
from chaos.options import Options
from chaos.plan import Fault
from chaos.table import as_json, show
from chaos.trial import Case, Outcome, Suffered

DIGEST = "0123456789abcdef" * 4


def _outcome(recovery: float | None, *failures: str) -> Outcome:
    suffered = [] if recovery is None else [Suffered(Fault("kill", 1.0, 2.0, (3,)), 0.0, 2.0, recovery)]
    return Outcome("pagerank", 9.5, 400, DIGEST, suffered, list(failures))


def _report(*outcomes: Outcome, runs: int = 3) -> Report:
    cases = [Case("pagerank", "rank", 400, 0.02, DIGEST)]
    return Report(Options(seed=7, runs=runs), ["on loopback"], cases, list(outcomes), Floor(1.0, 2.0, 3.0))


def _shown(report: Report) -> str:
    console = Console(file=io.StringIO(), width=200)
    show(report, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_median_and_maximum_beside_the_floor() -> None:
    report = _report(_outcome(None), _outcome(3.0), _outcome(4.0), _outcome(8.0))
    (row,) = as_json(report)["faults"]
    assert (row["kind"], row["count"], row["median"], row["most"], row["ratio"]) == ("kill", 3, 4.0, 8.0, 2.0)
    assert not report.failed
    said = _shown(report)
    assert "All 4 runs ended with the digest of an undisturbed one. Seed 7." in said
    assert DIGEST[:16] in said
    assert "kill 3 at 1.0s for 2.0s" in said
    assert "on loopback" in said


def test_a_failure_is_told_and_counted() -> None:
    report = _report(_outcome(None), _outcome(3.0, "shard-2 has [another] result"))
    assert report.failed
    said = _shown(report)
    assert "run 1 shard-2 has [another] result" in said
    assert "1 of 2 runs failed, and 2 did not take place. Seed 7." in said


def test_a_run_that_a_full_disk_has_ended_is_well() -> None:
    ended = _outcome(None)
    ended.digest, ended.no_room = "", True
    report = _report(_outcome(None), ended, runs=1)
    assert not report.failed
    said = _shown(report)
    assert "All 2 runs ended with the digest of an undisturbed one, but for 1 that a full disk has ended" in said
    assert "no room" in said
    assert as_json(report)["runs"][1]["no_room"]


def test_runs_that_did_not_take_place_are_a_failure() -> None:
    assert _report(_outcome(None)).failed


def test_it_is_json() -> None:
    report = _report(_outcome(None), _outcome(3.0))
    assert json.loads(json.dumps(as_json(report)))["runs"][1]["faults"][0]["hit"] == [3]
