"""Runs the trials one after the other: on one cluster until a failure, then on a new one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Final

import shoal
from chaos import disks, nets
from chaos.disks import SmallDisk
from chaos.faults import Ground
from chaos.fleet import Fleet, FleetFailed
from chaos.floor import Floor, detection
from chaos.nets import Nets, NetsFailed
from chaos.options import NETWORK, Options
from chaos.plan import plan
from chaos.trial import Case, Outcome, Trial
from daemon.membership.config import MembershipConfig
from shoal.api.errors import ShoalError

DATA: Final = Path(__file__).parent.parent / "examples" / "data" / "debian"
GRAPH: Final = "debian"
RESTLESS: Final[dict[str, Any]] = {"damping": 0.999}
"""Far from converged after a thousand ticks: with the usual 0.85 one tick more or less would not change the digest."""
COMPONENTS_EVERY: Final = 4
"""Every fourth run computes components; its few, long ticks say little about recovery."""
FAILURES_MAX: Final = 3
"""After this many, more failures would tell nothing new."""

SLACK: Final = 2.0
"""Multiples of the undisturbed time that a disturbed run may take beyond the bound, since it repeats some ticks."""

Progress = Callable[[str], None]


class NothingToDo(Exception):
    """Raised if this machine can't run what was requested; says why."""


@dataclass(slots=True)
class Report:
    """The results of a campaign."""

    options: Options
    notes: list[str] = field(default_factory=list)
    cases: list[Case] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    floor: Floor | None = None

    @property
    def failed(self) -> bool:
        """Whether any run failed, or did not take place."""
        return any(outcome.failures for outcome in self.outcomes) or len(self.outcomes) <= self.options.runs


def possible(options: Options) -> tuple[Options, list[str]]:
    """Returns the options without faults that this machine can't produce, and why."""
    notes = []
    kinds = options.kinds
    for unable, some in ((nets.why_not, NETWORK), (disks.why_not, frozenset({"disk"}))):
        if some & set(kinds) and (why := unable()):
            kinds = tuple(kind for kind in kinds if kind not in some)
            notes.append(f"left out {', '.join(sorted(some & set(options.kinds)))}: {why}")
    if not kinds:
        raise NothingToDo("; ".join(notes))
    return replace(options, kinds=kinds), notes


def reference(data: shoal.GraphData, options: Options) -> list[Case]:
    """Computes the answers in this process and, from their ticks, the pace of the disturbed runs."""
    cases = []
    with shoal.local(options.shards) as session:  # as many, because components take ticks for crossing shards
        graph = session.load(GRAPH, data=data)
        programs: list[tuple[str, str, int | None, dict[str, Any]]]
        programs = [("pagerank", "rank", options.ticks, RESTLESS), ("wcc", "component", None, {})]
        for program, column, ticks, params in programs:
            run = graph.run(program, **params) if ticks is None else graph.run(program, ticks=ticks, **params)
            pace, digest = options.seconds / max(1, run.tick), run.result(column).digest
            cases.append(Case(program, column, ticks, pace, digest, params, measured=ticks is not None))
    return cases


class Campaign:
    """A campaign, between its options and its table. `report` grows while it runs."""

    def __init__(self, options: Options, folder: Path, progress: Progress) -> None:
        self._folder, self._progress = folder, progress
        self._options, notes = possible(options)
        self.report = Report(self._options, notes)
        own = bool(NETWORK & set(self._options.kinds))
        self._own_networks = own
        notes.append(
            f"{self._options.shards} daemons {'in a network namespace each' if own else 'on loopback'}, CURVE, "
            f"{self._options.replicas} replicas, {'default' if self._options.defaults else 'dev'} timings"
        )

    def run(self) -> None:
        """Runs the whole campaign."""
        self._progress("computing the answers in this process")
        data = shoal.read_graph(nodes=DATA / "nodes.csv.gz", edges=DATA / "edges.csv.gz")
        self.report.cases = reference(data, self._options)
        clusters = 0
        while len(self.report.outcomes) <= self._options.runs and self._failures() < FAILURES_MAX:
            clusters += 1
            try:
                with self._cluster(clusters, data) as ground:
                    self._runs_on(ground)
            except (FleetFailed, NetsFailed, ShoalError) as error:
                self.report.outcomes.append(Outcome("start", failures=[f"cluster {clusters}: {error}"]))
                return  # if it does not even start, it will not start next time

    def _failures(self) -> int:
        return sum(bool(outcome.failures) for outcome in self.report.outcomes)

    def _runs_on(self, ground: Ground) -> None:
        """Performs one run after the other, the first undisturbed, until all are done or one has failed."""
        self._note_floor(ground.fleet)
        while len(self.report.outcomes) <= self._options.runs:
            number = len(self.report.outcomes)
            random = Random(f"{self._options.seed}/{number}")
            case = self.report.cases[number % COMPONENTS_EVERY == COMPONENTS_EVERY - 1]
            planned = plan(random, self._options, ground.disk_of) if number else []
            words = ", ".join(map(str, planned)) or "undisturbed"
            self._progress(f"run {number} of {self._options.runs}: {case.program}, {words}")
            outcome = Trial(ground, case, planned, GRAPH, self._options.bound + SLACK * self._undisturbed()).run()
            self.report.outcomes.append(outcome)
            if outcome.failures:
                return

    def _undisturbed(self) -> float:
        """Returns how long the first run took: on a slow or busy machine, more than its pace requires."""
        first = self.report.outcomes[0].seconds if self.report.outcomes else 0.0
        return max(self._options.seconds, first)

    def _note_floor(self, fleet: Fleet) -> None:
        config = MembershipConfig(**fleet.config.membership.model_dump())
        self.report.floor = detection(config, self._options.shards, self._options.kill_at_once)

    @contextmanager
    def _cluster(self, number: int, data: shoal.GraphData) -> Iterator[Ground]:
        """Runs daemons that hold the graph. They always end; their folder stays."""
        options = self._options
        self._progress(f"starting {options.shards} daemons")
        with ExitStack() as stack:
            folder = self._folder / f"c{number}"
            folder.mkdir()
            networks = None
            if self._own_networks:
                networks = stack.enter_context(Nets(self._folder.name, options.shards, folder, options.seed))
            fleet = Fleet(folder, options.shards, options.replicas, networks, options.defaults)
            ground = Ground(fleet, networks)
            if "disk" in options.kinds:
                ground.disk_of = Random(f"{options.seed}/disk/{number}").randint(1, options.shards)
                ground.disk = SmallDisk(fleet[ground.disk_of].shard.folder / "data")
                stack.callback(ground.disk.close)
            stack.callback(fleet.close)
            fleet.start()
            self._progress("handing the graph to the first daemon")
            with shoal.connect(str(fleet[1].shard.socket), 60.0) as session:
                session.load(GRAPH, data=data)
            yield ground
