"""Spark DataFrames: joins and groups, and one checkpoint per iteration so that the plan does not grow."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pyspark.sql import functions as f

from bench.rivals import engine, spark


class Engine(engine.Engine):
    """Holds edges in memory, cut by their source; results are DataFrames in memory."""

    def start(self) -> None:
        self._session = spark.session(self.job)

    def load(self) -> None:
        edges = self._session.read.parquet(self.job.edges)
        if self.job.algorithm != "sssp":
            edges = edges.select("source", "target")
        if self.job.algorithm in ("wcc", "cdlp"):
            edges = edges.union(edges.select(f.col("target").alias("source"), f.col("source").alias("target")))
        self._edges = edges.repartition(spark.partitions(self.job), "source").cache()
        ends = self._edges.select(f.col("source").alias("id")), self._edges.select(f.col("target").alias("id"))
        self._ids = ends[0].union(ends[1]).distinct().cache()
        self._nodes = self._ids.count()
        degrees = self._edges.groupBy(f.col("source").alias("id")).agg(f.count("*").alias("degree"))
        self._degrees = degrees.cache() if self.job.algorithm == "pagerank" else degrees
        self._degrees.count()

    def pagerank(self) -> Any:
        """Runs two joins and a group per iteration."""
        begin = self._ids.join(self._degrees, "id", "left")
        state = begin.withColumn("rank", f.lit(1.0 / self._nodes)).localCheckpoint()
        for _ in range(self.job.iterations):
            lost = state.where(f.col("degree").isNull()).agg(f.sum("rank")).first()[0] or 0.0
            base = (1.0 - engine.DAMPING + engine.DAMPING * lost) / self._nodes
            shares = state.select(f.col("id").alias("source"), (f.col("rank") / f.col("degree")).alias("share"))
            arrived = (
                self._edges.join(shares, "source").groupBy(f.col("target").alias("id")).agg(f.sum("share").alias("got"))
            )
            rank = f.lit(base) + engine.DAMPING * f.coalesce("got", f.lit(0.0))
            state = state.join(arrived, "id", "left").select("id", "degree", rank.alias("rank")).localCheckpoint()
        return state.select("rank")

    def wcc(self) -> Any:
        """Takes the least label among a node and its neighbours, until none changes."""
        state = self._ids.withColumn("label", f.col("id")).localCheckpoint()
        total = -1
        while (after := state.agg(f.sum("label")).first()[0]) != total:  # labels only fall: no sum repeats
            total = after
            near = self._near(state).groupBy("id").agg(f.min("label").alias("near"))
            label = f.least("label", "near").alias("label")
            state = state.join(near, "id").select("id", label).localCheckpoint()
        return state.select("label")

    def bfs(self) -> Any:
        """Finds the last level's neighbours that are not known yet."""
        level = self._session.createDataFrame([(self.job.source, 0)], "id long, depth int").localCheckpoint()
        reached, deep = level, 0
        while level.count():
            deep += 1
            found = self._edges.join(level.withColumnRenamed("id", "source"), "source")
            found = found.select(f.col("target").alias("id")).distinct().join(reached, "id", "left_anti")
            level = found.withColumn("depth", f.lit(deep)).localCheckpoint()
            reached = reached.union(level).coalesce(spark.partitions(self.job)).localCheckpoint()
        return reached.select("depth")

    def sssp(self) -> Any:
        """Runs Bellman-Ford over nodes whose distance has changed."""
        state = self._session.createDataFrame(
            [(self.job.source, 0.0, True)], "id long, distance double, changed boolean"
        ).localCheckpoint()
        while state.where("changed").count():
            moved = state.where("changed").select(f.col("id").alias("source"), "distance")
            offers = self._edges.join(moved, "source").groupBy(f.col("target").alias("id"))
            offers = offers.agg(f.min(f.col("distance") + f.col("weight")).alias("offer"))
            nearer = f.coalesce(f.col("offer") < f.col("distance"), f.col("distance").isNull())
            state = state.join(offers, "id", "full").select(
                "id", f.least("distance", "offer").alias("distance"), nearer.alias("nearer")
            )
            state = state.select(
                "id", "distance", f.coalesce("nearer", f.lit(False)).alias("changed")
            ).localCheckpoint()
        return state.select("distance")

    def cdlp(self) -> Any:
        """Counts labels, and keeps the most frequent, the least on a tie."""
        state = self._ids.withColumn("label", f.col("id")).localCheckpoint()
        for _ in range(self.job.iterations):
            counted = self._near(state).groupBy("id", "label").count()
            best = f.max_by("label", f.struct("count", -f.col("label"))).alias("label")
            state = counted.groupBy("id").agg(best).localCheckpoint()
        return state.select("label")

    def values(self, result: Any) -> NDArray[Any]:
        return np.array([row[0] for row in result.collect()])

    def close(self) -> None:
        self._session.stop()

    def _near(self, state: Any) -> Any:
        """Returns each edge's target with its source's label."""
        joined = self._edges.join(state.withColumnRenamed("id", "source"), "source")
        return joined.select(f.col("target").alias("id"), "label")
