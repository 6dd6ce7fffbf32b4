"""A campaign that is short enough to be run each time: real daemons, a few faults, the same digests."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from chaos import leftovers

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(180)]
REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "chaos", "-n", "3", "--seed", "1", "--seconds", "3", "--ticks", "100", "--bound", "30"]


def test_every_run_ends_with_the_digest_of_an_undisturbed_one() -> None:
    words = ["--runs", "3", "--faults", "kill,pause,power,restart", "--faults-max", "1", "--json"]
    done = subprocess.run([*COMMAND, *words], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads(done.stdout)
    assert not report["failed"]
    assert [run["digest"] == report["reference"][run["program"]] for run in report["runs"]] == [True] * 4
    assert sum(row["count"] for row in report["faults"]) == 3


def test_an_interrupted_one_leaves_nothing_behind() -> None:
    words = ["--runs", "9", "--faults", "pause"]
    with subprocess.Popen([*COMMAND, *words], cwd=REPOSITORY, stderr=subprocess.PIPE, text=True) as campaign:
        assert campaign.stderr is not None
        seen = ""
        for line in campaign.stderr:
            seen += line
            if "run 1 of" in line:
                break
        assert "run 1 of" in seen, seen
        (folder,) = leftovers.BASE.glob(f"{leftovers.PREFIX}{campaign.pid}-*")
        assert len(leftovers.processes_of(folder)) == 3
        os.kill(campaign.pid, signal.SIGINT)
        campaign.stderr.read()
    assert campaign.returncode == 130
    assert not folder.exists()
    assert not leftovers.processes_of(folder)
