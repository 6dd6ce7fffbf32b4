"""The tick leader's decisions: views, where runs resume, when they end, and which results expire.

The leader acts on the members' reports. Members repeat each report until the log answers it, so a new leader soon has
them all. A leader proposes each decision once: it loses a proposal only together with its leadership.
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
    """Limits on the number of results and on their bytes on any disk; the newest stays whatever its size."""

    count: int = 16
    bytes: int = 4 << 30

    def over(self, results: Sequence[RunRecord]) -> list[str]:
        """Returns the results that have to go, oldest first.

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
    """One proposal to make once; equal names mean the same decision."""

    name: str
    command: Command


class Leading:
    """The reports that this shard has received, and the decisions that it makes from them while it leads."""

    def __init__(self, views: Views, limits: ResultLimits) -> None:
        self.views, self._limits = views, limits
        self._reports: dict[int, dict[str, RunReport]] = {}
        self._states: dict[str, StatesHeld] = {}
        self._proposed: set[str] = set()

    def begin(self) -> None:
        """Discards all reports and proposals, because the leadership has changed."""
        self.views.forget()
        self._reports.clear()
        self._states.clear()
        self._proposed.clear()

    def enter_view(self) -> None:
        """Discards reports of the previous view: runs end and resume within one view."""
        self._reports.clear()
        self._states.clear()

    def forget_run(self, run: int) -> None:
        """Discards reports of a run that the log has ended."""
        self._reports.pop(run, None)

    def hear_report(self, sender: str, report: RunReport) -> None:
        """Takes a member's report that a run is over."""
        self._reports.setdefault(report.run, {})[sender] = report

    def hear_states(self, sender: str, states: StatesHeld) -> None:
        """Takes a member's report of the states that it holds."""
        self._states[sender] = states

    @property
    def kept(self) -> Mapping[int, Mapping[str, RunReport]]:
        """Reports of runs that the log has not ended yet."""
        return self._reports

    def decisions(self, registry: Registry, sight: Sight, founders: Collection[str], now: int) -> list[Duty]:
        """Returns what to propose now."""
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
        """Makes a duty due again: the log could not take it now (a leadership transfer is under way, and may fail)."""
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
    """Leaves out states older than the run: another run had its number then."""
    return {
        (held.tick, held.epoch): from_bits(held.partitions)
        for held in states.states
        if held.run == run.number and held.epoch >= run.begun_in
    }


def sight_of(records: Iterable[tuple[Identity, bool]], registry: Registry, version: int = 0) -> Sight:
    """Builds a sight from membership's records (shard, is live). Records of former lives don't count as departures."""
    known = {member.name: member.generation for member in registry.view.members} if registry.view else {}
    alive, gone = {}, set()
    for shard, live in records:
        if live:
            alive[shard.name] = shard.generation
        elif shard.generation >= known.get(shard.name, 0):
            gone.add(shard.name)
    return Sight(alive, gone, version)
