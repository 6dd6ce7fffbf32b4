"""An idle daemon holds no library that it does not use."""

from __future__ import annotations

import subprocess
import sys

LATE = ("pyarrow", "rich", "h11")
"""For strings and files; for pages in plain words; for the metrics port. Together they take more than 7 MiB."""


def test_a_daemon_imports_some_libraries_only_when_it_needs_them() -> None:
    code = f"import sys, daemon.__main__; print([name for name in {LATE} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
