"""Programs that distributions offer."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoal.api.errors import UnknownProgram
from shoal.program.installed import find_program, is_installed


def install(site: Path, program: str) -> None:
    """All that an installed distribution is to Python: a folder with a name, a version and its entry points."""
    info = site / f"{program}-0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {program}\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[shoal.programs]\n{program} = shoal.algorithms.bfs:BreadthFirst\n")


def test_what_is_installed_while_a_process_lives_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("one-more", "another"):
        assert not is_installed(name)
        with pytest.raises(UnknownProgram, match=f"no program is called '{name}'"):
            find_program(name)
        install(tmp_path, name)
        assert is_installed(name)
        assert find_program(name).name == "bfs"
    assert is_installed("pagerank")
