"""Configures the allocator to keep little memory for itself, and to return it after a load.

A load passes through many arrays of some megabytes that are gone when it is done. By default, glibc learns from the
first large one that is freed to keep those that follow, up to 32 MiB each, in heaps, of which every thread has one:
four daemons that had loaded R-MAT 18 held 195 bytes an edge, of which the parts are 19. With these settings they hold
34, and a load takes a third less processor time.

Other C libraries have none of these settings, and are left alone.
"""

from __future__ import annotations

import ctypes
from typing import Any, Final

MMAP_BYTES: Final = 4 << 20
"""A larger array is a mapping of its own, which is unmapped when freed. Smaller ones are worth keeping."""
TRIM_BYTES: Final = 16 << 20
"""How much free memory a heap may keep at its end."""
HEAPS: Final = 2

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -3, -8  # malloc.h


def settle() -> None:
    """Configures the allocator. Call it before any thread starts, because threads keep their heaps."""
    mallopt = _found("mallopt")
    if mallopt is not None:
        for what, value in ((_M_ARENA_MAX, HEAPS), (_M_MMAP_THRESHOLD, MMAP_BYTES), (_M_TRIM_THRESHOLD, TRIM_BYTES)):
            mallopt(what, value)


def give_back() -> None:
    """Returns every free page to the system, which takes some milliseconds."""
    trim = _found("malloc_trim")
    if trim is not None:
        trim(ctypes.c_size_t(0))


def _found(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
