"""What the admin socket answers about tables that runs have built."""

from __future__ import annotations

from daemon.admin.registry import Refused, Registry, Reply, Request, Usage
from daemon.control.messages import TableRequest
from daemon.runtime.loop import Runtime
from daemon.services.results.readings import Readings
from daemon.state.records import RunRecord
from shoal.api.errors import UnknownColumn
from shoal.graph import columns as col
from shoal.query.tables import known_table


class TableOperations:
    """The handlers. A mistake of the asker's is `Refused` or `Usage`, with a sentence."""

    def __init__(self, runtime: Runtime, commands: Registry) -> None:
        self._runtime, self._readings = runtime, Readings(runtime)
        commands.bind("run table", self.run_table)

    async def run_table(self, request: Request) -> Reply:
        args, run = request.args, await self._readings.run_of(request)
        partition, first = args["partition"], args["first"]
        partitions = self._readings.known.graph_of(run).partition_count
        if not 0 <= partition < partitions or first < 0:
            raise Usage(f"partition should be from 0 to {partitions - 1}, and first a row")
        if not partition and not first:  # whoever reads a table begins there
            await self._check(run, args["table"])

        async def attempt(run: RunRecord, tick: int) -> Reply:
            piece = await self._runtime.tables.piece(TableRequest("", run.name, tick, args["table"], partition, first))
            specs, frames = {}, []
            for name, values in piece.columns.items():
                specs[name], its = col.to_wire(values)
                frames += its
            said = {"run": run.name, "table": args["table"], "tick": tick, "partition": partition}
            counts = {"partitions": partitions, "first": first, "count": piece.count, "total": piece.total}
            return Reply({**said, **counts, "columns": specs}, tuple(frames))

        return await self._readings.read(run, args["tick"], attempt)

    async def _check(self, run: RunRecord, table: str) -> None:
        """See that there is such a table: what is wrong with a name, no patience mends."""
        program = await self._readings.program_of(run)
        try:
            known_table(run.name, type(program), table)
        except UnknownColumn as error:
            raise Refused(str(error), what=UnknownColumn.__name__) from error
