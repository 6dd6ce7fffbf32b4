"""Results: the digest is what its definition says, and the top of a column is what sorting would give."""

from __future__ import annotations

import hashlib
import importlib.util
import math
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shoal.api.errors import ShoalError
from shoal.query.result import ColumnDigest, ColumnResult, extreme_rows
from shoal.query.rows import RowBatch

INTEGERS = st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(-2, 2), max_size=20)
FLOATS = st.lists(st.floats() | st.integers(-2, 2).map(float), max_size=20)


def defined(ids: list[Any], values: np.ndarray[Any, Any]) -> str:
    """Over two digests: of the ids as lines of text, and of the values' bytes."""
    lines = "".join(f"{node}\n" for node in ids).encode()
    both = hashlib.sha256(lines).digest() + hashlib.sha256(values.astype("<" + values.dtype.str[1:]).tobytes()).digest()
    return hashlib.sha256(both).hexdigest()


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats())), st.integers(0, 5))
def test_the_digest_is_as_defined_and_can_be_worked_out_in_stretches(rows: list[tuple[int, float]], cut: int) -> None:
    ids, values = np.array([i for i, _ in rows], dtype=np.int64), np.array([v for _, v in rows], dtype=np.float64)
    whole = ColumnResult("r", "c", ids, values).digest
    assert whole == defined(ids.tolist(), values)
    digest = ColumnDigest()
    digest.update(ids[:cut], values[:cut])
    digest.update(ids[cut:], values[cut:])
    assert digest.hexdigest() == whole


@given(st.lists(st.tuples(st.text(), st.integers(-9, 9))))
def test_the_digest_of_text_ids(rows: list[tuple[str, int]]) -> None:
    ids = pa.array([i for i, _ in rows], type=pa.string())
    values = np.array([v for _, v in rows], dtype=np.int64)
    assert ColumnResult("r", "c", ids, values).digest == defined(ids.to_pylist(), values)
    assert ColumnResult("r", "c", ids.slice(1), values[1:]).digest == defined(ids.to_pylist()[1:], values[1:])


def ranked(values: list[Any], least: bool) -> list[int]:
    """NaN is neither great nor small: it comes last."""

    def place(row: int) -> tuple[bool, Any, int]:
        value = values[row]
        if isinstance(value, float) and math.isnan(value):
            return True, 0, row
        return False, value if least else -value, row

    return sorted(range(len(values)), key=place)


@given(INTEGERS | FLOATS, st.integers(0, 25), st.booleans())
@example([-(2**63), 0, 5], 2, False)
@example([math.nan, math.nan, 1.0], 2, False)
@example([math.inf, math.nan, -math.inf], 3, True)
def test_the_top_is_what_sorting_gives(values: list[Any], count: int, least: bool) -> None:
    kind = np.float64 if values and isinstance(values[0], float) else np.int64
    column = np.array(values, dtype=kind)
    rows = extreme_rows(np.arange(len(values)), column, count, least=least)
    assert rows.tolist() == ranked(values, least)[:count]


def test_ties_go_by_ordinal_wherever_the_rows_stand() -> None:
    rows = extreme_rows(np.array([30, 10, 20, 0]), np.array([1.0, 1.0, 2.0, 1.0]), 3)
    assert rows.tolist() == [2, 3, 1]


def test_a_result_as_rows_and_as_a_dictionary() -> None:
    result = ColumnResult("r", "c", pa.array(["a", "b"]), np.array([1.5, 2.5]))
    assert list(result) == [("a", 1.5), ("b", 2.5)]
    assert result.to_dict() == {"a": 1.5, "b": 2.5}
    assert result.to_numpy().tolist() == [1.5, 2.5]
    assert result.top(1) == [("b", 2.5)]
    assert result.top(5, least=True) == [("a", 1.5), ("b", 2.5)]
    assert len(result) == 2


@pytest.mark.parametrize("ids", [np.array([3, 4, 9]), pa.array(["x", "y", "z"])])
def test_stretches_are_joined(ids: Any) -> None:
    whole = ColumnResult("r", "c", ids, np.array([0.0, 1.0, 2.0]))
    parts = [RowBatch("r", 4, i, 3, ids[i:j], {"c": whole.values[i:j]}, {"c": 0.0}) for i, j in ((0, 2), (2, 3))]
    joined = ColumnResult.joined("c", parts)
    assert joined.digest == whole.digest
    assert (joined.run, joined.tick, joined.null) == ("r", 4, 0.0)
    assert joined.values.tolist() == whole.values.tolist()


@pytest.mark.parametrize(("values", "null"), [([5, -1, 7, -1], -1), ([5.0, math.inf, 7.0, math.inf], math.inf)])
def test_what_stands_for_none_is_shown_as_none(values: list[Any], null: Any) -> None:
    result = ColumnResult("r", "c", np.array([1, 2, 3, 4]), np.array(values), null, 9)
    assert result.to_dict() == {1: 5, 2: None, 3: 7, 4: None}
    assert result.top(3) == [(3, 7), (1, 5), (2, None)]
    assert result.top(4, least=True) == [(1, 5), (3, 7), (2, None), (4, None)]
    assert result.to_arrow().to_pydict() == {"id": [1, 2, 3, 4], "c": [5, None, 7, None]}
    assert result.to_numpy().tolist() == values
    assert result.digest == ColumnResult("r", "c", result.ids, result.values).digest


def test_not_a_number_may_stand_for_none() -> None:
    result = ColumnResult("r", "c", pa.array(["a", "b"]), np.array([math.nan, 1.0]), math.nan)
    assert result.to_dict() == {"a": None, "b": 1.0}
    assert result.top(2) == [("b", 1.0), ("a", None)]


def test_a_null_that_no_node_has_changes_nothing() -> None:
    values = np.array([3, 1, 2])
    result = ColumnResult("r", "c", np.arange(3), values, -1)
    assert result.top(2) == [(0, 3), (2, 2)]
    assert result.to_arrow()["c"].null_count == 0


def test_a_result_to_files(tmp_path: Path) -> None:
    result = ColumnResult("r", "c", pa.array(["a", 'b,"c"', "d"]), np.array([0.1 + 0.2, 1e-300, math.inf]), math.inf)
    result.to_csv(tmp_path / "r.csv")
    assert (tmp_path / "r.csv").read_text() == 'id,value\na,0.30000000000000004\n"b,""c""",1e-300\nd,\n'
    result.to_parquet(tmp_path / "r.parquet")
    assert pq.read_table(tmp_path / "r.parquet").equals(result.to_arrow())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "r.parquet"]


def test_pandas_or_a_word_of_how_to_get_it() -> None:
    result = ColumnResult("r", "c", np.array([1, 2]), np.array([5, -1]), -1)
    if importlib.util.find_spec("pandas") is None:
        with pytest.raises(ShoalError, match=r"pip install 'shoal\[pandas\]'"):
            result.to_pandas()
    else:
        assert result.to_pandas()["id"].tolist() == [1, 2]
