"""Tables that programs build: their digest, files, and what is said of those that are not there."""

from __future__ import annotations

import hashlib
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shoal
from shoal.query.tables import TableDigest, TablePart, TableResult
from tests.shoal.colony.colonies import Walkers


@pytest.fixture(scope="module")
def run() -> shoal.Run:
    data = shoal.from_arrays(np.arange(20), np.arange(20)[::-1], partition_count=5)
    return shoal.local(2).load("ring", data=data).run(Walkers, ticks=4)


def test_a_digest_is_over_counts_and_values_partition_by_partition() -> None:
    """What it is has to stay: digests are written down."""
    part = TablePart(0, 1, {"n": np.array([1, -2]), "s": pa.array(["", "é"]), "f": np.array([0.5, -0.0])})
    digest = TableDigest()
    digest.update(part)
    said = struct.pack("<qqqqq", 2, 1, -2, 0, 2) + "é".encode() + struct.pack("<dd", 0.5, -0.0)
    assert digest.hexdigest() == hashlib.sha256(said).hexdigest()
    assert TableResult("r", "t", [part, part]).digest != digest.hexdigest()


def test_a_table_is_read_by_rows_and_as_arrow(run: shoal.Run) -> None:
    agents = run.table_rows("agents")
    assert agents.fields == ("id", "kind", "place", "age", "idle", "memory")
    assert len(agents) == run.show()["figures"]["agents"] == len(list(agents)) == agents.to_arrow().num_rows
    assert {kind for _, kind, *_ in agents} == {"walker"}


@pytest.mark.parametrize("kind", ["csv", "parquet", "arrow"])
def test_a_table_is_written_to_a_file(run: shoal.Run, tmp_path: Path, kind: str) -> None:
    table, path = run.table_rows("concepts"), tmp_path / f"concepts.{kind}"
    assert run.at().save_table("concepts", path) == (len(table), table.digest)
    if kind == "csv":
        assert path.read_text().splitlines()[0] == ",".join(table.fields)
        assert len(path.read_text().splitlines()) == len(table) + 1
    elif kind == "parquet":
        assert pq.read_table(path).equals(table.to_arrow())


def test_a_table_that_is_not_there(run: shoal.Run) -> None:
    with pytest.raises(shoal.UnknownColumn, match="no table 'edge'; did you mean 'edges'"):
        run.table_rows("edge")
    with pytest.raises(shoal.ShoalError, match="can't be read at tick 2"):
        shoal.query.snapshot.Reading(run._backend, run.name, 2).table_rows("edges")
