"""Applies the log's next command once, or rejects it, and announces the consequences."""

from __future__ import annotations

import traceback
from typing import Final, assert_never

from daemon.state.announcements import Announcement, Decided, NotApplied, Outcome, ProgramDeployed, ProgramRemoved
from daemon.state.backup import take_backup
from daemon.state.cluster_version import raise_version
from daemon.state.commands import (
    AddGraph,
    AddProgram,
    CommandRejected,
    Decision,
    Drain,
    DropGraph,
    DropParts,
    DropProgram,
    EndRun,
    ExpireResults,
    FormView,
    HoldParts,
    RaiseVersion,
    Restore,
    ResumeRun,
    Settled,
    StartRun,
    StopRun,
)
from daemon.state.graphs import add_graph, drop_graph
from daemon.state.holdings import drop_parts, hold_parts
from daemon.state.registry import Registry
from daemon.state.runs import end_run, expire_results, resume_run, start_run, stop_run
from daemon.state.views import drain, form_view, settle

BREAKAGE: Final = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of the command and the registry alone, and so is the same on every shard; memory that runs out is not."""


def apply(registry: Registry, decision: Decision) -> list[Announcement]:
    """Apply the next command of the log; one that was applied before (it was proposed twice) changes nothing."""
    if decision.request in registry.recent:
        return []
    registry.recent.append(decision.request)
    before = registry.kept()
    try:
        name, announcements = _outcome(registry, decision)
    except CommandRejected as declined:
        registry.put_back(before)
        return [Decided(decision.request, str(declined), "")]
    except BREAKAGE as error:
        registry.put_back(before)
        broken = NotApplied(type(decision).__name__, traceback.format_exc())
        return [broken, Decided(decision.request, f"it can't be applied: {type(error).__name__}: {error}", "")]
    finally:
        registry.changed()
    return [*announcements, Decided(decision.request, "", name)]


def _outcome(registry: Registry, decision: Decision) -> Outcome:
    match decision:
        case FormView():
            return form_view(registry, decision)
        case AddGraph():
            return add_graph(registry, decision)
        case DropGraph():
            return drop_graph(registry, decision)
        case StartRun():
            return start_run(registry, decision)
        case StopRun():
            return stop_run(registry, decision)
        case EndRun():
            return end_run(registry, decision)
        case ExpireResults():
            return expire_results(registry, decision)
        case HoldParts():
            return hold_parts(registry, decision)
        case DropParts():
            return drop_parts(registry, decision)
        case Drain():
            return drain(registry, decision)
        case ResumeRun():
            return resume_run(registry, decision)
        case Settled():
            return settle(registry, decision)
        case Restore():
            return take_backup(registry, decision)
        case AddProgram():
            version = registry.programs.add(decision, registry.runs.values())
            return version.name, [ProgramDeployed(version)]
        case DropProgram():
            version = registry.programs.drop(decision.name, registry.runs.values())
            return version.name, [ProgramRemoved(version)]
        case RaiseVersion():
            return raise_version(registry, decision)
        case _:
            assert_never(decision)
