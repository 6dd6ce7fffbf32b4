"""What a shard that is in no view yet waits for, in words: for the log, the service manager and `status`."""

from __future__ import annotations

from daemon.runtime.context import ClusterState


def why_waiting(shard: ClusterState, expect: int) -> str:
    """One sentence; empty for a shard that is in the view, or was."""
    known = len(shard.membership.live())
    if shard.trust.lost:
        lone = "; or, if it was all of its cluster, start it once with --accept-loss" if known == 1 else ""
        return (
            f"this shard's disk went back to an earlier state ({shard.trust.lost}), so it has no vote: it comes back as"
            " a new disk as soon as the others have a tick leader. If they can't have one without it, more disks are"
            f" lost than the cluster can do without: restore a backup{lone}"
        )
    holder = shard.membership.claims.holder
    if holder and not shard.in_view:
        return (
            f"another daemon runs under this shard's name, at {holder}: this one waits until that one is gone; is it a"
            " copy, or does it need a name and a key of its own?"
        )
    if shard.kept_out and not shard.in_view:
        return shard.kept_out
    if shard.registry.cluster:
        return ""
    if shard.awaited_founders:
        missing, promised = ", ".join(shard.awaited_founders), ", ".join(shard.promised_founders)
        return (
            f"this shard has promised to found a cluster with {promised}, and waits for {missing} to promise the same:"
            " start what is missing, with its disk; only if that disk is gone for good, stop those who wait for it,"
            " move their data folders away and start them again"
        )
    if shard.founding:
        return f"there is a cluster, founded as {shard.founding}, whose leader has yet to let this shard in"
    if shard.raft is not None:
        return (
            "this shard waits to be let in by a cluster that it has seen before, and sees none: do cluster.seeds run?"
        )
    if shard.waits_to_be_let_in:
        return (
            "this shard founds no cluster by itself, for it has seeds and cluster.expect is 1; it waits to be let in."
            " To found one, set cluster.expect on all to how many shall, or say `shoalctl found` on one of them"
        )
    return (
        f"{known} of the {expect} shards that are to found the cluster are here: do the others run, do cluster.seeds"
        " lead to them, is this shard's key among their allowed ones, and theirs among ours?"
    )
