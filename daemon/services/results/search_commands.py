"""What the admin socket answers about the documents that runs read."""

from __future__ import annotations

import asyncio
import time

from daemon.admin.registry import Failed, Refused, Registry, Reply, Request, Usage
from daemon.runtime.loop import Runtime
from daemon.services.results.readings import Readings
from daemon.store import NotHeld
from shoal.api.errors import ShoalError
from shoal.program.program import read_params
from shoal.query.search import TOP_MAX, Query, text_column

PATIENCE_SECONDS, AGAIN_SECONDS = 20.0, 0.2


class SearchOperations:
    """The handlers. A mistake of the asker's is `Refused` or `Usage`, with a sentence."""

    def __init__(self, runtime: Runtime, commands: Registry) -> None:
        self._runtime, self._readings = runtime, Readings(runtime)
        commands.bind("run search", self.run_search)

    async def run_search(self, request: Request) -> Reply:
        args = request.args
        run = self._readings.known.run(args["run"])
        if not 0 < args["top"] <= TOP_MAX:
            raise Usage(f"top should be from 1 to {TOP_MAX}")
        program = await self._readings.program_of(run)
        try:
            query = Query.of(args["words"])
            column = text_column(type(program), read_params(run.params))
        except ShoalError as error:
            raise Refused(str(error)) from error
        graph, until = self._readings.known.graph_of(run), time.monotonic() + PATIENCE_SECONDS
        if column not in dict(graph.node_columns):
            raise Refused(f"the nodes of graph '{graph.name}' have no column '{column}'", what="UnknownColumn")
        while True:
            try:
                found = await self._runtime.searching.search(run.load, column, query, args["top"])
                return Reply({"run": run.name, **found})
            except (Refused, Failed, NotHeld):  # the view may be changing
                graph = self._readings.known.graph_of(run)
                if time.monotonic() > until or self._runtime.shard.registry.lost(graph.name):
                    raise
            await asyncio.sleep(AGAIN_SECONDS)
