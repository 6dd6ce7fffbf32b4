"""The handlers of all commands, bound to the services that they ask."""

from __future__ import annotations

from collections.abc import Callable

from daemon.admin.registry import Registry
from daemon.composition import Services
from daemon.observe.metrics import Metrics
from daemon.services.backup.commands import BackupCommands
from daemon.services.cluster.commands import ClusterCommands
from daemon.services.graphs.commands import GraphCommands
from daemon.services.known import Known
from daemon.services.programs.commands import ProgramCommands
from daemon.services.results.commands import ResultCommands
from daemon.services.results.readings import Readings
from daemon.services.runs.commands import RunCommands


def bind(services: Services, metrics: Metrics, commands: Registry, stop: Callable[[], None]) -> None:
    """Binds a handler to every declared command. `stop` ends the daemon as a signal does."""
    s, context = services, services.context
    known = Known(context)
    readings = Readings(context, known, s.results, s.reading, s.runs, s.programs)
    ClusterCommands(context, known, s.repair, s.disk_room, metrics, commands, stop)
    BackupCommands(context, s.fetching, commands)
    GraphCommands(context, known, s.parts, s.staging, s.part_stats, commands)
    RunCommands(context, known, s.runs, s.programs, commands)
    ResultCommands(context, known, readings, s.results, s.reading, s.tables, s.searching, s.runs, commands)
    ProgramCommands(context, known, s.programs, commands)
    commands.require_all()
