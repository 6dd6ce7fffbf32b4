"""A Spark session on this machine's cores, in which both of Spark's rivals run."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from bench.rivals.engine import Job

MEMORY = "8g"
PARTITIONS_A_CORE = 2


def session(job: Job, classes: str | None = None) -> Any:
    """Starts one with as many local cores as the job has threads; `classes` is a jar for the JVM."""
    builder = (
        SparkSession.builder.master(f"local[{job.threads}]")
        .appName("bench")
        .config("spark.driver.memory", MEMORY)
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", partitions(job))
        .config("spark.default.parallelism", partitions(job))
    )
    if classes is not None:
        builder = builder.config("spark.driver.extraClassPath", classes)
    found = builder.getOrCreate()
    found.sparkContext.setLogLevel("ERROR")
    found.range(1000).groupBy("id").count().collect()  # the first job starts what all others use
    return found


def partitions(job: Job) -> int:
    """Returns the number of parts into which the data is cut."""
    return PARTITIONS_A_CORE * job.threads
