"""One graph from any kind of file is one graph; a file that is wrong is told where and why."""

from __future__ import annotations

import csv
import gzip
import re
from pathlib import Path
from typing import Any

import networkx as nx
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shoal.graph.graph_data import BadGraph, BadRow, GraphData
from shoal.graph.sources import from_arrays, from_networkx, read_graph

DEBIAN = Path(__file__).parents[4] / "examples/data/debian"

NODES = '''id,name:str,age:int,height:float,member:bool
b,Bob,40,1.8,true
a,"Ann, or
""Annie""",35,,False

c,,-1,1e-3,1
'''
EDGES = """source,target,type,weight,since:int
b,a,knows,0.5,2001
a,b,knows,2,2002
a,b,likes,1e1,2003
c,a,knows,0.25,2004
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File names in messages are as given; here they are short."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str | bytes) -> str:
    data = text.encode() if isinstance(text, str) else text
    Path(name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return name


def by_hand() -> GraphData:
    return from_arrays(
        ["b", "a", "a", "c"],
        ["a", "b", "b", "a"],
        nodes=["b", "a", "c"],
        node_columns={
            "name": ["Bob", 'Ann, or\n"Annie"', ""],
            "age": [40, 35, -1],
            "height": [1.8, float("nan"), 0.001],
            "member": [True, False, True],
        },
        edge_columns={
            "type": ["knows", "knows", "likes", "knows"],
            "weight": [0.5, 2.0, 10.0, 0.25],
            "since": [2001, 2002, 2003, 2004],
        },
    )


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".tsv", ".tsv.gz", ".CSV"])
@pytest.mark.parametrize("prepare", [str, lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t, str.rstrip])
def test_a_csv_file_is_the_graph_it_describes(suffix: str, prepare: Any) -> None:
    def translated(text: str) -> str:
        return re.sub(r",(?! )", "\t", text) if "tsv" in suffix else text

    nodes = write("nodes" + suffix, prepare(translated(NODES)))
    edges = write("edges" + suffix, prepare(translated(EDGES)))
    graph = read_graph(nodes, edges=edges)
    # A line break inside a value is kept as it is; only here it differs between the variants.
    names = [name.replace("\r", "") for name in graph.node_columns["name"].to_pylist()]
    assert names == ['Ann, or\n"Annie"', "Bob", ""]
    columns = {**graph.node_columns, "name": pa.array(names)}
    graph = GraphData(graph.ids, 64, graph.partition, columns, graph.source, graph.target, graph.edge_columns)
    assert graph.equals(by_hand())


@pytest.mark.usefixtures("home")
def test_csv_and_parquet_and_arrays_and_networkx_agree() -> None:
    expected = by_hand()
    tables = {
        "nodes.parquet": {"id": expected.ids, **expected.node_columns},
        "edges.parquet": {
            "source": expected.ids.take(pa.array(expected.source)),
            "target": expected.ids.take(pa.array(expected.target)),
            **expected.edge_columns,
        },
    }
    for name, columns in tables.items():
        pq.write_table(pa.table(columns), name)
    csvs = read_graph(write("n.csv", NODES), edges=write("e.csv", EDGES))
    assert csvs.equals(expected)
    assert read_graph("nodes.parquet", edges="edges.parquet").equals(expected)
    assert read_graph("nodes.parquet", edges="e.csv").equals(expected)
    assert read_graph("n.csv", edges="edges.parquet").equals(expected)
    graph = nx.MultiDiGraph()
    for row, node in enumerate(expected.ids.to_pylist()):
        graph.add_node(
            node,
            **{
                name: column[row].tolist() if isinstance(column, np.ndarray) else column[row].as_py()
                for name, column in expected.node_columns.items()
            },
        )
    for row, line in enumerate(csv.DictReader(EDGES.replace(":int", "").splitlines())):
        assert row < 4
        graph.add_edge(
            line["source"], line["target"], type=line["type"], weight=float(line["weight"]), since=int(line["since"])
        )
    assert from_networkx(graph).equals(expected)


def test_the_debian_packages() -> None:
    graph = read_graph(DEBIAN / "nodes.csv.gz", edges=DEBIAN / "edges.csv.gz", types={"installed_size_kib": "float"})
    assert (graph.node_count, graph.edge_count) == (72_120, 342_153)
    assert list(graph.node_columns) == ["kind", "section", "priority", "installed_size_kib", "version", "description"]
    graph.validate()
    ids = graph.ids.to_pylist()
    assert ids == sorted(ids, key=str.encode)
    chosen = dict.fromkeys(ids[::20])
    with gzip.open(DEBIAN / "edges.csv.gz", "rt", encoding="utf-8") as text:
        rows = sorted((row for row in csv.reader(text) if row[0] in chosen), key=lambda row: row[0].encode())
    source, target, kind = map(pa.array, zip(*rows, strict=True))
    mine = np.flatnonzero(graph.source % 20 == 0)
    assert graph.ids.take(pa.array(graph.source[mine])).equals(source)
    assert graph.ids.take(pa.array(graph.target[mine])).equals(target)
    assert graph.edge_columns["type"].take(pa.array(mine)).cast(pa.string()).equals(kind)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("nodes", "edges", "types", "ids"),
    [
        (None, "source,target\n10,9\n", {}, ["10", "9"]),
        (None, "source:int,target:int\n10,9\n", {}, [9, 10]),
        (None, "source:int,target\n10,9\n", {}, [9, 10]),
        (None, "source,target\n10,9\n", {"id": "int"}, [9, 10]),
        (None, "source,target\n10,9\n", {"source": "int"}, [9, 10]),
        ("id:int\n9\n10\n", "source,target\n10,9\n", {}, [9, 10]),
        ("number:int,id\n1,9\n2,10\n", "source,target\n10,9\n", {}, ["10", "9"]),
        ("package\n9\n10\n", "source,target\n10,9\n", {"package": "int"}, [9, 10]),
        ("id:int\n9\n10\n", "source,target\n10,9\n", {"id": "str"}, ["10", "9"]),
        (None, "source,target\n", {"id": "int"}, []),
        (None, "source,target", {"id": "int"}, []),
        ("id:int", "source,target\n\n", {}, []),
        ("id\na\n", "source,target\n", {}, ["a"]),
    ],
)
def test_one_typed_id_types_them_all(nodes: str | None, edges: str, types: dict[str, str], ids: list[Any]) -> None:
    graph = read_graph(nodes and write("n.csv", nodes), edges=write("e.csv", edges), types=types)
    assert graph.ids.tolist() == ids


@pytest.mark.usefixtures("home")
def test_a_type_that_is_asked_for_has_the_last_word() -> None:
    edges = write("e.csv", "source,target,weight,n:int,m\n1,2,3,4,5\n")
    columns = read_graph(edges=edges, types={"n": "float", "m": "int"}).edge_columns
    assert {name: column.dtype.name for name, column in columns.items()} == {
        "weight": "float64",
        "n": "float64",
        "m": "int64",
    }
    pq.write_table(pa.table({"source": [1], "target": [2], "n": pa.array([3], pa.int16())}), "e.parquet")
    graph = read_graph(edges="e.parquet", types={"n": "float", "id": "str"})
    assert graph.edge_columns["n"].dtype == np.float64
    assert graph.ids.tolist() == ["1", "2"]


E_HEAD, N_HEAD = "source,target,weight\n", "id,age:int,ok:bool\n"


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    ("nodes", "edges", "message"),
    [
        (None, E_HEAD + "a,b,1\n" * 15 + "a,b,abc\n", "e.csv:17: column 'weight': 'abc' is not a float"),
        (None, E_HEAD + "a,b,1\n" + "c" * 140_000 + ",b,x\n", "e.csv:3: field larger than field limit"),
        (None, E_HEAD + "a,b,1\na,b\n", "e.csv:3: 2 fields, and the header has 3$"),
        (None, E_HEAD + "a\n", "e.csv:2: 1 field, and the header has 3"),
        (None, E_HEAD + "\n\na,b,c,d\n", "e.csv:4: 4 fields, and the header has 3; quote a value that has a ',' in it"),
        (
            None,
            E_HEAD + 'a,b,1\n"a,b,1\na,b,1\n',
            "e.csv:3: a quote is opened here and never closed; if quotes are ordinary",
        ),
        (None, E_HEAD + 'a,"b\nb",x\n', "e.csv:2: column 'weight': 'x' is not a float$"),
        (None, E_HEAD + 'a,"b\nb",1\na,b,x\n', "e.csv:4: column 'weight': 'x' is not a float"),
        (None, E_HEAD + "a,b,1\na,b,\n", "e.csv:3: the edge has no weight .empty or nan.; give it one"),
        (None, E_HEAD + "a,b,1_0\n", "e.csv:2: column 'weight': '1_0' is not a float"),
        (None, E_HEAD + "a,b," + "9x" * 99, "e.csv:2: column 'weight': '9x9.*[.][.][.]' is not a float"),
        (None, E_HEAD + "a,,1\n", "e.csv:2: the edge's target is empty"),
        (None, "\n" + E_HEAD + "\n,b,1\n", "e.csv:4: the edge's source is empty"),
        (None, b"source,target\na,b\na,\xff\n", "e.csv:3: column 'target': the text is not UTF-8; save the file"),
        (None, b"source,target,\xff\na,b,c\n", "e.csv:1: the header is not UTF-8"),
        (None, "source:int,target\n1,2\n3,x\n", "e.csv:3: column 'target': 'x' is not an int of 64 bits"),
        (None, "source:int,target\n1,2\n3,\n", "e.csv:3: column 'target' is empty and should be an int; fill it in"),
        (None, "source:int,target\n1,1.0\n", "e.csv:2: column 'target': '1.0' is not an int"),
        (None, "source:int,target\n1,+1\n", "e.csv:2: column 'target': '[+]1' is not an int"),
        (None, "source:int,target\n1,9223372036854775808\n", "e.csv:2: column 'target': '9223372036854775808' is not"),
        (None, "source,target:in\na,b\n", "e.csv:1: column 'target:in': 'in' is not a type.*; did you mean 'int'"),
        (None, "source,target:float\n1,2\n", "'target' of e.csv is typed float, but ids are int or str"),
        (
            None,
            "source:int,target:str\n1,2\n",
            "'source' of e.csv is int, 'target' of e.csv is str; give `id` one type",
        ),
        (None, "source,to\na,b\n", "e.csv:1: there is no column 'target'; .*here are 'source', 'to'"),
        (None, "Source,target\na,b\n", "e.csv:1: there is no column .source.; .*; did you mean .Source."),
        (None, "source,target,source\na,b,c\n", "e.csv:1: two columns are called 'source'; rename one"),
        (None, "source,target,\na,b,c\n", "e.csv:1: a column has no name"),
        (None, "", "e.csv: the file is empty; its first line names the columns"),
        (None, "\n\n", "e.csv: the file is empty"),
        (
            N_HEAD + "a,1,true\n",
            "source,target\na,a\na,b\n",
            "e.csv:3: the edge's target 'b' is not a node of n.csv; add",
        ),
        (N_HEAD + "a,1,true\n", "source,target\n\nx,a\n", "e.csv:3: the edge's source 'x' is not a node"),
        (
            N_HEAD + "a,1,true\n\nb,1,0\na,1,1\n",
            "source,target\n",
            "n.csv:5: node 'a' occurs twice .first in line 2.;",
        ),
        (N_HEAD + "a,1,true\n,1,true\n", "source,target\n", "n.csv:3: the node's id is empty"),
        (N_HEAD + "a,,true\n", "source,target\n", "n.csv:2: column 'age' is empty and should be an int"),
        (N_HEAD + "a,1,\n", "source,target\n", "n.csv:2: column 'ok' is empty and should be a bool"),
        (N_HEAD + "a,1,yes\n", "source,target\n", "n.csv:2: column 'ok': 'yes' is not a bool; write true or false"),
        (N_HEAD + "a,1\n", "source,target\n", "n.csv:2: 2 fields, and the header has 3"),
    ],
)
def test_a_bad_row_is_named(nodes: str | None, edges: str | bytes, message: str) -> None:
    with pytest.raises(BadGraph, match="^(.*: )?" + message):
        read_graph(nodes and write("n.csv", nodes), edges=write("e.csv", edges))


def test_gzip_that_is_none_or_cut_short(home: Path) -> None:
    whole = gzip.compress("".join(["source,target\n", *(f"node-{i},node-{i * i}\n" for i in range(5000))]).encode())
    damaged = {
        "none.csv.gz": (b"source,target\na,b\n", "none.csv.gz: the file is not gzip, or damaged .*; fetch or compress"),
        "cut.csv.gz": (whole[:-2000], r"cut.csv.gz:\d+: the gzip data is damaged or cut short after this line"),
        "tail.csv.gz": (whole[:-4], r"tail.csv.gz:\d*: the gzip data is damaged or cut short after this line"),
        "sum.csv.gz": (whole[:-8] + b"12345678", "sum.csv.gz:5001: the gzip data is damaged"),
        "empty.csv.gz": (b"", "empty.csv.gz: the file is empty"),
    }
    for name, (data, message) in damaged.items():
        (home / name).write_bytes(data)
        with pytest.raises(BadRow, match=message):
            read_graph(edges=name)


def test_files_that_cannot_be_read(home: Path) -> None:
    (home / "folder.csv").mkdir()
    (home / "text.parquet").write_text("source,target\n")
    pq.write_table(pa.table({"source": [1], "to": [2]}), "other.parquet")
    pq.write_table(pa.table({"source": [1], "target": [None]}), "null.parquet")
    pq.write_table(pa.table({"source": [1], "target": [2], "when": pa.array([0], pa.date32())}), "date.parquet")
    pq.write_table(pa.table({"source": [1], "target": [2], "x": ["a"]}), "words.parquet")
    latin = pa.array([b"\xff"]).view(pa.string())
    pq.write_table(pa.table({"source": ["a"], "target": latin}), "utf8.parquet")
    (home / "cut.parquet").write_bytes((home / "words.parquet").read_bytes()[:-20])
    cases: list[tuple[str, dict[str, str], str]] = [
        ("missing.csv", {}, "missing.csv: there is no such file"),
        ("missing.parquet", {}, "missing.parquet: there is no such file"),
        ("folder.csv", {}, "folder.csv: the file cannot be opened: Is a directory"),
        ("edges.xlsx", {}, "edges.xlsx: the name does not show the format; it should end in .csv, .csv.gz"),
        ("text.parquet", {}, "text.parquet: the file is not Parquet, or damaged"),
        ("other.parquet", {}, "other.parquet: there is no column 'target'"),
        ("null.parquet", {}, "null.parquet: column 'target'"),
        (
            "date.parquet",
            {},
            "date.parquet: column 'when': a column can't have the type date32.* make it int, float, string or bool",
        ),
        ("utf8.parquet", {}, "utf8.parquet: column 'target': the text is damaged: .*Invalid UTF8"),
        ("cut.parquet", {}, "cut.parquet: the file is not Parquet, or damaged"),
        ("words.parquet", {"x": "int"}, "words.parquet: column 'x' cannot be made int"),
        ("words.parquet", {"y": "int"}, "there is no column 'y' to give a type"),
        ("words.parquet", {"x": "integer"}, "column 'x': 'integer' is not a type; choose int, float, str or bool"),
        ("words.parquet", {"id": "bool"}, "'source' of words.parquet is typed bool, but ids are int or str"),
    ]
    for name, types, message in cases:
        with pytest.raises(BadGraph, match=message):
            read_graph(edges=name, types=types)


@pytest.mark.usefixtures("home")
def test_a_bad_row_of_parquet_is_counted_from_one() -> None:
    pq.write_table(pa.table({"id": ["a"]}), "n.parquet")
    pq.write_table(pa.table({"source": ["a", "b"], "target": ["a", "a"]}), "e.parquet")
    with pytest.raises(BadRow, match=r"^e\.parquet: row 2: the edge's source 'b' is not a node of n.parquet"):
        read_graph("n.parquet", edges="e.parquet")


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\ufeff"), min_size=1, max_size=6)


@given(
    rows=st.lists(st.tuples(CELLS, CELLS, CELLS | st.just(""), st.floats(allow_nan=False)), min_size=1, max_size=30),
    unix=st.booleans(),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_what_another_writer_writes_is_read(home: Path, rows: list[tuple[Any, ...]], unix: bool) -> None:
    """Python's csv module is the twin: quotes, commas and line breaks of all kinds in any value."""
    with (home / "twin.csv").open("w", newline="", encoding="utf-8") as text:
        writer = csv.writer(text, lineterminator="\n" if unix else "\r\n", quoting=csv.QUOTE_ALL)
        writer.writerows([("source", "target", "note", "weight"), *rows])
    source, target, note, weight = zip(*rows, strict=True)
    expected = from_arrays(source, target, edge_columns={"note": note, "weight": weight})
    assert read_graph(edges=home / "twin.csv").equals(expected)


@given(before=st.lists(st.sampled_from(["a,b,1", "", '"a\nb",c,2', '"x""y",z,3']), max_size=40), size=st.integers(0, 5))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_the_line_is_the_one_an_editor_shows(home: Path, before: list[str], size: int) -> None:
    text = "\n".join(["source,target,weight", *before, "a,b,bad", *["a,b,bad too"] * size])
    (home / "e.csv").write_text(text)
    with pytest.raises(BadRow) as caught:
        read_graph(edges=home / "e.csv")
    assert caught.value.line == text.split("\n").index("a,b,bad") + 1
    assert caught.value.reason == "column 'weight': 'bad' is not a float"
