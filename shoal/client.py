"""A session with a daemon, over its admin socket."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from shoal import columns as col
from shoal.errors import BY_NAME, ShoalError
from shoal.graph_data import GraphData
from shoal.lines import DEFAULT_SOCKET, AdminConnection, AdminError
from shoal.program import Program
from shoal.result import ColumnResult
from shoal.session import Progress, Session


def connect(socket: str = DEFAULT_SOCKET, timeout: float | None = None) -> Session:
    """Reach the daemon whose admin socket is at this path; any daemon of a cluster will do.

    `timeout` is how long the daemon may stay silent, in seconds.
    """
    return Session(SocketBackend(AdminConnection(socket, timeout)))


class SocketBackend:
    """Graphs and runs of a cluster."""

    def __init__(self, connection: AdminConnection) -> None:
        self._connection = connection

    def call(self, command: str, args: Mapping[str, Any]) -> dict[str, Any]:
        """Ask the daemon."""
        with _as_the_library_says_it():
            return self._connection.call(command, args)[0]

    def load(self, name: str, data: GraphData, progress: Progress | None) -> dict[str, Any]:
        """Send a graph; it is there once every shard has its piece."""
        spec, frames = data.to_wire()
        with _as_the_library_says_it():
            events = self._connection.stream("graph load", {"name": name, "spec": spec}, frames)
            for event in events:
                if progress is not None:
                    progress(event)
            return events.result

    def wait(self, run: str, timeout: float | None, progress: Progress | None) -> dict[str, Any]:
        """Follow a run to its end."""
        args = {"run": run} if timeout is None else {"run": run, "timeout_seconds": timeout}
        with _as_the_library_says_it():
            events = self._connection.stream("run wait", args)
            for event in events:
                if progress is not None:
                    progress(event)
            return events.result

    def result(self, run: str, column: str) -> ColumnResult:
        """A column, whole."""
        with _as_the_library_says_it():
            result, frames = self._connection.call("run result", {"run": run, "column": column, "frames": True})
        ids_spec, values_spec = result["columns"]["id"], result["columns"]["value"]
        cut = col.frame_count(ids_spec)
        ids = col.from_wire(ids_spec, frames[:cut], "the node ids")
        values = col.from_wire(values_spec, frames[cut:], f"column '{column}'")
        fetched = ColumnResult(run, column, ids, values)
        if fetched.digest != result["digest"]:
            raise ShoalError(f"column '{column}' of run '{run}' did not arrive as it was sent: fetch it again")
        return fetched

    def program_name(self, program: str | type[Program]) -> str:
        """Programs are known to daemons by the name under which they are installed there."""
        return program if isinstance(program, str) else program.name

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@contextmanager
def _as_the_library_says_it() -> Iterator[None]:
    """A daemon's answer as the error that a session in this process raises; one of no such class stays as it is."""
    try:
        yield
    except AdminError as error:
        kind = TimeoutError if error.what == TimeoutError.__name__ else BY_NAME.get(error.what)
        if kind is None:
            raise
        raise kind(str(error)) from error
