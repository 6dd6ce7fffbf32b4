"""Pages: bounded in width, plain off a terminal, and never a traceback for a field that is missing."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.admin.pages.page import Page
from daemon.admin.render import RENDERERS, render

EXAMPLES: dict[str, dict[str, Any]] = {
    "status": {
        "shard": "a", "generation": 3, "version": "0.1.0", "cluster": "c", "epoch": 4, "leader": "b", "term": 2,
        "state": "joined", "members": {"alive": 3, "dead": 1, "left": 0}, "graphs": 1, "runs": {"running": 1},
        "uptime_seconds": 3725.0, "pid": 7,
    },
    "barrier": {
        "runs": [{
            "run": "pagerank-1", "tick": 7, "phase": "sense", "entries": {"a": 28, "b": 27}, "missing": ["b"],
            "waiting_seconds": 2.5, "doing": {"b": "kernel gather, 2.4 s"},
        }]
    },
    "run show": {
        "run": "pagerank-1", "program": "pagerank", "graph": "g", "params": {"damping": 0.85}, "state": "running",
        "tick": 7, "ticks": 20, "phase": "sense", "error": None, "seconds": 1.5,
        "shards": {"a": {"tick": 7, "phase": "sense", "doing": "waiting for b", "seconds": 0.01}},
        "last_tick": {
            "tick": 7, "phases": {"sense": {"a": 0.0004, "b": 0.0003}, "act": {"a": 0.0001, "b": 0.0012}},
            "cross_bytes": 3_072,
        },
        "figures": {"reached": 12_000, "mass": 0.5}, "totals": {"nodes": 68_000, "edges": 400_000},
    },
    "run step": {
        "run": "r", "tick": 2, "phases": {"act": {"a": 0.0004, "b": 0.5}, "advance": {"a": 0.1}}, "cross_bytes": 3_072,
    },
    "backup": {
        "shard": "a", "dir": "/b", "bytes": 4_096, "epoch": 2, "seconds": 0.25,
        "graphs": [{"graph": "g", "nodes": 3_000, "edges": 2, "partitions": 64}],
        "runs": [{"run": "r", "graph": "g", "state": "running", "tick": 4}],
    },
    "members": {
        "members": [{
            "name": "a", "generation": 3, "state": "suspect", "incarnation": 1, "control": "tcp://10.0.0.1:7101",
            "ticks": "tcp://10.0.0.1:7102", "in_view": False, "tags": {"zone": "x"},
        }]
    },
    "run result": {
        "run": "r", "column": "rank", "tick": 7, "digest": "d1", "count": 3, "rows": [{"id": "a", "value": 0.1 + 0.2}],
    },
    "run ticks": {"run": "r", "state": "running", "tick": 9, "ticks": [4, 8]},
    "run rows": {"run": "r", "tick": 7, "first": 0, "count": 2, "total": 3_000, "columns": {"rank": {}, "parent": {}}},
    "ghosts": {"graphs": [{"graph": "g", "own": 10_000, "ghosts": 3, "by_owner": {"b": 3}, "tick": 1}]},
    "graph show": {"graph": "g", "state": "ready", "nodes": 3, "edges": 2_000, "directed": False, "partitions": 64},
    "graph list": {"graphs": [{"graph": "g", "state": "ready", "nodes": 3, "edges": 2, "directed": True}]},
    "drain": {"shard": "a", "state": "drained", "partitions": 31, "bytes": 8_733_580, "seconds": 1.08158},
    "program list": {"programs": [{
        "name": "sssp", "params": [{"name": "source", "default": None}, {"name": "weight", "default": "weight"}],
    }]},
    "ring": {"virtual_nodes": 150, "partitions": [{"partition": 0, "primary": "a", "replicas": ["b", "c"]}]},
    "view": {"epoch": 4, "members": ["a", "b"], "leader": "a", "partitions": 64, "placement": {"a": 30, "b": 34}},
}  # fmt: skip


@pytest.mark.parametrize(
    ("command", "lines"),
    [
        ("status", ["shard    a (generation 3)", "leader   b (term 2)", "members  3 alive, 1 dead", "up       1h 2m"]),
        ("barrier", ["pagerank-1  tick 7  phase sense  waiting 2.5 s for b"]),
        (
            "run show",
            [
                "tick       7 of 20",
                "time       1.5 s",
                "last tick  7: sense 0.4 ms, act 1.2 ms where it took longest; 3,072 bytes between shards",
                "reached    12,000",
                "mass       0.5",
                "nodes      68,000",
            ],
        ),
        ("run step", ["bytes between shards  3,072", "SHARD ACT    ADVANCE", "a     0.4 ms 100 ms", "b     500 ms -"]),
        ("backup", ["folder  /b on the machine of a", "g     3,000     2         64", "r   g     running    4"]),
        ("run result", ["a  0.30000000000000004", "1 of 3 values after tick 7, digest d1"]),
        ("run ticks", ["can be read at  4, 8"]),
        ("run rows", ["rows     2 of 3,000", "columns  rank, parent"]),
        ("view", ["b      34"]),
        ("drain", ["partitions  31", "bytes       8,733,580", "took        1.08 s"]),
        ("program list", ["sssp    -      -      -            source, weight=weight -"]),
        ("graph show", ["edges         2,000", "directed      no"]),
        ("graph list", ["g     ready     3     2 yes               -"]),
    ],
)
def test_what_a_page_says(command: str, lines: list[str]) -> None:
    page = render(command, EXAMPLES[command])
    for line in lines:
        assert line in page.splitlines()


def test_messages_of_another_cluster_show_in_members_and_status() -> None:
    others = [
        {"cluster": "a6ff", "name": "b\x1b[2J", "address": "10.0.0.7", "messages": 1_200, "seconds_ago": 3.0},
    ]
    said = r"'b\x1b[2J' at 10.0.0.7 belongs to another cluster, founded as a6ff: 1,200 messages, the last 3 s ago"
    status = render("status", {**EXAMPLES["status"], "founding": "05c1", "other_clusters": others}, Page(200))
    assert said in status
    assert "(founded as 05c1)" in status
    assert f"refused: {said}" in render("members", {**EXAMPLES["members"], "other_clusters": others}, Page(200))
    assert "refused" not in render("members", EXAMPLES["members"])


def test_versions_show_in_members_and_where_they_differ_in_the_status() -> None:
    versions = [
        {"version": "0.1.0", "oldest": 4, "newest": 5, "members": ["a", "c"]},
        {"version": None, "oldest": None, "newest": None, "members": ["b"]},
    ]
    status = render("status", {**EXAMPLES["status"], "versions": versions})
    assert "versions differ  a, c: 0.1.0 (cluster version 4 to 5)" in status
    assert "versions differ  b: not said" in status
    assert "differ" not in render("status", {**EXAMPLES["status"], "versions": versions[:1]})
    (row,) = EXAMPLES["members"]["members"]  # type: ignore[misc]
    tags = {"zone": "x", "version": "0.1.0 2 1"}
    told = {**row, "version": "0.1.0", "oldest": 4, "newest": 5, "tags": tags}
    page = render("members", {"members": [told]}, Page(200))
    assert "0.1.0 (cluster version 4 to 5)" in page
    assert "0.1.0 2 1" not in page


def test_what_a_shard_waits_for_shows_in_the_status() -> None:
    assert "waiting" not in render("status", EXAMPLES["status"])
    page = render("status", {**EXAMPLES["status"], "waiting": "for c"}, Page(120))
    assert "waiting  for c" in page.splitlines()


def test_why_a_shard_does_not_serve_shows_in_the_status() -> None:
    why = {"ready": False, "ready_detail": "not in view 4: `status` of b, its leader, shows which shards it holds back"}
    assert f"not ready  {why['ready_detail']}" in render("status", {**EXAMPLES["status"], **why}, Page(120))
    assert "not ready" not in render("status", {**EXAMPLES["status"], **why, "ready": True}, Page(120))


def test_trouble_shows_in_the_status_and_only_then() -> None:
    halted = [{"graph": "g", "partitions": [3, 4, 5, 9], "shards": ["b", "c"]}, {"graph": "h", "partitions": [0]}]
    repair = {"done": 3, "total": 40, "bytes": 123_456}
    page = render("status", {**EXAMPLES["status"], "majority": False, "halted": halted, "repair": repair}, Page(120))
    lines = [" ".join(line.split()) for line in page.splitlines()]
    assert "majority no: this side can't make decisions or commit ticks" in lines
    assert "halted g: no live copy of partitions 3-5, 9; held by b, c" in lines
    assert "halted h: no live copy of partition 0; held by no known shard" in lines
    assert "repair 3 of 40 copies restored, 123,456 bytes" in lines
    well = render("status", {**EXAMPLES["status"], "majority": True, "halted": [], "repair": {"done": 0, "total": 0}})
    assert "majority  yes" in well.splitlines()
    assert "halted" not in well
    assert "repair" not in well
    assert "majority" not in render("status", EXAMPLES["status"])


@pytest.mark.parametrize("command", sorted(EXAMPLES))
@pytest.mark.parametrize("width", [40, 80, 200])
def test_nothing_is_wider_than_the_page(command: str, width: int) -> None:
    assert max(map(len, render(command, EXAMPLES[command], Page(width)).splitlines())) <= width


@pytest.mark.parametrize("command", [*sorted(RENDERERS), "no such command"])
def test_fields_that_are_missing_or_odd_are_no_error(command: str) -> None:
    render(command, {})
    for key in ("members", "runs", "graphs", "partitions", "programs", "rows", "commands", "shards"):
        render(command, {key: [{}]} if key != "shards" else {"shards": {"a": {}}})
        render(command, {key: None})


def test_colour_is_for_those_who_ask() -> None:
    assert "\x1b[" not in render("members", EXAMPLES["members"])
    assert "\x1b[" in render("members", EXAMPLES["members"], Page(100, colour=True))


def test_a_name_cannot_steer_the_terminal() -> None:
    page = render("members", {"members": [{"name": "a\x1b[2J\r\nb[bold]x[/bold]"}]})
    assert r"a\x1b[2J\r\nb[bold]x[/bold]" in page


def test_empty_lists_are_said_in_words() -> None:
    assert render("run list", {"runs": []}) == "no runs"
    assert render("barrier", {"runs": []}) == "no run is active"
    assert render("graph drop", {}) == "done"


def test_a_result_without_a_page_of_its_own_is_shown_in_tables() -> None:
    page = render("of tomorrow", {"epoch": 7, "is_new": True, "locks": [{"lock": "a", "waiting": 3}], "none": []})
    assert [line.split() for line in page.splitlines()] == [
        ["epoch", "7"], ["is", "new", "yes"], ["none", "-"], [], ["LOCK", "WAITING"], ["────────────"], ["a", "3"],
    ]  # fmt: skip
    assert render("of tomorrow", {}) == "done"
