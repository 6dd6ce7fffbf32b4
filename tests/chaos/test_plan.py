"""What a seed decides, and what no plan may ask of a cluster."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from random import Random

import pytest

from chaos.options import KINDS, NETWORK, SCENARIOS, Options, parse
from chaos.plan import REST_SECONDS, Fault, plan

MANY = range(300)


def _plans(options: Options, disk: int | None = 2) -> list[list[Fault]]:
    return [plan(Random(seed), options, disk) for seed in MANY]


def test_a_seed_decides_the_faults() -> None:
    assert _plans(Options()) == _plans(Options())
    assert len({tuple(made) for made in _plans(Options())}) == len(MANY)


def test_every_kind_occurs_and_no_other() -> None:
    assert {fault.kind for made in _plans(Options()) for fault in made} == set(KINDS)
    assert {fault.kind for made in _plans(Options(kinds=("cut", "kill"))) for fault in made} == {"cut", "kill"}
    assert "disk" not in {fault.kind for made in _plans(Options(), None) for fault in made}


def test_no_daemon_suffers_two_at_once_and_no_pair_has_two_rules() -> None:
    for made in _plans(replace(Options(), faults_max=6)):
        for one, other in combinations(made, 2):
            apart = other.at >= one.until + REST_SECONDS
            assert apart or not set(one.hit) & set(other.hit)
            assert apart or not (one.kind in NETWORK and other.kind in NETWORK)


@pytest.mark.parametrize(("replicas", "gone"), [(1, 0), (2, 1), (3, 2), (5, 2)])
def test_the_dead_for_good_leave_a_majority_and_a_copy(replicas: int, gone: int) -> None:
    options = Options(kinds=("never",), replicas=replicas, faults_max=6)
    assert max(len(made) for made in _plans(options)) == gone


def test_so_many_are_killed_at_once() -> None:
    for made in _plans(SCENARIOS["double-kills"]):
        assert [(fault.kind, len(set(fault.hit))) for fault in made] == [("kill", 2)]


def test_a_minority_is_one() -> None:
    assert {len(fault.hit) for made in _plans(Options(kinds=("minority",))) for fault in made} == {1, 2}


def test_faults_strike_within_the_run() -> None:
    for made in _plans(Options(seconds=10)):
        assert made == sorted(made, key=lambda fault: fault.at)
        assert all(1 <= fault.at <= 7.5 for fault in made)


def test_a_fault_in_words() -> None:
    assert str(Fault("slow", 1.0, 2.5, (3,), delay=0.05)) == "slow 3 50ms at 1.0s for 2.5s"
    assert str(Fault("never", 1.0, None, (3,))) == "never 3 at 1.0s"


def test_a_scenario_is_a_default_that_options_change() -> None:
    options = parse(["--scenario", "double-kills", "--runs", "3", "--seed", "9"])
    assert (options.runs, options.seed, options.replicas, options.kill_at_once) == (3, 9, 3, 2)
    assert parse(["--scenario", "kills"]).runs == 50
    assert parse(["--faults", "kill,pause"]).kinds == ("kill", "pause")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--faults", "flood"], "there is no 'flood'; known are kill, "),
        (["-n", "2"], "3 to 9 daemons"),
        (["--kill-at-once", "3"], "a majority has to stay"),
        (["--replicas", "6"], "1 to 5"),
        (["--runs", "0"], "more than nothing"),
    ],
)
def test_what_cannot_be_is_refused_in_words(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(words)
    assert said in capsys.readouterr().err
