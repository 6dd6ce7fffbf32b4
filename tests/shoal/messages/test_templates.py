"""What `program new` begins from runs as it stands, and says the same on one shard and on several."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

import shoal
from shoal.templates import messages

TEMPLATES = Path(shoal.__file__).parent / "templates"


@pytest.mark.parametrize("shards", [1, 3])
def test_a_template_whose_source_is_nobody_says_so(shards: int) -> None:
    data = shoal.from_arrays(["a"], ["b"])
    with shoal.local(shards=shards) as session, pytest.raises(shoal.RunFailed, match="no node is called 'zoe'"):
        session.load("small", data=data).run(messages.Template, source="zoe")


@pytest.mark.parametrize("style", ["messages", "vectorized"])
def test_a_template_runs_as_it_stands(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(TEMPLATES / f"{style}.py"), run_name="__main__")
    lines = [line.partition(" ") for line in capsys.readouterr().out.splitlines()]
    assert [shards for shards, _, _ in lines] == ["1", "3"]
    assert len({answer for _, _, answer in lines}) == 1
    assert "{'a': " in lines[0][2]
