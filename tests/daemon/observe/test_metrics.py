"""Metrics: named by the rules, bounded in labels, written from any thread."""

from __future__ import annotations

import re
import threading

from prometheus_client.parser import text_string_to_metric_families

from daemon.observe.metrics import MEMBER_STATES, PEER_KEPT_SECONDS, PEERS_MAX, Metrics

FOREIGN = ("process_", "python_")


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, labels)


def test_names_follow_the_rules() -> None:
    families = {family.name: family for family in text_string_to_metric_families(Metrics().text())}
    ours = {name: family for name, family in families.items() if not name.startswith(FOREIGN)}
    assert len(ours) > 20
    for name, family in ours.items():
        assert re.fullmatch(r"shoal_[a-z_]+", name), name
        assert family.documentation, name
        assert not re.search(r"_(ms|milliseconds|kb|mb|kilobytes)(_|$)", name), name
    assert "process_open_fds" in families
    assert "process_max_fds" in families
    assert "_created" not in Metrics().text()


def test_build_info() -> None:
    metrics = Metrics(version="1.2.3", shard="a")
    assert re.search(r'shoal_build_info\{.*shard="a".*version="1\.2\.3".*\} 1\.0', metrics.text("shoal_build"))


def test_the_transports_callback() -> None:
    metrics = Metrics()
    metrics.count("messages", ("sent", "tick", "b"))
    metrics.count("bytes", ("sent", "tick", "b"), 100)
    metrics.count("dropped", ("oversize",), 2)
    metrics.count("handshakes_failed", ("unknown key",))
    metrics.count("phase_late", ("b",))
    metrics.count("something", ("else",), 3)
    assert value(metrics, "shoal_messages_total", direction="sent", kind="tick", peer="b") == 1
    assert value(metrics, "shoal_bytes_total", direction="sent", kind="tick", peer="b") == 100
    assert value(metrics, "shoal_dropped_total", reason="oversize") == 2
    assert value(metrics, "shoal_handshakes_failed_total", reason="unknown key") == 1
    assert value(metrics, "shoal_phase_late_total", peer="b") == 1
    assert value(metrics, "shoal_events_total", event="something_else") == 3


def test_invented_peers_do_not_grow_the_page() -> None:
    metrics = Metrics()
    for number in range(PEERS_MAX + 500):
        metrics.count("messages", ("received", "ping", f"peer-{number}"))
    page = metrics.text("shoal_messages_total")
    assert page.count("\nshoal_messages_total{") == PEERS_MAX + 1
    assert value(metrics, "shoal_messages_total", direction="received", kind="ping", peer="other") == 500


def test_threads_lose_nothing() -> None:
    metrics = Metrics()

    def work() -> None:
        for _ in range(2000):
            metrics.ticks_total.inc()
            metrics.phase("sense", 0.001)
            metrics.count("messages", ("sent", "tick", "b"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert value(metrics, "shoal_ticks_total") == 8000
    assert value(metrics, "shoal_phase_seconds_count", phase="sense") == 8000
    assert value(metrics, "shoal_messages_total", direction="sent", kind="tick", peer="b") == 8000


def test_hooks_fill_gauges_as_they_are_read_and_may_fail() -> None:
    metrics = Metrics()
    metrics.before_scrape(lambda: metrics.raft_term.set(7))
    metrics.before_scrape(lambda: 1 / 0)  # type: ignore[arg-type, return-value]
    metrics.before_scrape(lambda: metrics.by_state(metrics.members, {"alive": 3}, MEMBER_STATES))
    assert "shoal_raft_term 7.0" in metrics.text()
    assert value(metrics, "shoal_members", state="alive") == 3
    assert value(metrics, "shoal_members", state="dead") == 0
    assert value(metrics, "shoal_events_total", event="metrics_hook_failed") == 1


def test_a_prefix_selects_metrics_with_their_help() -> None:
    lines = Metrics().text("shoal_raft_term").splitlines()
    assert [line.split()[0] for line in lines] == ["#", "#", "shoal_raft_term"]


def test_runs_come_and_go_and_leave_room_for_the_next() -> None:
    metrics = Metrics()
    for number in range(500):
        name = f"pagerank-{number}"
        assert metrics.run(name) == name
        metrics.run_tick.labels(name).set(number)
        metrics.forget_run(name)
        metrics.forget_run(name)
    metrics.run("never set")
    metrics.forget_run("never set")
    assert "shoal_run_tick{" not in metrics.text()


def test_series_of_peers_that_are_long_gone_are_removed_and_their_places_given_away() -> None:
    metrics = Metrics()
    for name in ("a", "b"):
        metrics.count("messages", ("in", "Ping", name))
        metrics.count("bytes", ("in", "Ping", name), 9)
        metrics.count("phase_late", (name,))
    for present, now in (["a", "b"], 0.0), (["a"], 10.0), (["a"], 10.0 + PEER_KEPT_SECONDS - 1):
        metrics.keep_peers(present, now)
        assert 'peer="b"' in metrics.render()
    metrics.keep_peers(["a", "b"], 3000.0)
    metrics.keep_peers(["a"], 4000.0)
    metrics.keep_peers(["a"], 4000.0 + PEER_KEPT_SECONDS)
    assert 'peer="b"' not in metrics.render()
    assert metrics.render().count('peer="a"') == 3
    metrics.count("messages", ("in", "Ping", "b"))
    assert 'peer="b"' in metrics.render(), "it may come back"
