"""Every conversation says what its file says it does; ``SHOAL_REWRITE=1`` to rewrite them, then read the diff."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.consensus.conversation import replay

FILES = sorted((Path(__file__).parent / "conversations").glob("*.txt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_conversation(path: Path) -> None:
    told = path.read_text()
    happened = replay(told)
    if os.environ.get("SHOAL_REWRITE"):
        path.write_text(happened)
    else:
        assert happened == told
