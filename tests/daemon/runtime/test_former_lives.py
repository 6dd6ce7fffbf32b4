"""Which runs are not gone on with, by what former lives have left."""

from __future__ import annotations

from pathlib import Path

import pytest

from daemon.runtime.former_lives import FILE, Condemned, FormerLives
from daemon.runtime.guard import FIRST_PHASE, MAKING, OTHER, READING, Left, Place

ADVANCE, ACT = FIRST_PHASE + 3, FIRST_PHASE + 1
HERE, THERE = Place(ADVANCE, 5, 3), Place(ADVANCE, 5, 4)


def killed(life: int, *running: Place) -> Left:
    return Left(1, life, False, running, None, 0.0, "")


def is_condemned(lives: FormerLives, run: int = 5, *, reading: bool = False) -> bool:
    try:
        lives.check(run, reading=reading)
    except Condemned:
        return True
    return False


@pytest.mark.parametrize(
    ("lives", "condemned"),
    [
        ([killed(1, HERE), killed(2, HERE)], False),
        ([killed(1, HERE), killed(2, HERE), killed(3, HERE)], True),
        ([killed(1, HERE), killed(2, THERE), killed(3, HERE)], False),
        ([killed(1, HERE), killed(2, Place(ACT, 5, 3)), killed(3, HERE)], False),
        ([killed(1, HERE), killed(2, Place(ADVANCE, 6, 3)), killed(3, HERE)], False),
        ([killed(1, HERE), killed(2), killed(3, HERE), killed(4, HERE)], False),
        ([killed(1, HERE), killed(2)._replace(is_clean=True), killed(3, HERE), killed(4, HERE)], False),
        ([killed(1, HERE), killed(2, HERE), killed(3, HERE)._replace(is_clean=True)], False),
        ([killed(1, HERE), killed(2, HERE), killed(2, HERE), killed(2, HERE)], False),
        ([killed(1, THERE), killed(2, HERE), killed(3, HERE), killed(4, HERE)], True),
        ([killed(1, HERE, Place(MAKING, 5, 0)), killed(2, HERE), killed(3, Place(MAKING, 5, 0), HERE)], True),
        ([killed(n, Place(MAKING, 5, 0)) for n in (1, 2, 3)], True),
        ([killed(n, Place(OTHER, 0, 0)) for n in (1, 2, 3)], False),
        ([killed(n, Place(READING, 5, 3)) for n in (1, 2, 3)], False),
    ],
)
def test_the_same_place_at_three_ends_in_a_row(tmp_path: Path, lives: list[Left], condemned: bool) -> None:
    """Only then, and each life is counted once."""
    for left in lives:
        known = FormerLives(tmp_path, 1, left)
    assert is_condemned(known) == condemned
    assert not is_condemned(known, 6)


def test_who_held_the_interpreter_needs_no_second_time(tmp_path: Path) -> None:
    ours = '  File "/x/shoal/lockstep/runner.py", line 1 in f'
    stack = f'  File "re/__init__.py", line 166 in match\n  File "p.py", line 3 in advance\n{ours}'
    left = Left(1, 1, False, (HERE,), HERE, 5.0, stack)
    with pytest.raises(Condemned) as caught:
        FormerLives(tmp_path, 1, left).check(5)
    told = str(caught.value)
    assert told.startswith(
        "the program held the interpreter for 5 s in advance of tick 3, and nothing else could run: "
    )
    assert told.endswith('in match\n  File "p.py", line 3 in advance')


def test_who_never_came_back_is_told_otherwise(tmp_path: Path) -> None:
    with pytest.raises(
        Condemned, match=r"^the program did not return from advance of tick 3, and could not be interrup"
    ):
        FormerLives(tmp_path, 1, Left(1, 1, False, (HERE,), HERE, 0.0, "")).check(5)


def test_a_table_that_ended_the_daemon_is_not_read_again_and_its_run_may_go_on(tmp_path: Path) -> None:
    known = FormerLives(tmp_path, 1, Left(1, 1, False, (), Place(READING, 5, 3), 5.0, ""))
    assert is_condemned(known, reading=True)
    assert not is_condemned(known)


def test_what_is_condemned_stays_so_until_its_run_is_over(tmp_path: Path) -> None:
    FormerLives(tmp_path, 1, Left(1, 1, False, (HERE,), HERE, 5.0, ""))
    known = FormerLives(tmp_path, 1, killed(2))
    assert is_condemned(known)
    known.forget(5)
    assert not is_condemned(known)
    assert not is_condemned(FormerLives(tmp_path, 1, None))


def test_runs_of_another_disk_are_other_runs(tmp_path: Path) -> None:
    FormerLives(tmp_path, 1, Left(1, 1, False, (HERE,), HERE, 5.0, ""))
    assert not is_condemned(FormerLives(tmp_path, 2, None))


@pytest.mark.parametrize("text", ["", "[]", '{"disk": 1}', '{"disk": 1, "ends": [[1, [[1]]]], "condemned": []}', "\0"])
def test_a_file_that_is_not_whole_is_begun_anew(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    assert not is_condemned(FormerLives(tmp_path, 1, None))
    FormerLives(tmp_path, 1, Left(1, 1, False, (HERE,), HERE, 5.0, ""))
    assert is_condemned(FormerLives(tmp_path, 1, None))
