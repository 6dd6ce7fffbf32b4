"""Imports pyarrow when it is first used: it holds strings and reads files, and takes 30 MiB.

A daemon whose graphs have integer ids and no string columns never needs it. Modules import it from here, and must not
use it while they are being imported themselves.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv as pcsv
    import pyarrow.parquet as pq
else:

    class _Late:
        """Stands for a module until one of its attributes is read; caches what was read."""

        def __init__(self, name: str) -> None:
            self._name = name

        def __getattr__(self, attribute: str) -> Any:
            found = getattr(import_module(self._name), attribute)
            setattr(self, attribute, found)
            return found

    pa, pc, pcsv, pq = (_Late(f"pyarrow{name}") for name in ("", ".compute", ".csv", ".parquet"))

__all__ = ["pa", "pc", "pcsv", "pq"]
