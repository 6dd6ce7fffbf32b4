"""Grants: they only grow, whoever leads."""

from __future__ import annotations

from msgspec.structs import replace

from daemon.control.messages import Grant
from daemon.control.pacing import REPEAT_INTERVAL_NS, Pacing
from daemon.state.records import RunRecord
from shoal.program.phase import Phase

MS = 1_000_000
RUN = RunRecord("p-1", 1, "p", "g", "load-1", (), 9, 0, False, (Phase.ADVANCE,), (), 0)
PACED, STEPPED = replace(RUN, interval_ns=500 * MS), replace(RUN, paced=True)


def leading(run: RunRecord) -> Pacing:
    pacing = Pacing()
    pacing.is_leader = True
    assert pacing.begin(run, 0) == 0
    return pacing


def test_a_run_without_pace_is_granted_all_at_once() -> None:
    pacing = Pacing()
    pacing.is_leader = True
    assert pacing.begin(RUN, 0) is None
    assert pacing.deadline is None
    assert pacing.step(1, "r", 0) is None


def test_a_tick_is_granted_each_interval_and_repeated_between() -> None:
    pacing = leading(PACED)
    assert pacing.deadline == REPEAT_INTERVAL_NS
    assert pacing.wake(REPEAT_INTERVAL_NS - 1) == []
    assert pacing.wake(REPEAT_INTERVAL_NS) == [Grant(1, 0)]
    assert pacing.wake(500 * MS) == [Grant(1, 1)]
    assert pacing.wake(500 * MS) == []


def test_no_further_tick_is_granted_before_the_last_is_committed() -> None:
    pacing = leading(PACED)
    assert pacing.wake(500 * MS) == [Grant(1, 1)]
    assert pacing.wake(1_200 * MS) == [Grant(1, 1)]
    pacing.committed(1, 1)
    assert pacing.deadline is not None
    assert pacing.deadline <= 1_200 * MS
    assert pacing.wake(1_200 * MS) == [Grant(1, 2)]


def test_a_little_lateness_is_made_up_and_much_is_not() -> None:
    pacing = leading(PACED)
    pacing.wake(600 * MS)
    pacing.committed(1, 1)
    assert pacing.wake(999 * MS) == [Grant(1, 1)]
    assert pacing.wake(1_000 * MS) == [Grant(1, 2)]
    pacing.committed(1, 2)
    assert pacing.wake(9_000 * MS) == [Grant(1, 3)]
    pacing.committed(1, 3)
    assert Grant(1, 4) not in pacing.wake(9_499 * MS)


def test_a_step_is_one_tick_a_request_however_often_it_arrives() -> None:
    pacing = leading(STEPPED)
    assert [pacing.step(1, request, 0) for request in ("x", "y", "x", "y")] == [1, 2, 1, 2]
    assert pacing.step(1, "z", 0) == 3
    assert pacing.wake(REPEAT_INTERVAL_NS) == [Grant(1, 3)]


def test_a_stepped_run_is_granted_nothing_by_time() -> None:
    pacing = leading(STEPPED)
    pacing.committed(1, 0)
    assert all(grant.tick == 0 for now in range(0, 10**10, 10**8) for grant in pacing.wake(now))


def test_a_new_leader_goes_on_from_the_greatest_that_it_has_heard_of() -> None:
    pacing = Pacing()
    pacing.begin(STEPPED, 0)
    assert pacing.step(1, "x", 0) is None
    assert pacing.deadline is None
    assert [pacing.hear(Grant(1, tick)) for tick in (2, 4, 3, 4)] == [True, True, False, False]
    pacing.is_leader = True
    assert pacing.step(1, "x", 0) == 5


def test_grants_of_runs_that_are_not_there_are_no_news() -> None:
    pacing = leading(PACED)
    assert not pacing.hear(Grant(2, 1))
    pacing.end(1)
    assert (pacing.hear(Grant(1, 5)), pacing.deadline, pacing.wake(10**12)) == (False, None, [])


def test_a_run_that_goes_on_elsewhere_has_its_ticks_granted_and_goes_on_from_there() -> None:
    pacing = leading(PACED)
    pacing.wake(500 * MS)
    pacing.committed(1, 1)
    pacing.wake(1_000 * MS)
    assert pacing.begin(replace(PACED, resumed=1, epoch=2), 1_000 * MS) == 2, "what was granted stays so"
    assert pacing.wake(2_000 * MS) == [Grant(1, 2)], "and the next is due once that is committed again"
    late = Pacing()
    assert late.begin(replace(PACED, resumed=7, epoch=2), 0) == 7
