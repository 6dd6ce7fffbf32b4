"""Results of a campaign, for people and for machines."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from chaos.campaign import Report
from chaos.options import KINDS
from chaos.trial import Outcome, Suffered

DIGEST_SHOWN: Final = 16
BESIDE_FLOOR: Final = ("kill", "never")
"""Faults that the failure detector must detect. A leaving daemon announces it; after a power cut no daemon runs."""


def recoveries(report: Report) -> dict[str, list[Suffered]]:
    """Returns the faults by kind, in the order of the manual."""
    suffered = [one for outcome in report.outcomes for one in outcome.suffered]
    return {kind: found for kind in KINDS if (found := [one for one in suffered if one.fault.kind == kind])}


def as_json(report: Report) -> dict[str, Any]:
    """Returns everything."""
    floor = report.floor
    return {
        "seed": report.options.seed,
        "options": {key: getattr(report.options, key) for key in report.options.__slots__},
        "notes": report.notes,
        "reference": {case.program: case.digest for case in report.cases},
        "floor_seconds": {"least": floor.least, "median": floor.median, "most": floor.most} if floor else None,
        "faults": [
            {
                "kind": kind,
                "count": len(found),
                "recovery_seconds": [one.recovery for one in found],
                "median": _middle(found),
                "most": _most(found),
                "ratio": _ratio(report, kind, found),
            }
            for kind, found in recoveries(report).items()
        ],
        "runs": [_run(number, outcome) for number, outcome in enumerate(report.outcomes)],
        "failed": report.failed,
    }


def show(report: Report, console: Console) -> None:
    """Prints two tables and the failures."""
    console.print(_runs(report))
    console.print(_faults(report))
    if report.outcomes:
        first, pace = report.outcomes[0].seconds, report.options.seconds
        console.print(f"  undisturbed: {first:.1f} s, paced for {pace:.1f} s", highlight=False)
    for note in report.notes:
        console.print(f"  {note}", highlight=False)
    for number, outcome in enumerate(report.outcomes):
        for failure in outcome.failures:
            console.print(f"[bold red]run {number}[/] {escape(failure)}", highlight=False)
    failures = sum(bool(outcome.failures) for outcome in report.outcomes)
    missing = report.options.runs + 1 - len(report.outcomes)
    no_room = sum(outcome.no_room for outcome in report.outcomes)
    but = f", but for {no_room} that a full disk has ended, with a sentence" if no_room else ""
    if failures or missing:
        rest = f", and {missing} did not take place" if missing > 0 else ""
        console.print(
            f"[bold red]{failures} of {len(report.outcomes)} runs failed{rest}.[/] Seed {report.options.seed}."
        )
    else:
        console.print(
            f"[bold green]All {len(report.outcomes)} runs ended with the digest of an undisturbed one{but}.[/] "
            f"Seed {report.options.seed}."
        )


def _runs(report: Report) -> Table:
    table = Table(title="Runs", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in (">run", "program", ">tick", ">s", "digest", ""):
        table.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    table.add_column("faults")
    for number, outcome in enumerate(report.outcomes):
        well = "[green]no room[/]" if outcome.no_room else "[green]same[/]"
        verdict = "[bold red]failed[/]" if outcome.failures else well
        words = ", ".join(f"{one.fault}{' (left)' if one.left else ''}" for one in outcome.suffered) or "none"
        cells = (str(number), outcome.program, str(outcome.tick), f"{outcome.seconds:.1f}")
        table.add_row(*cells, outcome.digest[:DIGEST_SHOWN], verdict, words)
    return table


def _faults(report: Report) -> Table:
    floor = report.floor
    caption = (
        "Seconds until the next tick was committed: in a later view where a process has ended; after power from the "
        "start of the daemons; else the longest standstill. Measured on PageRank."
    )
    if floor:
        caption += f" Floor: detection by the configured numbers, {floor.least:.1f} to {floor.most:.1f} s."
    table = Table(
        title="Faults", box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, caption=caption, caption_justify="left"
    )
    for name in (">", "", "measured", "median s", "max s", "floor s", "ratio"):
        table.add_column(name.lstrip(">") or "fault", justify="left" if name in (">", "") else "right")
    table.columns[1].header = "count"
    table.columns[1].justify = "right"
    for kind, found in recoveries(report).items():
        ratio = _ratio(report, kind, found)
        measured = sum(one.recovery is not None for one in found)
        cells = [f"{kind}: {KINDS[kind]}", str(len(found)), str(measured), _short(_middle(found)), _short(_most(found))]
        table.add_row(*cells, _short(floor.median if floor and kind in BESIDE_FLOOR else None), _short(ratio))
    return table


def _run(number: int, outcome: Outcome) -> dict[str, Any]:
    return {
        "run": number,
        "program": outcome.program,
        "seconds": outcome.seconds,
        "tick": outcome.tick,
        "digest": outcome.digest,
        "failures": outcome.failures,
        "no_room": outcome.no_room,
        "faults": [
            {
                "kind": one.fault.kind,
                "hit": one.fault.hit,
                "at": one.fault.at,
                "seconds": one.fault.seconds,
                "delay_seconds": one.fault.delay,
                "loss": one.fault.loss,
                "recovery_seconds": one.recovery,
                "left": one.left,
            }
            for one in outcome.suffered
        ],
    }


def _times(found: list[Suffered]) -> list[float]:
    return [one.recovery for one in found if one.recovery is not None]


def _middle(found: list[Suffered]) -> float | None:
    times = _times(found)
    return median(times) if times else None


def _most(found: list[Suffered]) -> float | None:
    return max(_times(found), default=None)


def _ratio(report: Report, kind: str, found: list[Suffered]) -> float | None:
    middle = _middle(found)
    if middle is None or report.floor is None or kind not in BESIDE_FLOOR:
        return None
    return middle / report.floor.median


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
