"""The public names of the library, which are imported when they are first used."""

from __future__ import annotations

import subprocess
import sys

import shoal


def test_every_public_name_is_there_and_no_other() -> None:
    assert sorted(shoal._HOME_OF) == sorted(shoal.__all__)
    for name in shoal.__all__:
        assert getattr(shoal, name) is not None, name
    assert set(shoal.__all__) <= set(dir(shoal))
    assert not hasattr(shoal, "nonsense")


def test_shoalctl_imports_nothing_that_it_does_not_need() -> None:
    told = (
        "import sys, daemon.cli; print(*sorted({'numpy', 'pyarrow', 'pydantic', 'rich', 'zmq'} & sys.modules.keys()))"
    )
    ended = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stdout.strip() == ""
