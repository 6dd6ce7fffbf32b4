"""Injects faults into a copy of the tree, one at a time; a few named tests must detect each.

python -m tests.mutants                     all of them, two at a time
python -m tests.mutants --only raft         those whose file or fault contains a text

killed      a test failed, as it should
survived    all its tests passed: a test is missing or too weak
stale       the text to be changed does not occur exactly once in the file: update the mutant
broken      the tests could not be run, or fail without any mutant
"""

from __future__ import annotations

import argparse
import queue
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.runner import KILLED, Copy, Verdict

TREE = Path(__file__).parents[2]


def main() -> int:
    """Returns the exit status: 0 if all were killed."""
    options = argparse.ArgumentParser(prog="python -m tests.mutants", description=(__doc__ or "").partition("\n")[0])
    options.add_argument("--only", default="", metavar="TEXT", help="mutants whose file or fault contains it")
    options.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    options.add_argument("--list", action="store_true", help="say what there is, and run nothing")
    chosen = options.parse_args()
    mutants = [mutant for mutant in MUTANTS if chosen.only in f"{mutant.file} {mutant.fault}"]
    if not mutants:
        options.error(f"no mutant's file or fault contains {chosen.only!r}")
    if chosen.list:
        for mutant in mutants:
            print(f"{mutant.file}: {mutant.fault}")
        return 0
    with tempfile.TemporaryDirectory(prefix="mutants-", dir="/tmp") as folder:  # a short path: there are sockets in it
        failed: dict[tuple[str, ...], str] = {}
        copies = [Copy(TREE, Path(folder, str(number)), failed) for number in range(max(1, chosen.jobs))]
        verdicts = judged(mutants, copies)
    killed = sum(verdict.outcome == KILLED for verdict in verdicts)
    print(f"{killed} of {len(verdicts)} killed")
    return 0 if killed == len(verdicts) else 1


def judged(mutants: list[Mutant], copies: list[Copy]) -> list[Verdict]:
    """Judges each mutant in a free copy, and prints each verdict once it is known."""
    free: queue.SimpleQueue[Copy] = queue.SimpleQueue()
    for copy in copies:
        free.put(copy)

    def judge(mutant: Mutant) -> Verdict:
        copy = free.get()
        try:
            return copy.judge(mutant)
        finally:
            free.put(copy)

    verdicts = []
    with ThreadPoolExecutor(len(copies)) as workers:
        for verdict in workers.map(judge, mutants):
            verdicts.append(verdict)
            print(f"{verdict.outcome:8}  {verdict.seconds:5.1f} s  {verdict.mutant.file}: {verdict.mutant.fault}")
            if verdict.output:
                print("\n".join(f"    {line}" for line in verdict.output.splitlines()))
            sys.stdout.flush()
    return verdicts


if __name__ == "__main__":
    sys.exit(main())
