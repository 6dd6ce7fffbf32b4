"""A data folder that can be filled up: on a small tmpfs, with a file that takes the remaining space."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

DISK_BYTES: Final = 192 * 1024 * 1024
"""Many times what the Debian graph needs on one shard; only the used part takes memory."""
BLOCKS: Final = (1024 * 1024, 4096)
FILLER: Final = "filler"


class DiskFailed(Exception):
    """Raised if it could not be mounted; says why."""


def why_not() -> str:
    """Returns why this machine can't mount a disk, or ""."""
    if os.geteuid() != 0:
        return "a full disk needs root, for a file system of its own"
    return "" if shutil.which("mount") else "a full disk needs the command `mount`"


class SmallDisk:
    """A folder that can be full. Its files last as long as the mount, which outlives every daemon."""

    def __init__(self, folder: Path, size: int = DISK_BYTES) -> None:
        self.folder = folder
        options = f"size={size},mode=0700"
        command = ["mount", "-t", "tmpfs", "-o", options, "shoal-chaos", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise DiskFailed(f"{folder}: {done.stderr.strip()}")

    @property
    def full(self) -> bool:
        """Whether it is filled up right now."""
        return (self.folder / FILLER).exists()

    def fill(self) -> None:
        """Fills the disk to the last byte."""
        with (self.folder / FILLER).open("ab", buffering=0) as file:
            for block in BLOCKS:
                try:
                    while file.write(bytes(block)) == block:
                        pass
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise

    def clear(self) -> None:
        """Frees the space again."""
        (self.folder / FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmounts the disk, which deletes its contents."""
        subprocess.run(["umount", "--lazy", str(self.folder)], capture_output=True, check=False)
