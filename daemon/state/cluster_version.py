"""Applies the command that raises the cluster version: what all shards may write from then on (`daemon/version`)."""

from __future__ import annotations

from daemon.state.announcements import Outcome, VersionRaised
from daemon.state.commands import CommandRejected, RaiseVersion
from daemon.state.registry import Registry


def raise_version(registry: Registry, decision: RaiseVersion) -> Outcome:
    """It never falls: what was written since could not be read any more."""
    if decision.version <= registry.cluster_version:
        raise CommandRejected(f"the cluster version is {registry.cluster_version} already, and is never lowered")
    registry.cluster_version = decision.version
    return "", [VersionRaised(decision.version)]
