"""The knowledge colony on some of WordNet's glosses: the same on any number of shards, and what its agents find."""

from __future__ import annotations

import csv
import gzip
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal import GraphData
from shoal.client.session import Run
from shoal.knowledge import Knowledge
from tests.shoal.engine.test_restore import Group

GLOSSES = Path(__file__).parents[3] / "examples" / "data" / "wordnet" / "nodes.csv.gz"
DOCUMENTS, TICKS = 400, 30
QUERIES = ("small tree with white flowers", "music instrument played with keys", "relating to the blood", "war")
QUICK = {
    "digesters": 2,
    "digesters_max": 3,
    "documents_a_tick": 2,
    "training": 2,
    "edge_decay": 0.1,
    "maturation": 2,
    "degree_max": 5,
}
QUICK |= {"quorum": 1.5, "quorum_documents": 2}


@pytest.fixture(scope="module")
def glosses() -> GraphData:
    with gzip.open(GLOSSES, "rt", encoding="utf-8", newline="") as file:
        rows = list(islice(csv.DictReader(file), 0, 40 * DOCUMENTS, 40))
    columns = {"gloss": [row["gloss"] for row in rows]}
    return shoal.from_arrays([], [], nodes=[row["id"] for row in rows], node_columns=columns, partition_count=8)


def told(run: Run) -> dict[str, Any]:
    tables = {table.name: run.table_rows(table.name).digest for table in Knowledge.tables}
    found = {words: run.search(words, 20) for words in QUERIES}
    return {"tables": tables, "found": found, "figures": run.show()["figures"], "digest": run.result("digested").digest}


@pytest.fixture(scope="module")
def one(glosses: GraphData) -> Any:
    with shoal.local() as session:
        run = session.load("glosses", data=glosses).run(Knowledge, ticks=TICKS, **QUICK)
        yield told(run), {table.name: list(run.table_rows(table.name)) for table in Knowledge.tables}


@pytest.mark.parametrize("shards", [2, 3])
def test_the_colony_is_the_same_on_any_number_of_shards(glosses: GraphData, one: Any, shards: int) -> None:
    with shoal.local(shards) as session:
        run = session.load("glosses", data=glosses).run(Knowledge, ticks=TICKS, **QUICK)
        assert told(run) == one[0]


def test_all_that_a_colony_does_has_happened(one: Any) -> None:
    figures = one[0]["figures"]
    assert figures["documents_digested"] == figures["documents_engulfed"] == DOCUMENTS
    for name in ("edges", "cross_partition_edges", "ghosts", "edges_pruned", "edges_let_go", "born", "died", "moved"):
        assert figures[name] > 0, name
    assert figures["insights"] > 0
    assert figures["anomalies"] > 0
    assert figures["ghosts_resolved"] == figures["ghosts"]  # the last documents were read long ago
    assert figures["agents"] == figures["born"] - figures["died"]


def test_tables_agree_with_figures_and_with_each_other(one: Any) -> None:
    figures, tables = one[0]["figures"], one[1]
    assert [len(tables[name]) for name in ("concepts", "edges", "agents", "anomalies")] == [
        figures[name] for name in ("concepts", "edges", "agents", "anomalies")
    ]
    assert sum(edges for _, _, edges in tables["crossings"]) == figures["cross_partition_edges"]
    degrees = {key: degree for key, *_, degree in tables["concepts"]}
    assert sum(degrees.values()) == 2 * figures["edges"]
    assert max(degrees.values()) <= QUICK["degree_max"]
    assert all(source < target and source in degrees and target in degrees for source, target, *_ in tables["edges"])
    assert all(0.05 <= weight <= 1.0 for *_, weight, _, _, _ in tables["edges"])
    kinds = [kind for _, kind, *_ in tables["concepts"]]
    assert kinds.count("insight") == figures["insights"]


def test_an_anomaly_is_a_document_that_begins_after_the_training(glosses: GraphData, one: Any) -> None:
    ids = set(glosses.ids.to_pylist())
    assert all(document in ids and tick > QUICK["training"] for document, tick, _ in one[1]["anomalies"])


def test_the_texts_have_to_be_there(glosses: GraphData) -> None:
    with shoal.local() as session:
        graph = session.load("glosses", data=glosses)
        with pytest.raises(shoal.RunFailed, match="no column 'glos'; did you mean 'gloss'"):
            graph.run(Knowledge, text="glos")


def test_it_goes_on_elsewhere_in_the_same_bits(glosses: GraphData) -> None:
    """Interrupted twice, each time on other shards; every tick's state is as undisturbed."""
    whole = Group(glosses, Knowledge, [0] * 8, **QUICK)
    whole.begin()
    group = Group(glosses, Knowledge, [0, 1, 2, 0, 1, 2, 0, 1], **QUICK)
    group.begin()
    for tick in range(1, 13):
        whole.tick(tick)
        group.tick(tick)
        assert group.captured == whole.captured
        if tick in (4, 9):
            kept = group.captured
            group = Group(glosses, Knowledge, [2, 2, 1, 0, 0, 1, 1, 0], **QUICK)
            group.restore(tick, kept)
            group.begin(tick)
            assert group.captured == kept
