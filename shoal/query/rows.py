"""Some rows of a result: a stretch of nodes in id order, with their values of some columns.

A result of any size is read batch by batch, so no process has to hold more than one batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from shoal.api.ranges import ROWS_MAX
from shoal.graph import columns as col
from shoal.graph.arrow import pa

STRETCH: Final = ROWS_MAX
"""Rows in one stretch: enough that a request costs little, few enough to fit in memory anywhere."""


@dataclass(frozen=True)
class RowBatch:
    """Rows from ordinal `first` on, of `total`, as they were after tick `tick` of a run.

    `nulls` maps columns to the value that means none, if they have one. `digests`, in the last stretch from a daemon,
    has the digest of each whole column.
    """

    run: str
    tick: int
    first: int
    total: int
    ids: Any
    values: Mapping[str, NDArray[Any]]
    nulls: Mapping[str, Any]
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def last(self) -> int:
        """The ordinal after the last row."""
        return self.first + len(self.ids)

    def batch(self) -> Any:
        """Returns a `pyarrow.RecordBatch`: `id`, then the columns, with nulls."""
        ids = pa.array(self.ids) if isinstance(self.ids, np.ndarray) else col.plain(self.ids)
        arrays = [
            pa.array(values, mask=null_mask(values, self.nulls.get(column))) for column, values in self.values.items()
        ]
        return pa.RecordBatch.from_arrays([ids, *arrays], ["id", *self.values])


def null_mask(values: NDArray[Any], null: Any) -> NDArray[np.bool_] | None:
    """Returns where values are missing, or None if none is. NaN may represent a missing value."""
    if null is None:
        return None
    mask = np.isnan(values) if null != null else values == values.dtype.type(null)
    return mask if mask.any() else None


def null_of(column: Any) -> Any:
    """Returns the value that represents a missing one in a declared column, or None if there is no such value."""
    return getattr(column, "null", None)
