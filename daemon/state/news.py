"""Compares a restored registry with the previous one, and announces what is new."""

from __future__ import annotations

from daemon.state.announcements import (
    Announcement,
    GraphInstalled,
    GraphRemoved,
    HoldingsChanged,
    ResultsExpired,
    RunBegun,
    RunEnded,
    RunStopping,
    RunsWaiting,
    ViewInstalled,
)
from daemon.state.records import QUEUED, RUNNING, STOPPING, RunRecord, with_its_graph
from daemon.state.registry import Registry


def news_of_graphs(registry: Registry, before: Registry) -> list[Announcement]:
    """Announces the view and the changes of graphs."""
    graphs, runs = before.graphs, before.runs
    news: list[Announcement] = []
    if registry.view is not None and registry.view != before.view:
        news.append(ViewInstalled(registry.view))
    news += [
        GraphRemoved(graph, tuple(run for run in runs.values() if run.load == graph.load))
        for name, graph in graphs.items()
        if registry.graphs.get(name) != graph
    ]
    news += [GraphInstalled(graph) for name, graph in registry.graphs.items() if graphs.get(name) != graph]
    return [*news, HoldingsChanged()]


def news_of_runs(registry: Registry, before: Registry) -> list[Announcement]:
    """Announces the changes of runs."""
    news: list[Announcement] = []
    runs = before.runs
    for name, run in registry.runs.items():
        former = runs.get(name)
        if run.active and run.epoch == registry.epoch and (former is None or former.epoch != run.epoch):
            news.append(RunBegun(run))
        if run.state == STOPPING and (former is None or former.state == RUNNING):
            news.append(RunStopping(run))
        if former is not None and former.active and not run.active:
            news.append(RunEnded(run))
    gone = [run for name, run in runs.items() if run.active and name not in registry.runs]
    news += [RunEnded(with_its_graph(run) if run.name in registry.dropped else run) for run in gone]
    before_kept = {run.name for run in runs.values() if run.has_result}
    expired = tuple(run for name, run in registry.runs.items() if name in before_kept and run.has_expired)
    news += [ResultsExpired(expired)] if expired else []
    if registry.view == before.view and any(_is_news(runs.get(run.name)) for run in registry.waiting_runs()):
        news.append(RunsWaiting())
    return news


def _is_news(before: RunRecord | None) -> bool:
    """Whether a run that waits to be resumed is new, or was only queued before."""
    return before is None or before.state == QUEUED
