"""Pages about the cluster: its state, its view and ring, and its members."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from daemon.admin.pages.page import (
    Page,
    Result,
    count,
    drawn,
    duration,
    facts,
    grid,
    listing,
    map_of,
    rows_of,
)


def status(result: Result, page: Page) -> str:
    """A shard's own state."""
    members = map_of(result, "members")
    runs = map_of(result, "runs")
    return drawn(
        page,
        facts(
            [
                ("shard", f"{result.get('shard', '-')} (generation {result.get('generation', '-')})"),
                ("state", result.get("state")),
                ("cluster", _founded(result)),
                *([("waiting", result["waiting"])] if result.get("waiting") else _not_ready(result)),
                ("epoch", result.get("epoch")),
                ("leader", f"{result.get('leader') or 'none'} (term {result.get('term', '-')})"),
                *_majority(result),
                ("members", ", ".join(f"{n} {state}" for state, n in members.items() if n) or "none"),
                *_versions(result),
                *_version_held(result),
                *(("refused", line) for line in _other_clusters(result)),
                ("graphs", result.get("graphs")),
                *_halted(result),
                *_held_back(result),
                *_repair(result),
                *_disk(result),
                ("runs", ", ".join(f"{n} {state}" for state, n in runs.items() if n) or "none"),
                ("up", duration(result.get("uptime_seconds"))),
                ("version", f"{result.get('version', '-')}{_cluster_version(result)} (pid {result.get('pid', '-')})"),
            ]
        ),
    )


def _cluster_version(result: Result) -> str:
    return f", cluster version {result['cluster_version']}" if result.get("cluster_version") else ""


def _founded(result: Result) -> Any:
    name, founding = result.get("cluster"), result.get("founding")
    return f"{name} (founded as {founding})" if founding else name


def _not_ready(result: Result) -> list[tuple[str, Any]]:
    """Why a shard that belongs to a cluster is not ready."""
    return [("not ready", result["ready_detail"])] if result.get("ready") is False else []


def _other_clusters(result: Result) -> list[str]:
    """Members of other clusters that send messages to this shard, one per line."""
    return [
        f"{row.get('name', '-')!r} at {row.get('address') or 'an unknown address'} belongs to another cluster, founded"
        f" as {row.get('cluster', '-')}: {count(row.get('messages'))} messages, the last"
        f" {duration(row.get('seconds_ago'))} ago"
        for row in rows_of(result, "other_clusters")
    ]


def members(result: Result, page: Page) -> str:
    """The known members, and senders that belong to another cluster."""
    columns = ("name", "generation", "state", "incarnation", "in_view", "control", "ticks", "version", "tags")
    others = _other_clusters(result)
    rows = [
        {**row, "version": _version(row), "tags": _without_version(map_of(row, "tags"))}
        for row in rows_of(result, "members")
    ]
    table = listing("members", columns, ("generation", "incarnation"))({"members": rows}, page)
    return "\n".join([table.rstrip(), *([""] if others else []), *(f"refused: {line}" for line in others)])


def _without_version(tags: Mapping[str, Any]) -> dict[str, Any]:
    """The tags without the version, which has a column of its own."""
    return {name: value for name, value in tags.items() if name != "version"}


def _versions(result: Result) -> list[tuple[str, Any]]:
    """The members of each version, one version per line, if they differ."""
    rows = rows_of(result, "versions")
    if len(rows) < 2:
        return []
    return [("versions differ", f"{', '.join(map(str, row.get('members') or ()))}: {_version(row)}") for row in rows]


def _version_held(result: Result) -> list[tuple[str, Any]]:
    """The shards that hold the cluster version down, one per line."""
    return [
        (
            "version held",
            f"at {result.get('cluster_version', '-')} by {row.get('shard', '-')}: {row.get('reason', '-')}",
        )
        for row in rows_of(result, "version_held")
    ]


def _version(row: Result) -> str:
    if not row.get("version"):
        return "not said"
    oldest, newest = count(row.get("oldest")), count(row.get("newest"))
    return f"{row['version']} (cluster version {oldest if oldest == newest else f'{oldest} to {newest}'})"


def _majority(result: Result) -> list[tuple[str, Any]]:
    found = result.get("majority")
    if not isinstance(found, bool):
        return []
    return [("majority", "yes" if found else "no: this side can't make decisions or commit ticks")]


def _halted(result: Result) -> list[tuple[str, Any]]:
    """Graphs that lack partitions, one per line, with the shards whose disks have to return."""
    return [
        (
            "halted",
            f"{row.get('graph', '-')}: no live copy of {_partitions(row.get('partitions'))}; "
            f"held by {', '.join(map(str, row.get('shards') or ())) or 'no known shard'}",
        )
        for row in rows_of(result, "halted")
    ]


def _held_back(result: Result) -> list[tuple[str, Any]]:
    """Flapping members, one per line."""
    return [
        (
            "held back",
            f"{row.get('shard', '-')}: left {count(row.get('departures'))} times recently; held back "
            f"for {duration(row.get('seconds'))} more",
        )
        for row in rows_of(result, "held_back")
    ]


def _repair(result: Result) -> list[tuple[str, Any]]:
    repair = map_of(result, "repair")
    if not repair.get("total"):
        return []
    done, total = count(repair.get("done")), count(repair.get("total"))
    waits = [("repair", f"waits for room: {repair['waits']}")] if repair.get("waits") else []
    return [("repair", f"{done} of {total} copies restored, {count(repair.get('bytes'))} bytes"), *waits]


def _disk(result: Result) -> list[tuple[str, Any]]:
    disk = map_of(result, "disk")
    if not disk:
        return []
    told = {"full": ": FULL, only decisions are written", "low": ": filling up"}.get(disk.get("state", ""), "")
    return [("disk", f"{count(disk.get('free'))} of {count(disk.get('total'))} bytes free{told}")]


def _partitions(numbers: Any) -> str:
    """Partitions by number, consecutive ones as a range.

    >>> _partitions([3, 4, 5, 9]), _partitions([7]), _partitions(None)
    ('partitions 3-5, 9', 'partition 7', 'its partitions')
    """
    found = sorted({n for n in numbers if isinstance(n, int)}) if isinstance(numbers, (list, tuple)) else []
    if not found:
        return "its partitions"
    ranges: list[list[int]] = []
    for number in found:
        if ranges and number == ranges[-1][-1] + 1:
            ranges[-1][1:] = [number]
        else:
            ranges.append([number])
    return f"partition{'s' * (len(found) > 1)} " + ", ".join("-".join(map(str, each)) for each in ranges)


def view(result: Result, page: Page) -> str:
    """The members of the view, and the number of partitions that each computes."""
    placement = map_of(result, "placement")
    head = facts(
        [("epoch", result.get("epoch")), ("leader", result.get("leader")), ("partitions", result.get("partitions"))]
    )
    return drawn(
        page,
        head,
        "",
        grid(["member", "partitions"], [(m, placement.get(str(m))) for m in result.get("members") or ()]),
    )


def ring(result: Result, page: Page) -> str:
    """The holders of each partition."""
    head = facts([("virtual nodes", result.get("virtual_nodes"))])
    rows = [(row.get("partition"), row.get("primary"), row.get("replicas")) for row in rows_of(result, "partitions")]
    return drawn(page, head, "", grid(["partition", "primary", "replicas"], rows, ["partition"]))


def barrier(result: Result, page: Page) -> str:
    """For each run, the shards that have reached the barrier, those that are missing, and what they are doing."""
    parts: list[Table | str] = []
    for run in rows_of(result, "runs"):
        missing, doing = run.get("missing") or [], map_of(run, "doing")
        head = f"{run.get('run', '-')}  tick {run.get('tick', '-')}  phase {run.get('phase', '-')}"
        wait = f"  waiting {duration(run.get('waiting_seconds'))} for {', '.join(missing)}" if missing else ""
        rows = [
            (shard, phases, "missing" if shard in missing else "there", doing.get(shard))
            for shard, phases in map_of(run, "entries").items()
        ]
        parts += [head + wait, grid(["shard", "phases", "barrier", "doing"], rows, ["phases"]), ""]
    return drawn(page, *parts) if parts else "no run is active"


def backup(result: Result, page: Page) -> str:
    """A backup's content and location."""
    head = facts(
        [
            ("folder", f"{result.get('dir', '-')} on the machine of {result.get('shard', '-')}"),
            ("bytes", count(result.get("bytes"))),
            ("epoch", result.get("epoch")),
            ("took", duration(result.get("seconds"))),
        ]
    )
    parts: list[Table | str] = [head]
    if graphs := rows_of(result, "graphs"):
        rows = [(g.get("graph"), *(count(g.get(key)) for key in ("nodes", "edges", "partitions"))) for g in graphs]
        parts += ["", grid(["graph", "nodes", "edges", "partitions"], rows, ["nodes", "edges", "partitions"])]
    if runs := rows_of(result, "runs"):
        rows = [tuple(run.get(key) for key in ("run", "graph", "state", "tick")) for run in runs]
        parts += ["", grid(["run", "graph", "state", "tick"], rows, ["tick"])]
    return drawn(page, *parts)


def handed_over(result: Result, page: Page) -> str:
    """A shard that has drained or left, and what others have taken over."""
    return drawn(
        page,
        facts(
            [
                ("shard", result.get("shard")),
                ("state", result.get("state")),
                ("partitions", count(result.get("partitions"))),
                ("bytes", count(result.get("bytes"))),
                ("took", duration(result.get("seconds"))),
            ]
        ),
    )
