"""Applies mutants to a copy of the tree, one at a time, and runs the tests that must fail.

It never writes to the work tree. Python trusts a compiled file if its source's size and time, in seconds, are
unchanged, so each mutated file gets a different time.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Final

from tests.mutants.mutant import Mutant, Stale

KILLED, SURVIVED, STALE, BROKEN = "killed", "survived", "stale", "broken"
LEFT_OUT: Final = (".git", ".venv*", "__pycache__", ".*_cache", "build", "*.egg-info", ".hypothesis")
SECONDS_MAX: Final = 600.0
OUTPUT_CHARS_MAX: Final = 4000
TESTS_PASSED, TESTS_FAILED = 0, 1
_times = count(2_000_000_000)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The verdict on a mutant; `output` is the end of the tests' output, if it was not killed."""

    mutant: Mutant
    outcome: str
    seconds: float = 0.0
    output: str = ""


class Copy:
    """A copy of the tree, whose packages take precedence over installed ones."""

    def __init__(self, tree: Path, folder: Path, failed: dict[tuple[str, ...], str] | None = None) -> None:
        """`failed`, which copies may share, has the output of tests that fail without a mutant, or "" if they pass."""
        self.folder = folder
        self._failed = failed if failed is not None else {}
        shutil.copytree(tree, folder, ignore=shutil.ignore_patterns(*LEFT_OUT))

    def judge(self, mutant: Mutant) -> Verdict:
        """Applies a mutant, runs its tests, and reverts it."""
        path, began = self.folder / mutant.file, time.monotonic()
        try:
            text = mutant.applied(self.folder)
        except Stale as stale:
            return Verdict(mutant, STALE, output=str(stale))
        if self._fail_anyway(mutant.tests):
            return Verdict(mutant, BROKEN, output=f"without any mutant:\n{self._failed[mutant.tests]}")
        kept = path.with_name(f"{path.name}.kept")
        path.rename(kept)
        try:
            path.write_text(text, "utf-8")
            stamp = next(_times)
            os.utime(path, (stamp, stamp))
            status, output = self._test(mutant.tests)
        finally:
            kept.replace(path)
        outcome = {TESTS_FAILED: KILLED, TESTS_PASSED: SURVIVED}.get(status, BROKEN)
        return Verdict(mutant, outcome, time.monotonic() - began, "" if outcome == KILLED else output)

    def _fail_anyway(self, tests: tuple[str, ...]) -> bool:
        if tests not in self._failed:
            status, output = self._test(tests)
            self._failed[tests] = "" if status == TESTS_PASSED else output
        return bool(self._failed[tests])

    def _test(self, tests: Sequence[str]) -> tuple[int, str]:
        """Runs tests in the copy, up to the first failure; returns pytest's exit status and the end of its output."""
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        environment = os.environ | {"PYTHONPATH": str(self.folder)}
        try:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, capture_output=True, text=True, timeout=SECONDS_MAX
            )
        except subprocess.TimeoutExpired:
            return -1, f"not done after {SECONDS_MAX:g} s"
        return done.returncode, (done.stdout + done.stderr)[-OUTPUT_CHARS_MAX:]
