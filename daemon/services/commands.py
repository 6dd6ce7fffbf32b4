"""Who answers what on the admin socket of a daemon."""

from __future__ import annotations

from collections.abc import Callable

from daemon.admin.registry import Registry
from daemon.runtime.loop import Runtime
from daemon.services.backup.commands import BackupCommands
from daemon.services.cluster.commands import ClusterCommands
from daemon.services.graphs.commands import GraphCommands
from daemon.services.programs.commands import ProgramCommands
from daemon.services.results.commands import ResultCommands
from daemon.services.runs.commands import RunCommands


def bind(runtime: Runtime, commands: Registry, stop: Callable[[], None]) -> None:
    """Binds every command to its handler; `stop` ends the daemon as a signal does."""
    ClusterCommands(runtime, commands, stop)
    BackupCommands(runtime, commands)
    GraphCommands(runtime, commands)
    RunCommands(runtime, commands)
    ResultCommands(runtime, commands)
    ProgramCommands(runtime, commands)
