"""The digests of columns, worked out once each, if possible from rows that pass by anyway.

Whoever reads a whole column does so a stretch of ordinals after the other. Each stretch that goes by in its turn is
taken into the digest of its column, so that who checks what has come at the end costs nobody a second reading.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from shoal.query.result import ColumnDigest

KEPT_MAX: Final = 256
UNDER_WAY_MAX: Final = 64

Key: TypeAlias = tuple[str, int, str]
"""A run, a tick of it and a column."""


class Digests:
    """Those that are known, and those of which a beginning is."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, str] = OrderedDict()
        self._under_way: OrderedDict[Key, tuple[int, ColumnDigest]] = OrderedDict()
        """Up to which ordinal, and what came before it."""

    def known(self, key: Key) -> str | None:
        """A column's digest, if it has been worked out."""
        return self._known.get(key)

    async def take(
        self, run: str, tick: int, first: int, total: int, ids: Any, values: Mapping[str, NDArray[Any]]
    ) -> None:
        """Rows of some columns, from ordinal `first` on, of `total` nodes; out of turn they are of no use."""
        for column, its in values.items():
            key = run, tick, column
            at, digest = self._under_way.pop(key, (0, ColumnDigest()))
            if key in self._known:
                continue
            if at != first and first:
                self._begun(key, at, digest)
                continue
            digest = digest if first else ColumnDigest()  # who begins again may be the only one who still reads
            await asyncio.to_thread(digest.update, ids, its)
            if first + len(its) == total:
                self.keep(key, digest.hexdigest())
            else:
                self._begun(key, first + len(its), digest)

    def keep(self, key: Key, digest: str) -> None:
        """A digest that is known now."""
        self._known[key] = digest
        while len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)

    def forget(self, runs: Collection[str]) -> None:
        """The results of these runs are gone."""
        for kept in (self._known, self._under_way):
            for key in [key for key in kept if key[0] in runs]:
                del kept[key]

    def _begun(self, key: Key, upto: int, digest: ColumnDigest) -> None:
        if upto:
            self._under_way[key] = upto, digest
        while len(self._under_way) > UNDER_WAY_MAX:
            self._under_way.popitem(last=False)
