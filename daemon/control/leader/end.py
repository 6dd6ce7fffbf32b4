"""Decides, from the members' reports, when a run is over for the whole cluster, and how.

A run that every member has reported is over as reported; the reports agree, because stops and failures travel on the
barrier. A run that failed at one member is over at once. A run whose view has lost a member is not over: it resumes in
the next view.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.control.leader.messages import RunReport
from daemon.state.commands import EndRun
from daemon.state.records import FAILED


def ending(run: str, members: Sequence[str], reports: Mapping[str, RunReport]) -> EndRun | None:
    """Returns the decision that ends a run, or None. `reports` are of one epoch, `members` those of its view."""
    failures = [report for report in reports.values() if report.outcome == FAILED]
    if not failures and not all(member in reports for member in members):
        return None
    outcome, failure, tick, figures = FAILED, "", min((report.tick for report in failures), default=0), ""
    if failures:
        failure = failures[0].failure
    else:
        told = next(iter(reports.values()))
        outcome, tick, figures = told.outcome, told.tick, told.figures
    crossed = sum(report.cross_bytes for report in reports.values())
    kept = 0 if failures else max(report.result_bytes for report in reports.values())
    return EndRun(run, outcome, tick, failure, crossed, figures, kept)
