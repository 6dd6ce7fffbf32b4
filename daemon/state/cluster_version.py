"""Applies the command that raises the cluster version: what shards may write from then on (`wire/version`)."""

from __future__ import annotations

from typing import Final

from daemon.state.announcements import VersionRaised
from daemon.state.commands import RaiseVersion
from daemon.state.machine import Applied, CommandRejected, Outcome, handler
from daemon.state.registry import Registry


def raise_version(registry: Registry, command: RaiseVersion, at: Applied) -> Outcome:
    """Raises the version, which never falls: older versions could not read what was written since."""
    if command.version <= registry.cluster_version:
        raise CommandRejected(f"the cluster version is {registry.cluster_version} already, and is never lowered")
    registry.cluster_version = command.version
    return Outcome("", [VersionRaised(command.version)])


COMMANDS: Final = (handler(16, RaiseVersion, raise_version),)
