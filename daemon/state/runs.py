"""Applies the log's commands that start, resume, stop and end runs, and that expire their results."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from daemon.state.announcements import ResultsExpired, RunBegun, RunEnded, RunQueued, RunStopping
from daemon.state.commands import EndRun, ExpireResults, ResumeRun, StartRun, StopRun
from daemon.state.machine import Applied, CommandRejected, Outcome, handler
from daemon.state.queue import begin_queued, must_wait
from daemon.state.records import FAILED, OUTCOMES, QUEUED, RUNNING, STOPPED, STOPPING, RunRecord, begun
from daemon.state.registry import RUNS_REMEMBERED, Registry
from shoal.api.ranges import INT_MAX
from shoal.program.deployed import NAME


def start_run(registry: Registry, command: StartRun, at: Applied) -> Outcome:
    """Starts a run in this view, or queues it."""
    registry.need_load(command.graph, command.load)
    registry.need_whole(command.graph)
    if not NAME.fullmatch(command.program):
        raise CommandRejected(f"{command.program[:80]!r} is no name for a program")
    if registry.runs_begun >= INT_MAX:
        raise CommandRejected("this cluster has no numbers for runs left")
    waits = must_wait(registry, command)
    registry.runs_begun += 1
    number = registry.runs_begun
    epoch, state = (0, QUEUED) if waits else (registry.epoch, RUNNING)
    run = begun(command, number, epoch, at.time_ns, state)
    registry.runs[run.name] = run
    _forget_old_runs(registry)
    return Outcome(run.name, [RunQueued(run) if waits else RunBegun(run)])


def resume_run(registry: Registry, command: ResumeRun, at: Applied) -> Outcome:
    """Resumes a run in this view, from a tick whose state is held for every partition."""
    run = registry.need_run(command.run)
    if not run.active or command.epoch != registry.epoch or run.epoch == registry.epoch:
        raise CommandRejected(f"run '{run.name}' does not wait in epoch {command.epoch}")
    registry.need_whole(run.graph)
    run = replace(
        run,
        epoch=registry.epoch,
        resumed=command.tick,
        origin=command.origin,
        sources=command.sources,
        reached=command.reached,
    )
    registry.runs[run.name] = run
    return Outcome(run.name, [RunBegun(run)])


def stop_run(registry: Registry, command: StopRun, at: Applied) -> Outcome:
    """Stops a run after a tick that its shards agree on; a queued run never begins."""
    run = registry.need_run(command.run)
    if run.state == QUEUED:
        why = "it was stopped while it was queued"
        registry.runs[run.name] = run = replace(run, state=STOPPED, failure=why, ended_unix_ns=at.time_ns)
        return Outcome(run.name, [RunEnded(run), *begin_queued(registry, at.time_ns)])
    if not run.active:
        raise CommandRejected(f"run '{run.name}' is already over: it {run.state} after {run.tick} ticks")
    registry.runs[run.name] = run = replace(run, state=STOPPING, is_forced=run.is_forced or command.by_force)
    return Outcome(run.name, [RunStopping(run)])


def end_run(registry: Registry, command: EndRun, at: Applied) -> Outcome:
    """Ends a run as the tick leader has concluded from its members' reports."""
    run = registry.need_run(command.run)
    if not run.active or command.outcome not in OUTCOMES:
        raise CommandRejected(
            f"run '{run.name}' is already over" if not run.active else "a run can't end with this outcome"
        )
    if command.outcome != FAILED and run.epoch != registry.epoch:
        raise CommandRejected(f"run '{run.name}' continues in another view, where some holders lack its last tick")
    registry.runs[run.name] = run = replace(
        run,
        state=command.outcome,
        tick=command.tick,
        failure=command.failure,
        cross_bytes=command.cross_bytes,
        ended_unix_ns=at.time_ns,
        figures=command.figures,
        result_bytes=command.result_bytes,
    )
    return Outcome(run.name, [RunEnded(run), *begin_queued(registry, at.time_ns)])


def expire_results(registry: Registry, command: ExpireResults, at: Applied) -> Outcome:
    """Marks results as expired; the runs are still known."""
    expired: list[RunRecord] = []
    for name in command.runs:
        run = registry.runs.get(name)
        if run is not None and run.has_result:
            registry.runs[name] = replace(run, has_expired=True)
            expired.append(registry.runs[name])
    return Outcome("", [ResultsExpired(tuple(expired))])


def _forget_old_runs(registry: Registry) -> None:
    over = [name for name, run in registry.runs.items() if run.is_over]
    for name in over[: max(0, len(registry.runs) - RUNS_REMEMBERED)]:
        del registry.runs[name]


COMMANDS: Final = (
    handler(4, StartRun, start_run),
    handler(5, StopRun, stop_run),
    handler(6, EndRun, end_run),
    handler(10, ResumeRun, resume_run),
    handler(15, ExpireResults, expire_results),
)
