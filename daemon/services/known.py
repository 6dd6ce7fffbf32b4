"""What a shard knows by name: graphs and runs, with a sentence for a name that is none."""

from __future__ import annotations

from daemon.admin.registry import Refused
from daemon.runtime.loop import Runtime
from daemon.state.commands import AddGraph
from daemon.state.records import RunRecord
from shoal.api.errors import did_you_mean


class Known:
    """Of one shard."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    @property
    def state(self) -> str:
        """Whether this shard is `joined`, `drained` or `starting`."""
        shard = self._runtime.shard
        if shard.in_view:
            return "joined"
        return "drained" if self._runtime.me.name in shard.registry.draining else "starting"

    def graph(self, name: str) -> AddGraph:
        """The graph of that name. Raises `Refused`."""
        graphs = self._runtime.shard.registry.graphs
        if name not in graphs:
            known = ", ".join(sorted(graphs)) or "none yet"
            raise Refused(
                f"no graph is called '{name}'{did_you_mean(name, graphs)}; loaded: {known}", what="UnknownGraph"
            )
        return graphs[name]

    def graph_of(self, run: RunRecord) -> AddGraph:
        """The graph that a run belongs to. Raises `Refused` if it was dropped, whatever has its name now."""
        registry = self._runtime.shard.registry
        graph = registry.graph_of(run.load)
        if graph is None:
            told = registry.dropped[run.name].told if run.name in registry.dropped else f"run '{run.name}' is gone"
            raise Refused(told, what="UnknownRun")
        return graph

    def run(self, name: str) -> RunRecord:
        """The run of that name. Raises `Refused`."""
        registry = self._runtime.shard.registry
        runs = registry.runs
        if name in registry.dropped:
            raise Refused(registry.dropped[name].told, what="UnknownRun")
        if name not in runs:
            hint = did_you_mean(name, runs)
            raise Refused(f"there is no run '{name}'{hint}; `run list` shows them", what="UnknownRun")
        return runs[name]
