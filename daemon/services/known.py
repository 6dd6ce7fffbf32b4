"""Looks up graphs and runs by name; suggests a similar name in the error for an unknown one."""

from __future__ import annotations

from collections.abc import Callable

from daemon.runtime.context import HostContext
from daemon.state.commands import AddGraph
from daemon.state.machine import Command
from daemon.state.records import RunRecord
from shoal.api.errors import Refused, UnknownGraph, UnknownRun

IN_NO_VIEW = "this shard is not in the view: ask a member (see `members`)"


class Known:
    """One shard's graphs and runs."""

    def __init__(self, context: HostContext) -> None:
        self._context, self._state = context, context.state

    @property
    def state(self) -> str:
        """Whether this shard is `joined`, `drained` or `starting`."""
        state = self._state
        if state.in_view:
            return "joined"
        return "drained" if self._context.me in state.registry.draining else "starting"

    def graph(self, name: str) -> AddGraph:
        """Returns the graph of that name. Raises `UnknownGraph`."""
        graphs = self._state.registry.graphs
        if name not in graphs:
            raise UnknownGraph.named(name, graphs)
        return graphs[name]

    def graph_of(self, run: RunRecord) -> AddGraph:
        """Returns the graph of a run. Raises `UnknownRun` if it was dropped, even if its name is in use again."""
        registry = self._state.registry
        graph = registry.graph_of(run.load)
        if graph is None:
            told = registry.dropped[run.name].told if run.name in registry.dropped else f"run '{run.name}' is gone"
            raise UnknownRun(told)
        return graph

    def run(self, name: str) -> RunRecord:
        """Returns the run of that name. Raises `UnknownRun`."""
        registry = self._state.registry
        runs = registry.runs
        if name in registry.dropped:
            raise UnknownRun(registry.dropped[name].told)
        if name not in runs:
            raise UnknownRun.named(name, runs)
        return runs[name]

    def meant(self, name: str, load: str | None) -> AddGraph:
        """Returns the graph of a name, if it is still the one that the caller has seen. Raises `UnknownGraph`."""
        graph = self.graph(name)
        if load not in (None, graph.load):
            raise UnknownGraph.replaced(name)
        return graph

    async def decided(self, command: Command, look_again: Callable[[], object] = lambda: None) -> str:
        """Gets a command decided. `look_again` raises a better error if the command's subject is gone by then."""
        answer = await self._context.decide(command)
        if answer.error:
            look_again()
            raise Refused(answer.error)
        return answer.name

    def require_view(self) -> None:
        """Raises `Refused` on a shard that is not in the view."""
        if not self._state.in_view:
            raise Refused(IN_NO_VIEW)
