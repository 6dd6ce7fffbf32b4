"""Which ends of a run are well."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.faults import Ground
from chaos.fleet import Fleet
from chaos.plan import Fault
from chaos.trial import Case, Suffered, Trial

NO_ROOM = "shard-2: tick 97 can't be kept: /d/2/data has no room for 233696 bytes more: 0 bytes of its disk are free"


@pytest.mark.parametrize(
    ("kind", "hit", "error", "well"),
    [
        ("disk", 2, NO_ROOM, True),
        ("disk", 3, NO_ROOM, False),
        ("kill", 2, NO_ROOM, False),
        ("disk", 2, "shard-2: advance of tick 97 failed", False),
    ],
)
def test_only_a_full_disk_may_end_a_run_and_only_by_name(
    tmp_path: Path, kind: str, hit: int, error: str, well: bool
) -> None:
    ground = Ground(Fleet(tmp_path, 3, 2, None, defaults=False))
    trial = Trial(ground, Case("pagerank", "rank", 9, 0.0, ""), [], "g", 1.0)
    trial.outcome.suffered.append(Suffered(Fault(kind, 0.0, 1.0, (hit,)), 0.0))
    assert trial._had_no_room(error) == well
