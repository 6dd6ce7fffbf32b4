"""From observations to seconds, and the floor beside them."""

from __future__ import annotations

import pytest

from chaos.floor import detection
from chaos.recovery import Observation, epoch_before, longest_standstill, next_tick_in_later_view
from daemon.membership.config import SECOND, MembershipConfig
from daemon.membership.suspicion import suspicion_timeout_min_ns


def _seen(*rows: tuple[float, int, int], shard: int = 1) -> list[Observation]:
    return [Observation(at, shard, epoch, tick) for at, epoch, tick in rows]


def test_a_tick_that_was_under_way_at_the_kill_does_not_count() -> None:
    seen = _seen((1.0, 4, 10), (1.1, 4, 11), (3.0, 5, 11), (3.2, 5, 12))
    assert epoch_before(seen, 1.05) == 4
    assert next_tick_in_later_view(seen, 1.05, 4) == pytest.approx(2.15)


def test_nor_does_one_of_which_one_hears_only_in_the_later_view() -> None:
    seen = _seen((1.0, 4, 10), (3.0, 5, 11), (3.1, 5, 11), (3.2, 5, 12))
    assert next_tick_in_later_view(seen, 1.05, 4) == pytest.approx(2.15)


def test_a_tick_that_is_done_again_counts() -> None:
    assert next_tick_in_later_view(_seen((1.0, 4, 90), (3.0, 5, 60), (3.1, 5, 61)), 1.0, 4) == pytest.approx(2.1)


def test_two_daemons_that_know_of_a_tick_at_different_moments_are_no_commit() -> None:
    seen = [*_seen((1.0, 5, 10)), *_seen((1.1, 5, 11), (1.2, 5, 11), shard=2)]
    assert next_tick_in_later_view(seen, 0.5, 4) is None


def test_the_end_of_the_run_is_a_commit() -> None:
    seen = [Observation(1.0, 1, 5, 12), Observation(1.5, 1, 5, 12, over=True)]
    assert next_tick_in_later_view(seen, 0.5, 4) == 1.0


def test_nothing_is_measured_where_nothing_was_seen() -> None:
    assert epoch_before([], 1.0) == 0
    assert next_tick_in_later_view([], 1.0, 0) is None
    assert longest_standstill([], 1.0, 9.0) is None


def test_a_standstill_begins_with_the_fault_and_ends_with_a_commit() -> None:
    seen = _seen((0.0, 4, 1), (0.5, 4, 2), (2.5, 4, 3), (2.6, 4, 4), (9.0, 4, 5))
    assert longest_standstill(seen, 1.0, 5.0) == 1.5
    assert longest_standstill(seen, 1.0, 10.0) == pytest.approx(6.4)


def test_nobody_is_convicted_before_a_probe_in_vain_and_the_least_suspicion() -> None:
    config = MembershipConfig()
    least = config.probe_interval_ns + suspicion_timeout_min_ns(config.suspicion_mult, 5, config.probe_interval_ns)
    floor = detection(config, 5)
    assert least / SECOND <= floor.least <= floor.median <= floor.most


def test_the_floor_rises_with_the_probe_interval_and_with_the_number_of_the_dead() -> None:
    quick = MembershipConfig(probe_interval_ns=200_000_000, probe_timeout_ns=100_000_000)
    slow = MembershipConfig(probe_interval_ns=SECOND, probe_timeout_ns=SECOND // 2)
    assert detection(slow, 5).median == pytest.approx(5 * detection(quick, 5).median, rel=0.05)
    assert detection(quick, 5, 2).median > detection(quick, 5, 1).median
