"""Applies a restored backup: one command adds all its graphs and runs."""

from __future__ import annotations

from typing import Final

from daemon.state.announcements import Announcement, RunsWaiting
from daemon.state.commands import Restore
from daemon.state.graphs import add_graph
from daemon.state.machine import Applied, CommandRejected, Outcome, handler
from daemon.state.queue import begin_queued
from daemon.state.records import STATES, restored
from daemon.state.registry import Registry
from shoal.program.deployed import NAME


def take_backup(registry: Registry, command: Restore, at: Applied) -> Outcome:
    """Restores all or nothing: a partly restored cluster would look like a whole one."""
    if registry.graphs or registry.runs_begun:
        raise CommandRejected("this cluster already has graphs or runs: restore a backup into a new cluster")
    runs = [restored(run) for run in command.runs]
    loads = {(graph.name, graph.load) for graph in command.graphs}
    if any(run.state not in STATES or (run.graph, run.load) not in loads or run.number < 1 for run in runs) or not all(
        NAME.fullmatch(run.program) for run in runs
    ):
        raise CommandRejected("the backup has runs that no cluster has had")
    if len({run.number for run in runs}) != len(runs):
        raise CommandRejected("the backup has two runs of one number")
    news = list[Announcement]()
    for graph in command.graphs:
        news += add_graph(registry, graph, at).events
    registry.runs = {run.name: run for run in sorted(runs, key=lambda run: run.number)}
    registry.runs_begun = max(command.runs_begun, *(run.number for run in runs), 0)
    news += [RunsWaiting()] if registry.active_runs() else []
    return Outcome("", [*news, *begin_queued(registry, at.time_ns)])


COMMANDS: Final = (handler(11, Restore, take_backup),)
