"""The table's arithmetic; nothing here measures anything."""

from __future__ import annotations

import json

import pytest

from bench.figures import Aim, Row, Sample, median_ms, ticks_of


def _row(*pairs: tuple[float, float], aim: Aim | None = None) -> Row:
    measured = tuple((Sample(ours, 2 * ours), Sample(floor, floor)) for ours, floor in pairs)
    return Row("ticks", "a tick", "ms", measured, aim or Aim(), {"bytes": 7})


def test_the_ratio_is_the_median_of_the_pairs_and_not_of_the_medians() -> None:
    row = _row((1.0, 1.0), (20.0, 10.0), (9.0, 3.0))
    assert (row.ours, row.floor) == (9.0, 3.0)
    assert row.ratios == (1.0, 2.0, 3.0)
    assert row.ratio == 2.0


def test_a_slow_moment_that_both_share_does_not_move_the_ratio() -> None:
    assert _row((1.4, 1.0), (1.4, 1.0), (14.0, 10.0)).ratio == pytest.approx(1.4)


@pytest.mark.parametrize(("ours", "verdict"), [(1.5, "met"), (1.6, "missed"), (2.0, "missed"), (2.1, "broken")])
def test_a_verdict_on_a_ratio(ours: float, verdict: str) -> None:
    assert _row((ours, 1.0), aim=Aim(ratio=1.5, never=2.0)).verdict == verdict


def test_a_verdict_on_a_figure_by_itself() -> None:
    assert _row((700.0, 1.0), aim=Aim(value=700)).verdict == "met"
    assert _row((701.0, 1.0), aim=Aim(value=700)).verdict == "missed"
    assert _row((701.0, 1.0)).verdict == ""


def test_an_aim_in_words() -> None:
    assert Aim(ratio=1.5, never=2.0).words == "≤ 1.5x, never > 2x"
    assert Aim(value=700).words == "≤ 700"
    assert Aim().words == ""


def test_processor_time_is_told_where_both_sides_have_it() -> None:
    assert _row((1.0, 1.0), (3.0, 2.0), (2.0, 3.0)).cpu == (4.0, 2.0)
    assert Row("load", "x", "ns/edge", ((Sample(1.0, 1.0), Sample(1.0)),)).cpu is None


def test_everything_is_in_the_json() -> None:
    told = json.loads(json.dumps(_row((3.0, 2.0), aim=Aim(ratio=1.5)).as_json()))
    assert told == {
        "group": "ticks", "what": "a tick", "unit": "ms", "ours": 3.0, "floor": 2.0, "ratio": 1.5, "ratios": [1.5],
        "cpu": {"ours": 6.0, "floor": 2.0}, "aim": "≤ 1.5x", "verdict": "met", "bytes": 7,
    }  # fmt: skip


def test_ticks_lie_between_marks() -> None:
    assert ticks_of([5, 7, 12]) == [2, 5]
    assert ticks_of([5]) == []
    assert median_ms([1_000_000, 3_000_000, 2_000_000]) == 2.0
