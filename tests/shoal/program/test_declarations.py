"""What can't be declared is refused where it stands, before anything runs with it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shoal import Aggregate, BadParameter, Channel, Column, Lists, Mail, Merge, Phase
from shoal.algorithms.pagerank import PageRank


@pytest.mark.parametrize(
    ("kind", "given", "told"),
    [
        (Column, ("level", np.int32), r"column 'level': its type is .*int32.*; give np.float64 or np.int64"),
        (Column, ("level", int), "column 'level'"),
        (Column, ("level", "int64"), "column 'level'"),
        (Aggregate, ("sum", Merge.SUM, np.float32), "aggregate 'sum': its type is"),
        (Channel, ("news", np.uint8), "channel 'news': its type is"),
        (Lists, ("known", str), "list 'known': .*; give np.float64, np.int64, np.int32 or np.uint8"),
        (Mail, ("post", (("to", np.int32),)), "field 'to' of mail 'post': .*np.int64 or bytes"),
        (Mail, ("post", (("to", bytes),), Phase.SENSE), "in Act or in Advance, not in sense"),
        (Aggregate, ("sum", Merge.MODE), "merged with sum, min or max, not mode"),
        (Channel, ("news", np.int64, Merge.COUNT), "combined with sum, min or max, not count"),
    ],
)
def test_what_is_no_declaration_is_refused(kind: Any, given: tuple[Any, ...], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        kind(*given)


def test_a_wrong_name_of_any_length_is_told_in_a_sentence() -> None:
    with pytest.raises(BadParameter, match=r"^program 'pagerank' has no parameter 'x{60}\.\.\.'$"):
        PageRank(**{"x" * 500_000: 1})
