"""A node's partition is a function of its id, the same for one id and for a million at once."""

from __future__ import annotations

import mmh3
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.graph.ids import PARTITIONS_MAX, partition_of, partition_type, partitions_of

INTEGERS = st.integers(-(1 << 63), (1 << 63) - 1)
COUNTS = st.integers(1, PARTITIONS_MAX)


@given(st.lists(INTEGERS), COUNTS)
@settings(deadline=None)
def test_integers_hash_as_mmh3_hashes_their_eight_bytes(ids: list[int], count: int) -> None:
    expected = [mmh3.hash(i.to_bytes(8, "little", signed=True), 0, signed=False) % count for i in ids]
    assert partitions_of(np.array(ids, dtype=np.int64), count).tolist() == expected
    assert [partition_of(i, count) for i in ids] == expected


@given(st.lists(st.text()), COUNTS, st.integers(0, 3), st.sampled_from([pa.string(), pa.large_string()]))
@settings(deadline=None)
def test_strings_hash_as_mmh3_hashes_their_utf8(ids: list[str], count: int, cut: int, kind: pa.DataType) -> None:
    expected = [mmh3.hash(i.encode(), 0, signed=False) % count for i in ids][cut:]
    assert partitions_of(pa.array(ids, kind)[cut:], count).tolist() == expected
    assert [partition_of(i, count) for i in ids[cut:]] == expected


def test_partitions_are_pinned() -> None:
    """They are on disk and between versions: if this fails, every stored graph is misplaced."""
    assert partitions_of(np.array([0, 1, -1, 1 << 62]), 64).tolist() == [60, 4, 40, 26]
    assert partitions_of(pa.array(["", "a", "libc6", "größe"]), 64).tolist() == [0, 50, 5, 63]


@pytest.mark.parametrize(("count", "kind"), [(1, np.uint8), (256, np.uint8), (257, np.uint16), (65536, np.uint16)])
def test_a_partition_takes_as_few_bytes_as_will_do(count: int, kind: type) -> None:
    partitions = partitions_of(np.arange(100_000), count)
    assert partitions.dtype == kind
    assert int(partitions.max()) == count - 1 or count > 10_000


@pytest.mark.parametrize("count", [0, -1, PARTITIONS_MAX + 1])
def test_a_number_of_partitions_has_bounds(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 65536 partitions"):
        partition_type(count)


def test_nodes_spread_evenly() -> None:
    """Sequential ids are the usual ones; a partition is within five deviations of its share."""
    counts = np.bincount(partitions_of(np.arange(640_000), 64), minlength=64)
    assert np.abs(counts - 10_000).max() < 5 * 10_000**0.5
