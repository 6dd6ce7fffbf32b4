"""The results of all programs that ship with Shoal equal the recorded ones, bit for bit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest

import shoal
from shoal import Graph
from tests.golden.digests import (
    GOLDEN,
    RECIPES,
    REWRITE,
    SHARDS,
    as_text,
    data_of,
    golden,
    results,
    shipped_programs,
)

PROGRAMS = sorted(RECIPES["debian"])


@pytest.fixture(scope="module", params=product(RECIPES, SHARDS), ids=lambda each: f"{each[0]}-{each[1]}")
def loaded(request: Any) -> Iterator[tuple[str, Graph]]:
    """Each graph on each number of shards."""
    name, shards = request.param
    with shoal.local(shards) as session:
        yield name, session.load(name, data=data_of(name))


@pytest.mark.parametrize("program", PROGRAMS)
def test_results_are_golden(loaded: tuple[str, Graph], program: str) -> None:
    name, graph = loaded
    assert results(graph, name, program) == golden(name, program), REWRITE


@pytest.mark.parametrize("graph", RECIPES)
def test_every_program_is_covered(graph: str) -> None:
    written = {name.split("/")[1] for name in golden(graph)}
    assert written == set(RECIPES[graph]) == set(shipped_programs())


def test_the_file_is_as_it_is_written() -> None:
    assert GOLDEN.read_text(encoding="utf-8") == as_text(golden())
