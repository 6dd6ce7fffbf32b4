"""The queue of runs, in the order in which they were requested.

A run that may wait is queued while as many runs are active as the requesting shard allows. Each command that ends or
drops a run also begins the next one, so every shard sees the same order and no leader is needed.
"""

from __future__ import annotations

from msgspec.structs import replace

from daemon.state.announcements import Announcement, RunBegun, RunsWaiting
from daemon.state.commands import StartRun
from daemon.state.machine import CommandRejected
from daemon.state.records import RUNNING, RunRecord
from daemon.state.registry import Registry

QUEUED_MAX = 256


def must_wait(registry: Registry, command: StartRun) -> bool:
    """Whether to queue a run. Raises `CommandRejected` if it would have to wait but may not."""
    queued, active = registry.queued_runs(), len(registry.active_runs())
    is_full = 0 < command.runs_max <= active
    if not command.may_queue:
        if is_full:
            raise CommandRejected(
                f"{active} runs are already active (ticks.runs_max): wait for one, stop one, or let this one wait for "
                "its turn (--queue)"
            )
        return False
    if len(queued) >= QUEUED_MAX:
        raise CommandRejected(f"{len(queued)} runs are already queued: wait until some of them have started")
    return is_full or bool(queued)


def begin_queued(registry: Registry, time_ns: int) -> list[Announcement]:
    """Begins the queued runs that there is room for."""
    news: list[Announcement] = []
    for run in registry.queued_runs():
        if 0 < run.runs_max <= len(registry.active_runs()):
            break
        begun = _begun(registry, run, time_ns)
        registry.runs[run.name] = begun
        news.append(RunBegun(begun) if begun.epoch else RunsWaiting())
    return news


def _begun(registry: Registry, run: RunRecord, started_unix_ns: int) -> RunRecord:
    """Begins a run in this view; if its graph has lost partitions, it waits for a view that has them."""
    epoch = 0 if registry.view is None or registry.lost(run.graph) else registry.epoch
    return replace(run, state=RUNNING, epoch=epoch, begun_in=registry.epoch, started_unix_ns=started_unix_ns)
