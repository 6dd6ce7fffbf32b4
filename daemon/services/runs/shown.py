"""A run as operators and scripts see it."""

from __future__ import annotations

import json
from typing import Any

from daemon.runtime.context import HostContext
from daemon.services.runs.controller import RunController
from daemon.state.records import QUEUED, RunRecord
from shoal.api.commands.runs import RunReply, RunRow, ShardProgress
from shoal.lockstep.barrier import PHASES
from shoal.lockstep.figures import tick_result


class ShownRuns:
    """One shard's view of runs; of an active one, also what it knows of the other shards."""

    def __init__(self, context: HostContext, runs: RunController) -> None:
        self._context, self._state, self._runs = context, context.state, runs

    def run(self, run: RunRecord) -> RunReply:
        """Returns a run as `run show` replies."""
        machine = self._context.ticks.machine(run.number) if run.active else None
        now, figures = self._context.clock.monotonic_ns(), self._context.ticks.figures.get(run.number)
        progress = self._state.progress.of(run.number, now) if run.active else []
        committed = figures.ticks[-1] if figures and figures.ticks else None
        graph = self._state.registry.graph_of(run.load)
        ended = run.ended_unix_ns or self._context.clock.unix_ns()
        crossed = run.cross_bytes if not run.active else figures.cross_bytes if figures else 0
        return {
            **self.row(run),
            "digest": run.digest or None,
            "params": {name: json.loads(value) for name, value in run.params},
            "columns": list(run.columns),
            "outcome": run.state if run.is_over else None,
            "phase": machine.phase.word if machine else None,
            "error": run.failure or None,
            "seconds": max(0.0, (ended - run.started_unix_ns) / 1e9),
            "shards": {p.shard: _shard_progress(p) for p in progress},
            "figures": figures.shown if run.active and figures else json.loads(run.figures or "{}"),
            "last_tick": tick_result(committed, figures.members) if committed and figures else None,
            "totals": {
                "nodes": graph.node_count if graph else None,
                "edges": graph.edge_count if graph else None,
                "cross_edges": graph.cross_edges if graph else None,
                "cross_bytes": crossed,
            },
        }

    def row(self, run: RunRecord) -> RunRow:
        """Returns a run as `run list` replies."""
        return {
            "run": run.name,
            "program": run.program,
            "graph": run.graph,
            "load": run.load,
            "state": run.shown,
            "place": self.place(run),
            "tick": self._runs.tick_of(run) if run.active else run.tick,
            "ticks": run.tick if run.is_over else run.ticks,
        }

    def place(self, run: RunRecord) -> int | None:
        """Returns a queued run's place in the queue, from 1; None for other runs."""
        if run.state != QUEUED:
            return None
        return [other.number for other in self._state.registry.queued_runs()].index(run.number) + 1


def _shard_progress(progress: Any) -> ShardProgress:
    return {
        "tick": progress.tick,
        "phase": progress.doing.partition(" ")[2].partition(" ")[0],
        "doing": progress.doing,
        "seconds": progress.seconds,
        "completed_phases": progress.entry % PHASES,
    }
