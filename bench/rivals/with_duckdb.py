"""DuckDB: a table of edges, and for each iteration a table created by one statement."""

from __future__ import annotations

from typing import Any

import duckdb
import numpy as np
from numpy.typing import NDArray

from bench.rivals import engine


class Engine(engine.Engine):
    """Works in memory. Ids are as in the file."""

    def start(self) -> None:
        self._base: Any = duckdb.connect(config={"threads": self.job.threads})

    def load(self) -> None:
        weight = ", weight" if self.job.algorithm == "sssp" else ""
        path = self.job.edges.replace("'", "''")
        self._do(f"CREATE TABLE edges AS SELECT source, target{weight} FROM read_parquet('{path}')")
        match self.job.algorithm:
            case "pagerank":
                self._do("CREATE TABLE degrees AS SELECT source AS id, count(*) AS degree FROM edges GROUP BY source")
            case "wcc" | "cdlp":
                self._do("INSERT INTO edges SELECT target, source FROM edges")
            case "lcc":
                self._do(
                    "CREATE TABLE near AS SELECT source AS id, target AS near FROM edges UNION"
                    " SELECT target, source FROM edges"
                )
        self._do("CREATE TABLE nodes AS SELECT source AS id FROM edges UNION SELECT target FROM edges")
        self._nodes = self._one("SELECT count(*) FROM nodes")

    def pagerank(self) -> str:
        """Runs two joins and a group per iteration."""
        self._next(f"SELECT id, {1.0 / self._nodes!r}::DOUBLE AS rank FROM nodes")
        for _ in range(self.job.iterations):
            kept = self._one("SELECT sum(rank) FROM state JOIN degrees USING (id)")
            base = (
                1.0 - engine.DAMPING + engine.DAMPING * (self._one("SELECT sum(rank) FROM state") - kept)
            ) / self._nodes
            self._next(
                "WITH shares AS (SELECT id, rank / degree AS share FROM state JOIN degrees USING (id)),"
                " arrived AS (SELECT target AS id, sum(share) AS share"
                " FROM edges JOIN shares ON source = id GROUP BY target)"
                f" SELECT id, {base!r} + {engine.DAMPING} * coalesce(share, 0) AS rank"
                " FROM nodes LEFT JOIN arrived USING (id)"
            )
        return "SELECT rank FROM state"

    def wcc(self) -> str:
        """Takes the least label among a node and its neighbours, until none changes."""
        self._next("SELECT id, id AS label FROM nodes")
        total = -1
        while (after := self._one("SELECT sum(label) FROM state")) != total:  # labels only fall: no sum repeats
            total = after
            self._next(
                "WITH least AS (SELECT target AS id, min(label) AS least"
                " FROM edges JOIN state ON source = id GROUP BY target)"
                " SELECT id, least(label, least) AS label FROM state JOIN least USING (id)"
            )
        return "SELECT label FROM state"

    def bfs(self) -> str:
        """Finds the last level's neighbours that are not known yet."""
        self._do("CREATE OR REPLACE TABLE reached AS SELECT ?::BIGINT AS id, 0 AS depth", [self.job.source])
        level = 0
        while self._one(f"SELECT count(*) FROM reached WHERE depth = {level}"):
            self._do(
                f"INSERT INTO reached SELECT DISTINCT target, {level + 1} FROM edges JOIN reached ON source = id"
                f" WHERE depth = {level} AND target NOT IN (SELECT id FROM reached)"
            )
            level += 1
        return "SELECT depth FROM reached"

    def sssp(self) -> str:
        """Runs Bellman-Ford over nodes whose distance has changed."""
        self._next("SELECT ?::BIGINT AS id, 0.0::DOUBLE AS distance, true AS changed", [self.job.source])
        while self._one("SELECT count(*) FROM state WHERE changed"):
            self._next(
                "WITH offers AS (SELECT target AS id, min(distance + weight) AS offer"
                " FROM edges JOIN state ON source = id WHERE changed GROUP BY target)"
                " SELECT id, least(distance, offer) AS distance,"
                " coalesce(offer < distance, distance IS NULL) AS changed"
                " FROM state FULL JOIN offers USING (id)"
            )
        return "SELECT distance FROM state"

    def cdlp(self) -> str:
        """Counts labels, and keeps the most frequent, the least on a tie."""
        self._next("SELECT id, id AS label FROM nodes")
        for _ in range(self.job.iterations):
            self._next(
                "WITH counted AS (SELECT target AS id, label, count(*) AS times"
                " FROM edges JOIN state ON source = id GROUP BY target, label)"
                " SELECT id, arg_max(label, (times, -label)) AS label FROM counted GROUP BY id"
            )
        return "SELECT label FROM state"

    def lcc(self) -> str:
        """Joins every node's neighbours with their edges, and keeps those that end at a neighbour."""
        self._next(
            "WITH joined AS (SELECT one.id, count(*) AS joined FROM near AS one JOIN edges ON one.near = edges.source"
            " JOIN near AS other ON other.id = one.id AND other.near = edges.target GROUP BY one.id),"
            " degrees AS (SELECT id, count(*) AS degree FROM near GROUP BY id)"
            " SELECT id, coalesce(joined / (degree * (degree - 1)), 0.0) AS coefficient"
            " FROM degrees LEFT JOIN joined USING (id)"
        )
        return "SELECT coefficient FROM state"

    def values(self, result: Any) -> NDArray[Any]:
        column = self._base.execute(result).fetchnumpy()
        return np.asarray(next(iter(column.values())))

    def close(self) -> None:
        self._base.close()

    def _next(self, query: str, given: list[Any] | None = None) -> None:
        """Creates the state of the next iteration; the query may read the current one."""
        self._do(f"CREATE TABLE state_after AS {query}", given)
        self._do("DROP TABLE IF EXISTS state")
        self._do("ALTER TABLE state_after RENAME TO state")

    def _one(self, query: str) -> Any:
        return self._base.execute(query).fetchone()[0]

    def _do(self, query: str, given: list[Any] | None = None) -> None:
        self._base.execute(query, given or [])
