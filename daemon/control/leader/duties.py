"""The tick leader's decisions: views, where runs resume, when they are over, and which results expire.

It acts on the members' reports. Each report is repeated until the log has an answer to it, so a new leader, which has
received none, soon has them all. A leader proposes each decision once; if the decision is lost, so is the leadership.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from daemon.control.leader.end import ending
from daemon.control.leader.messages import RunReport, StatesHeld
from daemon.control.leader.resume import Made, resumption
from daemon.control.leader.view_policy import Sight, Views
from daemon.state import Registry
from daemon.state.commands import EndRun, ExpireResults, Identity, RaiseVersion, ResumeRun, from_bits
from daemon.state.machine import Command
from daemon.state.records import FAILED, STOPPING, RunRecord


@dataclass(frozen=True, slots=True)
class ResultLimits:
    """Limits on the number of results and on their bytes on any disk; the newest is kept whatever its size."""

    count: int = 16
    bytes: int = 4 << 30

    def over(self, results: Sequence[RunRecord]) -> list[str]:
        """Which of these have to go, the oldest first.

        >>> ResultLimits(count=2).over([])
        []
        """
        kept = size = 0
        for run in reversed(results):
            size += run.result_bytes
            if kept == self.count or (kept and size > self.bytes):
                break
            kept += 1
        return [run.name for run in results[: len(results) - kept]]


class Duty(NamedTuple):
    """Something to propose, once: whatever has the same name is the same decision."""

    name: str
    command: Command


class Leading:
    """The reports that this shard has received, and the decisions that follow from them while it leads."""

    def __init__(self, views: Views, limits: ResultLimits) -> None:
        self.views, self._limits = views, limits
        self._reports: dict[int, dict[str, RunReport]] = {}
        self._states: dict[str, StatesHeld] = {}
        self._proposed: set[str] = set()

    def begin(self) -> None:
        """Somebody leads anew, perhaps this shard: what was heard and proposed before counts no more."""
        self.views.forget()
        self._reports.clear()
        self._states.clear()
        self._proposed.clear()

    def enter_view(self) -> None:
        """Runs end and go on within one view."""
        self._reports.clear()
        self._states.clear()

    def forget_run(self, run: int) -> None:
        """The log has ended a run."""
        self._reports.pop(run, None)

    def hear_report(self, sender: str, report: RunReport) -> None:
        """A run is over at a member of the view."""
        self._reports.setdefault(report.run, {})[sender] = report

    def hear_states(self, sender: str, states: StatesHeld) -> None:
        """Which states a member of the view has."""
        self._states[sender] = states

    @property
    def kept(self) -> Mapping[int, Mapping[str, RunReport]]:
        """Reports of runs that the log has not ended."""
        return self._reports

    def decisions(self, registry: Registry, sight: Sight, founders: Collection[str], now: int) -> list[Duty]:
        """What to propose now."""
        duties: list[Duty] = []
        if sight.version > registry.cluster_version:
            duties.append(Duty(f"raise-version-{sight.version}", RaiseVersion(sight.version)))
        view = self.views.next(registry, sight, founders, now)
        if view is not None:
            duties.append(Duty(f"form-view-{view.epoch}", view))
        if registry.view is not None:
            duties += self._resumptions(registry)
            duties += self._endings(registry)
            duties += self._expiries(registry)
        fresh = [duty for duty in duties if duty.name not in self._proposed]
        self._proposed.update(duty.name for duty in fresh)
        return fresh

    def take_back(self, duty: Duty) -> None:
        """The log could not take it now (leadership is being handed over, perhaps in vain): it is still to be done."""
        self._proposed.discard(duty.name)

    def _resumptions(self, registry: Registry) -> Iterable[Duty]:
        assert registry.view is not None
        waiting = registry.waiting_runs()
        if not waiting or any(self._epoch_of(name) != registry.epoch for name in registry.view.names):
            return
        for run in waiting:
            reports = {name: _states_of(self._states[name], run) for name in registry.view.names}
            (tick, origin), sources = resumption(registry.placements[run.graph], reports)
            said = [dict(self._states[name].reached).get(run.number, 0) for name in registry.view.names]
            reached = max(tick, run.reached, *said)
            resumed = ResumeRun(run.name, registry.epoch, tick, sources, reached, origin)
            yield Duty(f"resume-{run.name}-{registry.epoch}", resumed)

    def _epoch_of(self, name: str) -> int:
        states = self._states.get(name)
        return states.epoch if states is not None else 0

    def _endings(self, registry: Registry) -> Iterable[Duty]:
        assert registry.view is not None
        for run in registry.active_runs():
            decided = ending(run.name, registry.view.names, self._reports.get(run.number, {}))
            if decided is None and run.state == STOPPING and registry.lost(run.graph):
                why = f"it was stopped while its graph was halted: {len(registry.lost(run.graph))} partitions are lost"
                decided = EndRun(run.name, FAILED, run.resumed, why, 0)
            if decided is not None:
                yield Duty(f"end-{run.name}-{registry.epoch}", decided)  # rejected if the view changes first

    def _expiries(self, registry: Registry) -> Iterable[Duty]:
        names = self._limits.over(registry.kept_results())
        if names:
            yield Duty(f"expire-{names[-1]}", ExpireResults(tuple(names)))


def _states_of(states: StatesHeld, run: RunRecord) -> dict[Made, frozenset[int]]:
    """Without those that a disk has from before the run began: its number was another run's then."""
    return {
        (held.tick, held.epoch): from_bits(held.partitions)
        for held in states.states
        if held.run == run.number and held.epoch >= run.begun_in
    }


def sight_of(records: Iterable[tuple[Identity, bool]], registry: Registry, version: int = 0) -> Sight:
    """From membership's records, each with whether it is live. Old news of a shard's former life convicts nobody."""
    known = {member.name: member.generation for member in registry.view.members} if registry.view else {}
    alive, gone = {}, set()
    for shard, live in records:
        if live:
            alive[shard.name] = shard.generation
        elif shard.generation >= known.get(shard.name, 0):
            gone.add(shard.name)
    return Sight(alive, gone, version)
