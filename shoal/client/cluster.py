"""A session with a daemon, over its admin socket or from another machine."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar, cast

import numpy as np

from shoal.api.command import Command
from shoal.api.commands.graphs import GraphLoad, LoadedGraph
from shoal.api.commands.programs import DeployedProgram, ProgramDeploy
from shoal.api.commands.results import RunRows, RunTable, TableReply
from shoal.api.commands.runs import RunReply, RunWait
from shoal.api.errors import Failed
from shoal.client.admin_protocol import DEFAULT_SOCKET, AdminConnection
from shoal.client.connections import Connections
from shoal.client.session import Progress, Session
from shoal.graph import columns as col
from shoal.graph.graph_data import GraphData
from shoal.program.program import Program
from shoal.query.result import ColumnDigest
from shoal.query.rows import RowBatch
from shoal.query.tables import TablePart

R = TypeVar("R")


def connect(
    address: str = DEFAULT_SOCKET,
    timeout: float | None = None,
    *,
    key: str | os.PathLike[str] | None = None,
    server_key: str | None = None,
    known_keys: str | os.PathLike[str] | None = None,
) -> Session:
    """Opens a session with a daemon; any daemon of a cluster will do.

    `address` is the path of an admin socket on this machine, or ``"alpha@tcp://10.0.0.1:7103"``: the name of a shard
    and the address where it listens for operators. For the latter, `key` is the file with your secret key; the shard's
    public key is `server_key` or the one under its name in the file `known_keys`, such as the cluster's allowed_keys.
    `timeout` is how long the daemon may stay silent, in seconds. Threads may share the session. Raises `Unreachable`.
    """
    connections = Connections(
        lambda: AdminConnection(address, timeout, key=key, server_key=server_key, known_keys=known_keys)
    )
    connections.reach()
    return Session(SocketBackend(connections))


class SocketBackend:
    """Accesses the graphs and runs of a cluster."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def call(self, command: Command[R]) -> R:
        """Sends a command to the daemon and returns its reply."""
        return self._asked(command)[0]

    def _asked(self, command: Command[R], frames: Sequence[Any] = ()) -> tuple[R, tuple[memoryview, ...]]:
        contract = command.contract
        args = contract.args(contract.checked(command))
        reply, came = self._connections.call(contract.name, args, frames, may_repeat=not contract.changes)
        return cast(R, _about(args, reply)), came

    def load(self, name: str, data: GraphData, progress: Progress | None) -> LoadedGraph:
        """Sends a graph; returns once every shard has its part."""
        spec, frames = data.to_wire()
        return self._followed(GraphLoad(name, spec), frames, progress)

    def wait(self, run: str, timeout: float | None, progress: Progress | None) -> RunReply:
        """Follows a run to its end."""
        return self._followed(RunWait(run, timeout), (), progress)

    def _followed(self, command: Command[R], frames: Sequence[Any], progress: Progress | None) -> R:
        args = command.contract.args(command.contract.checked(command))
        with self._connections.lent() as connection:
            events = connection.stream(command.contract.name, args, frames)
            for event in events:
                if progress is not None:
                    progress(_about(args, event))
            return cast(R, _about(args, events.result))

    def stretches(self, run: str, columns: Sequence[str] | None, tick: int | None) -> Iterator[RowBatch]:
        """Yields rows in id order; the last stretch checks them against the daemon's digests."""
        digests: dict[str, ColumnDigest] = {}
        first, total = 0, 1
        while first < total:
            stretch, theirs = self._stretch(run, columns, tick, first)
            if not first:
                columns, tick, total = list(stretch.values), stretch.tick, stretch.total
                digests = {column: ColumnDigest() for column in columns}
            if (stretch.tick, stretch.first, stretch.total) != (tick, first, total):
                raise Failed(f"run '{run}': the daemon sent other rows than requested")
            for column, digest in digests.items():
                digest.update(stretch.ids, stretch.values[column])
            first = stretch.last
            if first >= total:
                stretch = replace(stretch, digests=_agreed(run, digests, theirs))
            elif not len(stretch.ids):
                raise Failed(f"run '{run}': the rows from {first} on are missing")
            yield stretch

    def _stretch(
        self, run: str, columns: Sequence[str] | None, tick: int | None, first: int
    ) -> tuple[RowBatch, Mapping[str, str]]:
        some = None if columns is None else tuple(columns)
        said, frames = self._asked(RunRows(run, some, tick, first, digest=True))
        reader = col.FrameReader(frames)
        ids = reader.column(said["id"], "the node ids")
        values = {
            column: np.asarray(reader.column(spec, f"column '{column}'")) for column, spec in said["columns"].items()
        }
        reader.check_end()
        if any(len(its) != len(ids) for its in values.values()):
            raise Failed(f"run '{run}': a column does not have one value per node")
        nulls = {column: values[column].dtype.type(null) for column, null in said["nulls"].items()}
        return RowBatch(run, said["tick"], said["first"], said["total"], ids, values, nulls), said["digests"]

    def table_parts(self, run: str, table: str, tick: int | None) -> Iterator[TablePart]:
        """Yields the rows of a table by partition."""
        partition, partitions = 0, 1
        while partition < partitions:
            pieces: list[Mapping[str, Any]] = []
            first, total = 0, 1
            while first < total:
                said, columns = self._table_piece(run, table, tick, partition, first)
                if pieces and not said["count"]:
                    raise Failed(f"run '{run}': the rows of table '{table}' from {first} on are missing")
                tick, total, partitions = said["tick"], said["total"], said["partitions"]
                pieces.append(columns)
                first += said["count"]
            joined = {name: col.concatenated([piece[name] for piece in pieces]) for name in pieces[0]}
            yield TablePart(partition, partitions, joined)
            partition += 1

    def _table_piece(
        self, run: str, table: str, tick: int | None, partition: int, first: int
    ) -> tuple[TableReply, Mapping[str, Any]]:
        said, frames = self._asked(RunTable(run, table, tick, partition, first))
        reader = col.FrameReader(frames)
        columns = reader.columns(list(said["columns"].items()))
        reader.check_end()
        if any(len(values) != said["count"] for values in columns.values()):
            raise Failed(f"run '{run}': a column of table '{table}' does not have one value per row")
        return said, columns

    def deploy(self, source: bytes, file: str) -> DeployedProgram:
        """Sends a program's source, which every shard stores."""
        return self._asked(ProgramDeploy(file), [source])[0]

    def program_name(self, program: str | type[Program]) -> str:
        """Returns the name under which daemons have a program installed or deployed."""
        return program if isinstance(program, str) else program.name

    def close(self) -> None:
        """Closes the connections."""
        self._connections.close()


def _about(asked: Mapping[str, Any], said: dict[str, Any]) -> dict[str, Any]:
    """Returns an answer if it is about the requested run or graph."""
    for word in ("run", "graph"):
        if word in asked and said.get(word, asked[word]) != asked[word]:
            raise Failed(
                f"the daemon was asked about {word} '{asked[word]}' and answered about '{said[word]}': try again"
            )
    return said


def _agreed(run: str, ours: Mapping[str, ColumnDigest], theirs: Mapping[str, str]) -> dict[str, str]:
    found = {column: digest.hexdigest() for column, digest in ours.items()}
    for column, digest in found.items():
        if digest != theirs.get(column):
            raise Failed(f"column '{column}' of run '{run}' was damaged in transit: fetch it again")
    return found
