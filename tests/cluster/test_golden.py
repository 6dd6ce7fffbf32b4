"""Real daemons return the golden results that are recorded for `shoal.local`."""

from __future__ import annotations

import pytest

import shoal
from daemon.cli.dev_cluster import DevShard
from tests.golden.digests import REWRITE, golden, results

HANDFUL = ("cdlp", "kcore", "knowledge", "pagerank", "ppr", "triangles", "wcc")
"""Together they use ghosts, lists, channels, mail, float aggregates, figures and tables. They use no weights, because
the shared cluster's graph has none.
"""


@pytest.mark.parametrize("program", HANDFUL)
def test_three_daemons_are_golden(three: list[DevShard], deps: str, program: str) -> None:
    with shoal.connect(str(three[1].socket)) as session:
        assert results(session.graph(deps), "debian", program) == golden("debian", program), REWRITE
