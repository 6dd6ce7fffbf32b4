"""The digests of columns, each computed once, if possible from rows that are being read anyway.

A client reads a whole column in consecutive ranges of ordinals. Each range that passes in order is added to the
column's digest, so that a client that checks the digest at the end causes no second reading.
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
"""A run, its tick and a column."""


class Digests:
    """Complete digests, and the beginnings of others."""

    def __init__(self) -> None:
        self._known: OrderedDict[Key, str] = OrderedDict()
        self._under_way: OrderedDict[Key, tuple[int, ColumnDigest]] = OrderedDict()
        """The next ordinal, and the digest of all before it."""

    def known(self, key: Key) -> str | None:
        """Returns a column's digest, if it has been computed."""
        return self._known.get(key)

    async def take(
        self, run: str, tick: int, first: int, total: int, ids: Any, values: Mapping[str, NDArray[Any]]
    ) -> None:
        """Adds rows of some columns, from ordinal `first` on, of `total` nodes; ignores rows out of order."""
        for column, its in values.items():
            key = run, tick, column
            at, digest = self._under_way.pop(key, (0, ColumnDigest()))
            if key in self._known:
                continue
            if at != first and first:
                self._begun(key, at, digest)
                continue
            digest = digest if first else ColumnDigest()  # the client that starts over may be the only one left
            await asyncio.to_thread(digest.update, ids, its)
            if first + len(its) == total:
                self.keep(key, digest.hexdigest())
            else:
                self._begun(key, first + len(its), digest)

    def keep(self, key: Key, digest: str) -> None:
        """Keeps a complete digest."""
        self._known[key] = digest
        while len(self._known) > KEPT_MAX:
            self._known.popitem(last=False)

    def forget(self, runs: Collection[str]) -> None:
        """Forgets the digests of runs whose results are gone."""
        for kept in (self._known, self._under_way):
            for key in [key for key in kept if key[0] in runs]:
                del kept[key]

    def _begun(self, key: Key, upto: int, digest: ColumnDigest) -> None:
        if upto:
            self._under_way[key] = upto, digest
        while len(self._under_way) > UNDER_WAY_MAX:
            self._under_way.popitem(last=False)
