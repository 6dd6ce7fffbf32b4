"""The timeout of a suspicion, and local health: Lifeguard section IV.A and IV.B."""

from __future__ import annotations

import math

from daemon.membership.local_health import LocalHealth
from daemon.membership.suspicion import Suspicion, suspicion_timeout_min_ns


def test_the_timeout_shrinks_logarithmically_from_max_to_min() -> None:
    """Lifeguard IV.B: max(Min, Max - (Max - Min) log(C + 1) / log(K + 1))."""
    suspicion = Suspicion("a", 100, 10_000, 60_000, 3)
    deadlines = [suspicion.deadline]
    for accuser in "bcd":
        assert suspicion.confirm(accuser)
        deadlines.append(suspicion.deadline)
    expected = [100 + 60_000 - int(50_000 * math.log(c + 1) / math.log(4)) for c in range(4)]
    assert deadlines == expected
    assert (deadlines[0], deadlines[-1]) == (60_100, 10_100)


def test_only_independent_confirmations_count() -> None:
    """Lifeguard IV.B: suspicions "from different members"."""
    suspicion = Suspicion("a", 0, 10, 60, 3)
    assert not suspicion.confirm("a")
    assert suspicion.confirm("b")
    assert not suspicion.confirm("b")
    assert suspicion.confirmations == 1


def test_beyond_k_confirmations_none_is_passed_on() -> None:
    suspicion = Suspicion("a", 0, 10, 60, 1)
    assert suspicion.confirm("b")
    assert not suspicion.confirm("c")
    suspicion.validate()


def test_with_nobody_to_confirm_the_timeout_is_the_shortest() -> None:
    assert Suspicion("a", 0, 10, 60, 0).deadline == 10


def test_time_that_we_were_absent_does_not_count() -> None:
    suspicion = Suspicion("a", 0, 10, 60, 3)
    suspicion.postpone(1_000)
    assert suspicion.deadline == 1_060


def test_min_grows_with_the_logarithm_of_the_group() -> None:
    assert [suspicion_timeout_min_ns(4, n, 1000) for n in (1, 10, 100, 1000)] == [4000, 4000, 8000, 12000]


def test_the_multiplier_is_a_saturating_counter() -> None:
    """Lifeguard IV.A: between 0 and S; with S = 8 a probe of 1 s and 500 ms backs off to 9 s and 4.5 s."""
    health = LocalHealth(8)
    health.improve()
    assert health.multiplier == 0
    for _ in range(20):
        health.worsen()
        health.validate()
    assert (health.scale(1000), health.scale(500)) == (9000, 4500)
    for _ in range(20):
        health.improve()
    assert health.scale(1000) == 1000
