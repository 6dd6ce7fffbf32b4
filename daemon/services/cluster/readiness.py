"""Tells whether a shard serves, and why not."""

from __future__ import annotations

from daemon.runtime.context import ClusterState


def readiness(state: ClusterState) -> tuple[bool, str]:
    """Returns whether this shard serves, and in which view, or why not."""
    if not state.in_view:
        return False, _why_in_no_view(state)
    if state.leader is None:
        return False, "no tick leader is known: without a majority on this side nothing is committed"
    missing = state.missing_members()
    if missing:
        return False, f"members of the view are missing: {', '.join(missing)}"
    return True, f"in view {state.registry.epoch}, led by {state.leader}"


def _why_in_no_view(state: ClusterState) -> str:
    view, leader = state.registry.view, state.leader
    if view is None or leader is None or state.identity.name in state.registry.draining:
        return "not in any view"
    return f"not in view {view.epoch}: `status` of {leader}, its leader, shows which shards it holds back (held_back)"
