"""docs/algorithms.md names every program that is installed, and what it says of it is so."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from shoal.program.installed import installed_programs

PAGE = (Path(__file__).parents[3] / "docs" / "algorithms.md").read_text()
ROWS = dict(re.findall(r"^\| `([\w-]+)` \| (.*) \|$", PAGE, re.MULTILINE))
OTHER_STYLES = {"message-pagerank", "knowledge"}


def test_every_installed_program_is_named_and_no_other() -> None:
    assert set(ROWS) | OTHER_STYLES == set(installed_programs())
    assert all(f"`{name}`" in PAGE for name in OTHER_STYLES)


@pytest.mark.parametrize("name", ROWS)
def test_parameters_and_columns_are_those_it_has(name: str) -> None:
    program = installed_programs()[name]
    parameters, columns, ends, _, _ = ROWS[name].split(" | ") if ROWS[name].startswith("`") else ["", *_cells(name)]
    for param in program.parameters():
        assert f"`{param}`" in parameters
    for column in program.columns:
        assert (f"`{column.name}`" in columns) == (not column.hidden)
    halts = "by itself" in ends or "when all are content" in ends
    assert halts or f"after `--ticks` ({program.ticks_default:,})" in ends
    assert not ("by itself" in ends and name != "degree" and program.anytime)


def _cells(name: str) -> list[str]:
    """Of a program without parameters."""
    return [cell.strip() for cell in f" {ROWS[name]}".split("|")[1:]]
