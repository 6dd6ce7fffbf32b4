"""Files of results: whole, or as if nobody had tried."""

from __future__ import annotations

import sys
from itertools import count
from pathlib import Path
from types import FrameType
from typing import Any

import pyarrow as pa
import pyarrow.csv as arrow_csv
import pyarrow.parquet as pq
import pytest

from shoal.api.errors import ShoalError
from shoal.query import output as module
from shoal.query.output import Output

BATCH = pa.RecordBatch.from_pydict({"id": ["a", "b,\n"], "rank": [0.1 + 0.2, None]})


def written(path: Path, times: int) -> None:
    with Output(path, ["rank"]) as output:
        for _ in range(times):
            output.write(BATCH)
    assert output.rows == times * 2


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
def test_batches_come_back_as_one_table(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"r.{ending}"
    written(path, 3)
    expected = pa.Table.from_batches([BATCH] * 3)
    found: Any
    match ending:
        case "csv":
            options = arrow_csv.ParseOptions(newlines_in_values=True)
            found = arrow_csv.read_csv(path, parse_options=options).rename_columns(["id", "rank"])
        case "parquet":
            found = pq.read_table(path)
        case _:
            found = pa.ipc.open_file(path).read_all()
    assert found.equals(expected)


@pytest.mark.parametrize("ending", ["csv", "parquet", "arrow"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ShoalError])
def test_what_is_broken_off_leaves_nothing_and_takes_nothing_away(
    tmp_path: Path, ending: str, error: type[BaseException]
) -> None:
    path = tmp_path / f"r.{ending}"
    path.write_text("what was there before")
    with pytest.raises(error), Output(path, ["rank"]) as output:
        _write_and_raise(output, error)
    assert path.read_text() == "what was there before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the file is closed when collected
def test_an_interrupt_at_any_line_leaves_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    old, new = "what was there before", "id,value\na,"
    interrupted = 0
    for at in count(1):
        path.write_text(old)
        if not _interrupted(path, at):
            break
        interrupted += 1
        assert path.read_text().startswith((old, new))
        assert list(tmp_path.iterdir()) == [path]
    assert interrupted > 20
    assert path.read_text().startswith(new)


def _interrupted(path: Path, at: int) -> bool:
    """Whether writing a file came so far as the line of the module, or the call in it, that is interrupted."""
    seen = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal seen
        if frame.f_code.co_filename != module.__file__ or frame.f_code.co_name == "_remove":
            return None
        seen += 1
        if seen == at:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        written(path, 1)
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def _write_and_raise(output: Output, error: type[BaseException]) -> None:
    output.write(BATCH)
    raise error


def test_several_columns_have_their_names(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    with Output(path, ["depth", "cost"]) as output:
        output.write(pa.RecordBatch.from_pydict({"id": [1, 2], "depth": [3, None], "cost": [1e-5, 2.0]}))
    assert path.read_bytes() == b"id,depth,cost\n1,3,1e-05\n2,,2.0\n"


def test_what_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        ShoalError, match=r"r\.xlsx: the format is not known: the name should end in \.csv, \.parquet, \.arr"
    ):
        Output(tmp_path / "r.xlsx", ["rank"])
    with (
        pytest.raises(ShoalError, match=r"r\.csv: cannot be written: No such file"),
        Output(tmp_path / "no" / "r.csv", []),
    ):
        pass
