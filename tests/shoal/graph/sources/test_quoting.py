"""What quotes mean in files: rows are never swallowed or put together in silence."""

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.graph.sources import read_graph
from shoal.graph.sources.quoting import Watched
from shoal.graph.table import BadGraph, BadRow

HEAD = "source\ttarget\n"


def ends(graph: Any) -> list[str]:
    ids = graph.ids
    return list(ids.to_pylist() if hasattr(ids, "to_pylist") else ids)


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ('"Heroes\tBowie\na\tb\nc\td\n"Heroes\tBowie\n', 2, "the quoted field that begins here goes on behind"),
        ('"Heroes" live\tBowie\n', 2, "the quoted field that begins here goes on behind"),
        ('a\tb\n12" single\tBowie\n', 3, "there is a quote inside a field that does not begin with one"),
        ('a\tb\nBowie\tthe "best"\n', 3, "there is a quote inside a field"),
        ('a\t "b"\n', 2, "there is a quote inside a field"),
        ('"a\\"b"\tc\n', 2, "the quoted field that begins here"),
        ('a\tb\n"Heroes\tBowie\nc\td\n', 3, "a quote is opened here and never closed"),
        ('a\tb\nc\t"', 3, "a quote is opened here and never closed"),
        ('"Heroes\tBowie\nx\ty\nLow"\tBowie\n', 2, "lines 2 to 4 are one row .* and 3 rows if"),
        ('a\tb\n\n"Heroes\tBowie\n\nLow"\tBowie\n', 4, "lines 4 to 6 are one row .* and 2 rows if"),
        ("a\tb\nc\0\td\n", 3, "there is a NUL byte"),
        ("a\tb\n\ufeffc\td\n", 3, "the line begins with a byte order mark"),
    ],
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_quotes_that_may_mean_something_else_are_refused(
    tmp_path: Path, text: str, line: int, reason: str, end: str
) -> None:
    file = tmp_path / "e.tsv"
    file.write_bytes((HEAD + text).replace("\n", end).encode())
    with pytest.raises(BadRow, match=reason) as caught:
        read_graph(edges=file)
    assert caught.value.line == line


def test_quotes_are_characters_where_the_file_says_so(tmp_path: Path) -> None:
    file = tmp_path / "e.tsv"
    file.write_text(HEAD + '"Heroes\tBowie\na\tb\n12" single\t"c"\n"Heroes\tBowie\n')
    graph = read_graph(edges=file, quote="none")
    assert graph.edge_count == 4
    assert ends(graph) == sorted(['"Heroes', "Bowie", "a", "b", '12" single', '"c"'])
    file.write_text(HEAD + 'a\tb\n"x\ty"\tz\n')
    with pytest.raises(BadRow, match=r"3 fields, and the header has 2$") as caught:
        read_graph(edges=file, quote="none")
    assert caught.value.line == 3


def test_what_may_be_meant_in_two_ways_is_decided_by_choice(tmp_path: Path) -> None:
    nodes, edges = tmp_path / "n.csv", tmp_path / "e.csv"
    edges.write_text("source,target\n1,2\n")
    nodes.write_text('id,note\n1,"so\nit, goes"\n2,x\n')
    with pytest.raises(BadRow, match=r"n.csv:2: lines 2 to 3 .*quote='double' or 'none'"):
        read_graph(nodes, edges=edges)
    assert read_graph(nodes, edges=edges, quote="double").node_count == 2
    nodes.write_text('id,note\n1,"so, and\nso it, goes, on"\n2,x\n')  # only one of the two makes rows
    assert read_graph(nodes, edges=edges).node_count == 2
    with pytest.raises(BadGraph, match="quote is one of auto, double, none, not 'off'"):
        read_graph(nodes, edges=edges, quote="off")


def test_a_file_with_another_delimiter_is_told_so(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_text("source;target\na;b\n")
    with pytest.raises(
        BadRow, match=r"fields are separated by ',' here, not by ';': a .csv has commas, a .tsv has tabs"
    ):
        read_graph(edges=tmp_path / "e.csv")


FIELD = st.text(st.sampled_from(['"', '"', ",", "\n", "\r", "a", "ä"]), max_size=5)


def keeps_to_the_rfc(text: str) -> bool:
    """The dumb twin: a letter at a time."""
    state = "begin"
    for letter in text + "\n":
        if state == "quoted":
            state = "closed" if letter == '"' else "quoted"
        elif letter == '"':
            if state == "plain":
                return False
            state = "quoted"
        elif letter in ",\r\n":
            state = "begin"
        elif state == "closed":
            return False
        else:
            state = "plain"
    return state != "quoted"


@given(
    fields=st.lists(st.lists(FIELD, min_size=1, max_size=3), max_size=8), cut=st.integers(1, 9), quoted=st.booleans()
)
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_fault_is_found_however_the_bytes_come(fields: list[list[str]], cut: int, quoted: bool) -> None:
    if quoted:
        text = io.StringIO(newline="")
        csv.writer(text).writerows(fields)
        data = text.getvalue()
    else:
        data = "\n".join(",".join(row) for row in fields)
    watched = Watched(io.BytesIO(data.encode()), ",", "auto")
    while watched.read(cut):
        pass
    watched.finish()
    assert (watched.fault is None) == keeps_to_the_rfc(data)
    if quoted:
        assert watched.fault is None
        assert watched.spans_lines == any("\n" in cell or "\r" in cell for row in fields for cell in row)
