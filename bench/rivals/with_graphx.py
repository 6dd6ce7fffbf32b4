"""Spark GraphX, which has only a Scala interface: Spark's own compiler compiles `with_graphx.scala` once."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pyspark
from numpy.typing import NDArray

from bench.rivals import engine, spark

SOURCE = Path(__file__).with_suffix(".scala")


class Engine(engine.Engine):
    """Calls the same methods of the Scala class through py4j."""

    def start(self) -> None:
        self._session = spark.session(self.job, str(compiled(Path(self.job.folder))))
        java = self._session.sparkContext._jvm
        weighted = self.job.algorithm == "sssp"
        self._graph: Any = java.bench.rivals.GraphX(
            self._session._jsparkSession, self.job.edges, weighted, spark.partitions(self.job)
        )

    def load(self) -> None:
        self._graph.load()

    def pagerank(self) -> None:
        """Runs its static PageRank."""
        self._graph.pagerank(self.job.iterations, 1.0 - engine.DAMPING)

    def wcc(self) -> None:
        """Runs its ConnectedComponents."""
        self._graph.wcc()

    def bfs(self) -> None:
        """Runs Pregel with edges of length one."""
        self._graph.distances(self.job.source)

    def sssp(self) -> None:
        """Runs Pregel."""
        self._graph.distances(self.job.source)

    def cdlp(self) -> None:
        """Runs its LabelPropagation."""
        self._graph.cdlp(self.job.iterations)

    def values(self, result: Any) -> NDArray[Any]:
        return np.frombuffer(self._graph.values(), dtype="<f8")

    def close(self) -> None:
        self._session.stop()


def compiled(folder: Path) -> Path:
    """Returns the jar of the current source for this Spark; compiles it if `folder` has none."""
    version = hashlib.sha256(SOURCE.read_bytes() + pyspark.__version__.encode()).hexdigest()[:16]
    jar = folder / f"graphx-{version}.jar"
    if jar.exists():
        return jar
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"partial-{version}.jar"
    spark_jars = Path(pyspark.__file__).parent / "jars" / "*"
    compiler = ["java", "-cp", str(spark_jars), "scala.tools.nsc.Main", "-usejavacp", "-d", str(partial), str(SOURCE)]
    subprocess.run(compiler, check=True)
    os.replace(partial, jar)
    return jar
