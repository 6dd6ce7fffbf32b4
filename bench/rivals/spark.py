"""A Spark session on this machine's own cores, which both of Spark's rivals run in."""

from __future__ import annotations

from typing import Any

from pyspark.sql import SparkSession

from bench.rivals.engine import Job

MEMORY = "8g"
PARTITIONS_A_CORE = 2


def session(job: Job, classes: str | None = None) -> Any:
    """As many local cores as the job has threads; `classes` is a jar that the JVM is to know."""
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
    """Into how many parts the data are cut."""
    return PARTITIONS_A_CORE * job.threads
