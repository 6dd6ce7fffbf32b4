"""Why a shard is not in a view yet, in words: for the log, the service manager and `status`."""

from __future__ import annotations

from daemon.runtime.context import ClusterState


def why_waiting(shard: ClusterState, expect: int) -> str:
    """Returns one sentence; empty for a shard that is or was in the view."""
    known = len(shard.membership.live())
    if shard.trust.lost:
        lone = "; or, if it was the only shard of its cluster, start it once with --accept-loss" if known == 1 else ""
        return (
            f"this shard's disk has reverted to an earlier state ({shard.trust.lost}), so it has no vote: it rejoins as"
            " a new disk as soon as the others have a tick leader. If they can't elect one without it, more disks are"
            f" lost than the cluster can do without: restore a backup{lone}"
        )
    holder = shard.membership.claims.holder
    if holder and not shard.in_view:
        return (
            f"another daemon runs under this shard's name, at {holder}: this one waits until that one has ended; is"
            " it a copy, or does it need another name and key?"
        )
    if shard.kept_out and not shard.in_view:
        return shard.kept_out
    if shard.registry.cluster:
        return ""
    if shard.awaited_founders:
        missing, promised = ", ".join(shard.awaited_founders), ", ".join(shard.promised_founders)
        return (
            f"this shard has promised to found a cluster with {promised}, and waits for {missing} to promise the same:"
            " start the missing shards, with their disks; only if a disk is permanently lost, stop the waiting shards,"
            " move their data folders away and start them again"
        )
    if shard.founding:
        return f"there is a cluster, founded as {shard.founding}, whose leader has not yet admitted this shard"
    if shard.raft is not None:
        return "this shard waits for a cluster that it has seen before, and sees none: are its cluster.seeds running?"
    if shard.waits_to_be_let_in:
        return (
            "this shard does not found a cluster by itself, because it has seeds and cluster.expect is 1; it waits to"
            " be admitted. To found one, set cluster.expect on all shards, or run `shoalctl found` on one of them"
        )
    return (
        f"{known} of the {expect} shards that found the cluster are here: are the others running, do cluster.seeds"
        " name them, do their allowed_keys contain this shard's key, and this shard's theirs?"
    )
