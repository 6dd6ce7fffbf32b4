"""What Prometheus and a load balancer see, over real HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from tests.cluster.trial import ask, config_of, metrics

NAMES = {
    "shoal_ticks_total", "shoal_phase_seconds", "shoal_barrier_wait_seconds", "shoal_phase_late_total",
    "shoal_ghosts", "shoal_graph_nodes", "shoal_graph_edges", "shoal_runs", "shoal_run_tick",
    "shoal_messages_total", "shoal_bytes_total", "shoal_dropped_total", "shoal_handshakes_failed_total",
    "shoal_queue_messages", "shoal_admin_requests_total", "shoal_members", "shoal_health_score", "shoal_view_epoch",
    "shoal_cluster_version", "shoal_view_members", "shoal_raft_term", "shoal_raft_is_leader",
    "shoal_raft_elections_won_total", "shoal_raft_log_index", "shoal_build_info", "process_cpu_seconds_total",
    "process_resident_memory_bytes", "process_open_fds", "python_info",
}  # fmt: skip


def get(shard: DevShard, path: str) -> tuple[int, str, str]:
    address = config_of(shard).metrics.address
    assert address is not None
    try:
        with urllib.request.urlopen(f"http://{address.host}:{address.port}{path}", timeout=10) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.headers["Content-Type"], error.read().decode()


def test_all_metrics_are_there_and_make_sense_after_a_run(three: list[DevShard], deps: str) -> None:
    before = {shard.name: metrics(shard) for shard in three}
    with shoal.connect(str(three[0].socket)) as session:
        crossed = session.graph(deps).run("pagerank", ticks=12, timeout=60).show()["totals"]["cross_bytes"]
    shown = ask(three[0], "graph show", graph=deps)["shards"]
    sent = 0.0
    for shard in three:
        status, kind, text = get(shard, "/metrics")
        assert status == 200
        assert kind.startswith("text/plain")
        declared = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")}
        assert declared >= NAMES, NAMES - declared
        was, now = before[shard.name], metrics(shard)

        def risen(series: str, was: dict[str, float] = was, now: dict[str, float] = now) -> float:
            return now[series] - was.get(series, 0.0)

        assert risen("shoal_ticks_total") == 12
        assert risen('shoal_phase_seconds_count{phase="advance"}') == 12
        assert risen('shoal_barrier_wait_seconds_count{phase="advance"}') == 12
        assert now['shoal_ghosts{kind="pinned"}'] >= shown[shard.name]["ghosts"] > 0
        assert now["shoal_graph_nodes"] >= shown[shard.name]["nodes"]
        epoch = ask(shard, "view")["epoch"]
        assert (now["shoal_view_epoch"], now["shoal_view_members"]) == (epoch, 3)
        assert now['shoal_members{state="alive"}'] == 3
        assert now['shoal_runs{state="completed"}'] >= 1
        assert now['shoal_raft_log_index{position="applied"}'] >= 3
        assert now['shoal_raft_log_index{position="committed"}'] <= now['shoal_raft_log_index{position="last"}']
        assert now["shoal_raft_term"] >= 1
        for peer in {other.name for other in three} - {shard.name}:
            # A run of 12 ticks takes 13 exchanges: its start is one.
            assert risen(f'shoal_messages_total{{direction="out",kind="tick",peer="{peer}"}}') >= 13
            assert risen(f'shoal_messages_total{{direction="in",kind="tick",peer="{peer}"}}') >= 13
            sent += risen(f'shoal_bytes_total{{direction="out",kind="tick",peer="{peer}"}}')
    assert sum(metrics(shard)["shoal_raft_is_leader"] for shard in three) == 1
    assert sent >= crossed > 0


def test_health_and_readiness(three: list[DevShard]) -> None:
    for shard in three:
        assert get(shard, "/healthz")[0] == 200
        status, _, text = get(shard, "/readyz")
        assert status == 200
        assert f"in view {ask(shard, 'view')['epoch']}, led by shard-" in text


@pytest.mark.parametrize(("path", "status"), [("/", 404), ("/metrics/x", 404), ("/admin", 404)])
def test_nothing_else_is_served(three: list[DevShard], path: str, status: int) -> None:
    assert get(three[0], path)[0] == status
