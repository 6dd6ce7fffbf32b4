"""When a run is over for the whole cluster, and how: what the tick leader concludes from the members' reports.

A run that everyone has reported is over as they say; they agree, for stops and failures ride on the barrier. One that a
member has failed is over at once. One whose view has lost a member can't go on: its barrier waits for that member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from daemon.protocol.cluster_messages import RunReport
from daemon.protocol.decisions import EndRun
from daemon.protocol.registry import FAILED


def ending(
    run: str,
    members: Sequence[str],
    reports: Mapping[str, RunReport],
    missing: Sequence[str],
    committed: int = 0,
) -> EndRun | None:
    """The decision that ends a run, if it is time for it.

    `missing` are members that are taken for dead, `committed` the last tick that is known to be committed.
    """
    failures = [report for report in reports.values() if report.outcome == FAILED]
    done = all(member in reports for member in members)
    if not failures and not done and not missing:
        return None
    tick = max((report.tick for report in reports.values()), default=committed)
    outcome, failure = FAILED, ""
    if failures:
        tick, failure = min(report.tick for report in failures), failures[0].failure
    elif done:
        outcome = next(iter(reports.values())).outcome
    else:
        failure = f"the view has lost {', '.join(missing)}: a run needs every member of its view"
    crossed = sum(report.cross_bytes for report in reports.values())
    ended = max((report.ended_unix_ns for report in reports.values()), default=0)
    return EndRun(f"end-{run}", run, outcome, tick, failure, crossed, ended)
