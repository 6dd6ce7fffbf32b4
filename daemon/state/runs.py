"""Applies the log's commands about runs: they start, resume, stop and end, and their results expire."""

from __future__ import annotations

from dataclasses import replace

from daemon.state.announcements import Outcome, ResultsExpired, RunBegun, RunEnded, RunQueued, RunStopping
from daemon.state.commands import CommandRejected, EndRun, ExpireResults, ResumeRun, StartRun, StopRun
from daemon.state.queue import begin_queued, must_wait
from daemon.state.records import FAILED, OUTCOMES, QUEUED, STOPPED, STOPPING, RunRecord, begun
from daemon.state.registry import RUNS_REMEMBERED, Registry
from shoal.api.ranges import INT_MAX
from shoal.program.deployed import NAME


def start_run(registry: Registry, decision: StartRun) -> Outcome:
    """In this view, from its beginning; or once it is its turn."""
    registry.need_load(decision.graph, decision.load)
    registry.need_whole(decision.graph)
    if not NAME.fullmatch(decision.program):
        raise CommandRejected(f"{decision.program[:80]!r} is no name for a program")
    if registry.runs_begun >= INT_MAX:
        raise CommandRejected("this cluster has no numbers for runs left")
    waits = must_wait(registry, decision)
    registry.runs_begun += 1
    number = registry.runs_begun
    run = begun(decision, number, 0, QUEUED) if waits else begun(decision, number, registry.epoch)
    registry.runs[run.name] = run
    _forget_old_runs(registry)
    return run.name, [RunQueued(run) if waits else RunBegun(run)]


def resume_run(registry: Registry, decision: ResumeRun) -> Outcome:
    """In this view, from a tick that is held for every partition."""
    run = registry.need_run(decision.run)
    if not run.active or decision.epoch != registry.epoch or run.epoch == registry.epoch:
        raise CommandRejected(f"run '{run.name}' does not wait in epoch {decision.epoch}")
    registry.need_whole(run.graph)
    run = replace(
        run,
        epoch=registry.epoch,
        resumed=decision.tick,
        origin=decision.origin,
        sources=decision.sources,
        reached=decision.reached,
    )
    registry.runs[run.name] = run
    return run.name, [RunBegun(run)]


def stop_run(registry: Registry, decision: StopRun) -> Outcome:
    """It ends after a tick that its shards agree on; one that is queued never begins."""
    run = registry.need_run(decision.run)
    if run.state == QUEUED:
        why = "it was stopped while it was queued"
        registry.runs[run.name] = run = replace(run, state=STOPPED, failure=why, ended_unix_ns=run.started_unix_ns)
        return run.name, [RunEnded(run), *begin_queued(registry, run.started_unix_ns)]
    if not run.active:
        raise CommandRejected(f"run '{run.name}' is over already: it {run.state} after {run.tick} ticks")
    registry.runs[run.name] = run = replace(run, state=STOPPING, is_forced=run.is_forced or decision.by_force)
    return run.name, [RunStopping(run)]


def end_run(registry: Registry, decision: EndRun) -> Outcome:
    """What its shards have reported, as the tick leader sums it up."""
    run = registry.need_run(decision.run)
    if not run.active or decision.outcome not in OUTCOMES:
        raise CommandRejected(
            f"run '{run.name}' is over already" if not run.active else "that is no way for a run to end"
        )
    if decision.outcome != FAILED and run.epoch != registry.epoch:
        raise CommandRejected(f"run '{run.name}' goes on in another view, whose holders do not all have its last tick")
    registry.runs[run.name] = run = replace(
        run,
        state=decision.outcome,
        tick=decision.tick,
        failure=decision.failure,
        cross_bytes=decision.cross_bytes,
        ended_unix_ns=decision.ended_unix_ns,
        figures=decision.figures,
        result_bytes=decision.result_bytes,
    )
    return run.name, [RunEnded(run), *begin_queued(registry, decision.ended_unix_ns)]


def expire_results(registry: Registry, decision: ExpireResults) -> Outcome:
    """The runs are still known; what they computed is not."""
    expired: list[RunRecord] = []
    for name in decision.runs:
        run = registry.runs.get(name)
        if run is not None and run.has_result:
            registry.runs[name] = replace(run, has_expired=True)
            expired.append(registry.runs[name])
    return "", [ResultsExpired(tuple(expired))]


def _forget_old_runs(registry: Registry) -> None:
    over = [name for name, run in registry.runs.items() if run.is_over]
    for name in over[: max(0, len(registry.runs) - RUNS_REMEMBERED)]:
        del registry.runs[name]
