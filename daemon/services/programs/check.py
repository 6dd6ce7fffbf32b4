"""Checks a file before its deployment, in a process of its own, which the file may hang, break or end.

    python -P -m daemon.services.programs.check LABEL < FILE

The answer is JSON on standard output: ``{"name": ..., "described": {...}}``, or ``{"error": "a sentence"}``. Whatever
the file itself prints goes to standard error, and its standard input is empty. Memory is bounded, and when the machine
runs out of it, the kernel kills this process first. The parent bounds the time.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
from typing import Any, Final

from shoal.api.errors import ShoalError
from shoal.client.local_replies import program_row
from shoal.program.deployed import SOURCE_BYTES_MAX, digest_of, program_of

MEMORY_BYTES_MAX: Final = 4 << 30
"""The limit of address space: numpy and Arrow alone reserve a few hundred megabytes."""


def look_over(source: bytes, label: str) -> dict[str, Any]:
    """Returns what a file defines, or what is wrong with it."""
    try:
        program = program_of(source, label)
        row = program_row(program, "deployed", digest_of(source))
        described = {key: value for key, value in row.items() if key not in ("origin", "digest")}
        return {"name": program.name, "described": json.loads(json.dumps(described, default=str))}
    except ShoalError as error:
        return {"error": str(error)}
    except Exception as error:  # the class's own attributes are foreign code, too
        return {"error": f"{label}: its declarations can't be read: {type(error).__name__}: {error}"}


def main() -> None:
    """Reads the file, checks it and prints the answer."""
    source = sys.stdin.buffer.read(SOURCE_BYTES_MAX + 1)
    answer, nothing = os.dup(1), os.open(os.devnull, os.O_RDONLY)
    os.dup2(2, 1)
    os.dup2(nothing, 0)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    told = json.dumps(look_over(source, sys.argv[1]))
    with open(answer, "w", encoding="utf-8") as file:
        file.write(told)
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads that the file has started


if __name__ == "__main__":
    main()
