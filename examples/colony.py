"""Runs the knowledge colony on dictionary entries, on any number of shards, and searches the result.

    .venv/bin/python -m examples.colony --shards 3                    # in this process
    .venv/bin/python -m examples.colony --socket /run/shoal/admin.sock --out cluster.json
    .venv/bin/python -m examples.colony --shards 1 --compare cluster.json

Prints the figures of the colony, the digests of its tables, and the best hit of a few queries; with `--compare`, also
whether digests and the rankings of all queries equal those of an earlier run. Documents are WordNet's glosses.
"""

from __future__ import annotations

import csv
import gzip
import json
import sys
import time
from pathlib import Path
from typing import Any

import click

import shoal
from shoal import GraphData
from shoal.client.session import Run
from shoal.colony import cross_shard_edges
from shoal.graph.graph_data import PARTITIONS

GLOSSES = Path(__file__).parent / "data" / "wordnet" / "nodes.csv.gz"
TABLES = ("concepts", "edges", "agents", "ghosts", "signals", "traces", "anomalies", "crossings")
QUERIES = (
    "tree with white flowers", "instrument played by plucking strings", "disease of the liver", "unit of money",
    "sailing ship with two masts", "small bird of prey", "king of ancient Egypt", "war between nations",
    "relating to the blood", "sour fruit", "to move on wheels", "branch of mathematics", "person who writes music",
    "large river in Africa", "poisonous mushroom", "metal used in coins", "bone of the leg", "light wooden boat",
    "cloth made from wool", "game played with cards", "star visible in the north", "capital of a country",
    "fear of heights", "to speak loudly", "part of a church", "sweet wine", "animal without a backbone",
    "machine for printing", "chemical element radioactive", "religious festival", "measure of angle", "horse race",
    "weapon with a long blade", "insect that eats wood", "red gemstone", "president of the United States",
    "theory of evolution", "heavy rain and wind", "covering for the head", "muscle of the arm", "school for children",
    "legal document signed by witnesses", "extinct reptile", "volcano in Italy", "oil from seeds", "triple time dance",
    "surgical removal", "island in the Pacific", "Greek goddess", "hormone secreted by the thyroid",
)  # fmt: skip


def documents(count: int, partitions: int = PARTITIONS) -> GraphData:
    """Returns `count` nodes with glosses, spread over all of WordNet."""
    with gzip.open(GLOSSES, "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rows = rows[:: max(1, len(rows) // count)][:count]
    columns = {"words": [row["words"] for row in rows], "gloss": [row["gloss"] for row in rows]}
    ids = [row["id"] for row in rows]
    return shoal.from_arrays([], [], nodes=ids, node_columns=columns, partition_count=partitions)


def outcome(run: Run) -> dict[str, Any]:
    """Returns everything that must be the same on any number of shards."""
    return {
        "figures": run.show()["figures"],
        "digests": {name: run.table_rows(name).digest for name in TABLES} | {"digested": run.result("digested").digest},
        "rankings": {words: [list(hit) for hit in run.search(words, 10)] for words in QUERIES},
    }


def report(found: dict[str, Any], words: dict[str, str], crossing: int, seconds: float) -> None:
    """Prints the outcome of a run."""
    print(f"{seconds:.1f} s")
    for name, value in found["figures"].items():
        print(f"{name.replace('_', ' '):<24} {value:>10,}")
    print(f"{'edges between shards':<24} {crossing:>10,}   (of this placement)")
    for name, digest in found["digests"].items():
        print(f"{name:<24} {digest}")
    for query in QUERIES[:5]:
        hits = found["rankings"][query]
        best = f"{words[hits[0][0]]} ({hits[0][1]:.2f})" if hits else "nothing"
        print(f"{query!r}: {best}")


def compared(found: dict[str, Any], before: dict[str, Any]) -> bool:
    """Returns whether two outcomes are the same, and prints how much of them is."""
    found = json.loads(json.dumps(found))
    same = [words for words in QUERIES if found["rankings"][words] == before["rankings"].get(words)]
    digests = [name for name in found["digests"] if found["digests"][name] == before["digests"].get(name)]
    print(f"{len(same)} of {len(QUERIES)} rankings and {len(digests)} of {len(found['digests'])} digests are the same")
    return len(same) == len(QUERIES) and found["digests"] == before["digests"]


@click.command()
@click.option("--shards", type=click.IntRange(1), default=3, show_default=True, help="In this process.")
@click.option("--socket", help="A daemon's admin socket, to run on its cluster instead.")
@click.option("--documents", "count", type=click.IntRange(1), default=20_000, show_default=True)
@click.option("--ticks", type=click.IntRange(1), default=100, show_default=True)
@click.option("--out", type=click.Path(path_type=Path), help="Write digests and rankings to a file.")
@click.option("--compare", type=click.Path(exists=True, path_type=Path), help="With those of another time.")
def main(shards: int, socket: str | None, count: int, ticks: int, out: Path | None, compare: Path | None) -> None:
    """Runs the knowledge colony."""
    data = documents(count)
    words = dict(zip(data.ids.to_pylist(), data.node_columns["words"].to_pylist(), strict=True))
    with shoal.connect(socket) if socket else shoal.local(shards) as session:
        name = f"glosses-{time.time_ns() // 1_000_000}"
        graph = session.load(name, data=data)
        began = time.perf_counter()
        run = graph.run("knowledge", ticks=ticks)
        seconds = time.perf_counter() - began
        found = outcome(run)
        report(found, words, sum(cross_shard_edges(run).values()), seconds)
    if out is not None:
        out.write_text(json.dumps(found))
    if compare is not None and not compared(found, json.loads(compare.read_text())):
        sys.exit(1)


if __name__ == "__main__":
    main()
