"""Creates the services of a shard, each with the others that it builds upon."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from daemon.runtime.context import HostContext
from daemon.runtime.former_lives import FormerLives
from daemon.runtime.guard import Guard
from daemon.runtime.service import Service, ServiceTables
from daemon.services.backup.restore import RestoredPieces
from daemon.services.cluster.disk_room import DiskRoom
from daemon.services.cluster.journal import Journal
from daemon.services.cluster.snapshots import Snapshots
from daemon.services.cluster.view_change import ViewChange
from daemon.services.graphs.fetch import Fetching
from daemon.services.graphs.part_stats import PartStats
from daemon.services.graphs.parts import Parts
from daemon.services.graphs.pieces import Pieces
from daemon.services.graphs.present import PresentParts
from daemon.services.graphs.repair import Repair
from daemon.services.graphs.slices import Slices
from daemon.services.graphs.staging import Staging
from daemon.services.programs.programs import Programs
from daemon.services.results.checkpoint_index import CheckpointIndex
from daemon.services.results.reading import Reading
from daemon.services.results.results import Results
from daemon.services.results.search import Searching
from daemon.services.results.tables import Tables
from daemon.services.runs.controller import RunController
from daemon.services.runs.overdue import OverdueRuns


class Services:
    """Those of one host. `guard` and `former_lives` know what programs did to this process, and to those before it."""

    def __init__(self, context: HostContext, guard: Guard, former_lives: FormerLives) -> None:
        self.context = context
        self._guard, self._slices = guard, Slices(context.disk)
        self.parts = Parts(context, self._slices)
        self.staging = Staging(context, self.parts, self._slices)
        self.pieces = Pieces(context, self.staging)
        self.part_stats = PartStats(context, self.parts)
        self.fetching = Fetching(context)
        self.repair = Repair(context, self._slices, self.fetching)
        self.programs = Programs(context, guard, former_lives)
        self.results = Results(context, self.fetching, self.programs)
        self.runs = RunController(context, self.parts, self.fetching, self.programs, self.results.keep)
        self.checkpoint_index = CheckpointIndex(context, self.runs)
        present = PresentParts(context, self.parts)
        self.reading = Reading(context, present, self.programs, self.results, self.checkpoint_index)
        self.tables = Tables(context, present, self.programs, self.results)
        self.searching = Searching(context, present)
        self.view_change = ViewChange(context, self.parts)
        self.disk_room = DiskRoom(context)

    def in_tables(self, messages: Collection[type]) -> ServiceTables:
        """Returns the service of each type. Raises `BadComposition`.

        Their order is that in which they hear of one event: parts and results before those who build upon them, and
        what is looked for on the disk after what is deleted there.
        """
        services: list[Service[Any, Any]] = [
            Journal(self.context),
            self.programs,
            self.staging,
            self.pieces,
            self.part_stats,
            self.fetching,
            self.results,
            self.checkpoint_index,
            self.reading,
            self.tables,
            self.searching,
            self.view_change,
            self.runs,
            OverdueRuns(self.context, self._guard.start_again),
            self.repair,
            self.disk_room,
            Snapshots(self.context),
            RestoredPieces(self.context, self.staging, self.pieces),
        ]
        return ServiceTables(services, messages)
