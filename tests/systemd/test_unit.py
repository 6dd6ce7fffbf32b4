"""The packaged unit, judged by systemd's own tools (neither needs a running systemd)."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

UNIT = Path(__file__).parents[2] / "systemd" / "shoald.service"
ANALYZE = shutil.which("systemd-analyze")
needs_systemd = pytest.mark.skipif(ANALYZE is None, reason="systemd-analyze is not installed here")


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with an interpreter that exists on this machine: `verify` looks."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/shoal/venv/bin/python", str(Path(sys.executable).resolve())))
    return copy


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    assert ANALYZE is not None
    return subprocess.run([ANALYZE, *arguments], capture_output=True, text=True, timeout=30, check=False)


@needs_systemd
def test_it_is_a_unit(unit: Path) -> None:
    found = analyze("verify", "--man=no", str(unit))
    assert (found.returncode, found.stdout + found.stderr) == (0, "")


@needs_systemd
def test_it_stays_locked_down(unit: Path) -> None:
    found = analyze("security", "--offline=true", "--threshold=15", str(unit))
    assert found.returncode == 0, found.stdout[-500:]


def test_what_libzmq_cannot_do_without() -> None:
    """Without netlink, or with @resources taken away, libzmq aborts the process; ProcSubset=pid empties metrics."""
    lines = UNIT.read_text().splitlines()
    families = next(line for line in lines if line.startswith("RestrictAddressFamilies="))
    assert "AF_NETLINK" in families
    assert "SystemCallErrorNumber=EPERM" in lines
    assert not any(line.startswith("ProcSubset=") or ("~@resources" in line and "=" in line[:20]) for line in lines
                   if not line.startswith("#"))  # fmt: skip
