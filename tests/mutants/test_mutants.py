"""The list of mutants is up to date, and the runner distinguishes killed mutants from survivors."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import judged, main
from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.runner import BROKEN, KILLED, STALE, SURVIVED, Copy

TREE = Path(__file__).parents[2]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.fault)
def test_each_can_be_applied_and_names_tests_that_are_there(mutant: Mutant) -> None:
    mutant.applied(TREE)
    assert mutant.tests
    for test in mutant.tests:
        assert (TREE / test.partition("::")[0]).exists(), test


def test_faults_are_named_once() -> None:
    faults = [mutant.fault for mutant in MUTANTS]
    assert len(set(faults)) == len(faults)


def test_a_text_that_no_mutant_has_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["mutants", "--only", "no mutant has this", "--list"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2


def test_what_becomes_of_mutants(tmp_path: Path) -> None:
    """Two mutants of one size, applied in the same second, are both compiled anew. The tree is unchanged."""
    tree = tmp_path / "tree"
    tree.mkdir()
    (tree / "sums.py").write_text("def total(a, b):\n    return a + b\n")
    (tree / "test_sums.py").write_text("from sums import total\n\ndef test_total():\n    assert total(2, 2) == 4\n")
    before = {path.name: path.read_bytes() for path in tree.iterdir()}

    def changed(old: str, new: str, test: str = "test_sums.py") -> Mutant:
        return Mutant(f"{old} -> {new}", "sums.py", old, new, (test,))

    mutants = [
        changed("a + b", "a - b"),
        changed("a + b", "a * b"),
        changed("a + b", "a / b"),
        changed("a", "b"),
        changed("a @ b", "a - b"),
        changed("a + b", "a - b", "test_none.py"),
    ]
    verdicts = judged(mutants, [Copy(tree, tmp_path / "copy")])
    (tree / "test_sums.py").write_text("def test_total():\n    raise AssertionError\n")
    verdicts += judged(mutants[:1], [Copy(tree, tmp_path / "failing")])
    assert [verdict.outcome for verdict in verdicts] == [KILLED, SURVIVED, KILLED, STALE, STALE, BROKEN, BROKEN]
    assert (tree / "sums.py").read_bytes() == before["sums.py"]
