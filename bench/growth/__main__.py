"""Measures how cost grows and plots it: `python -m bench.growth --out docs/growth`."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from bench.__main__ import machine
from bench.daemons import Daemons, daemons
from bench.growth.model import Model, Network, cut
from bench.growth.plots import draw
from bench.rmat import rmat, write_parquet
from shoal.graph.graph_data import GraphData
from shoal.graph.sources import read_graph

SHARDS = (1, 2, 4, 8)
MANY = (16, 32, 64, 128, 256, 512, 1000)
SCALES = tuple(range(14, 22))
EDGE_FACTOR = 16
PARTITIONS = 4096
"""The model needs enough that each of a thousand shards has some."""
MODEL_TICKS = 2
TICKS, WARM_UP = 30, 5


@dataclass(frozen=True, slots=True)
class Point:
    """One measurement of PageRank, with this many shards and edges."""

    shards: int
    edges: int
    tick_ms: float
    wire_bytes: int
    memory_bytes: int
    """Over all daemons; 0 if modelled."""

    @property
    def ticks_a_second(self) -> float:
        """Returns the inverse of the tick's time."""
        return 1000 / self.tick_ms


def main() -> int:
    """Measures, writes the figures and draws the plots."""
    options = _options()
    console = Console(stderr=True)
    options.out.mkdir(parents=True, exist_ok=True)
    network = Network()
    with console.status("begin") as status, tempfile.TemporaryDirectory(prefix="shoal-growth-") as folder:
        found = {
            "shards": list(_by_shards(Path(folder), status.update)),
            "edges": list(_by_edges(Path(folder), options.scale_max, status.update)),
            "model": list(_modelled(Path(folder), network, options.shards_max, status.update)),
        }
    facts = {"machine": machine(), "network": network.words, "model_ticks": MODEL_TICKS}
    points = {name: [asdict(point) for point in each] for name, each in found.items()}
    (options.out / "figures.json").write_text(json.dumps({**facts, **points}, indent=1) + "\n")
    for path in draw(options.out, points, network.words):
        print(path)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/growth"), help="folder for the figures and the plots")
    parser.add_argument("--scale-max", type=int, default=SCALES[-1], help="largest R-MAT scale on one daemon")
    parser.add_argument("--shards-max", type=int, default=MANY[-1], help="most shards in the model")
    return parser.parse_args()


def _by_shards(folder: Path, tell: Callable[[str], None]) -> Iterator[Point]:
    """Measures R-MAT 18 on an increasing number of daemons on this machine."""
    data = _graph(folder, 18)
    for count in SHARDS:
        tell(f"{count} daemons, R-MAT 18")
        with daemons(count) as cluster:
            yield _measured(cluster, data)


def _by_edges(folder: Path, scale_max: int, tell: Callable[[str], None]) -> Iterator[Point]:
    """Measures an increasing number of edges on one daemon."""
    for scale in (scale for scale in SCALES if scale <= scale_max):
        tell(f"1 daemon, 2^{scale + 4} edges")
        data = _graph(folder, scale)
        with daemons(1) as cluster:
            yield _measured(cluster, data)


def _modelled(folder: Path, network: Network, shards_max: int, tell: Callable[[str], None]) -> Iterator[Point]:
    """Models R-MAT 20 on more shards than this machine can run, in virtual time."""
    data = _graph(folder, 20, PARTITIONS)
    for count in (count for count in (*SHARDS[1:], *MANY) if count <= shards_max):
        tell(f"{count} shards, R-MAT 20, modelled")
        how = cut(data.source, data.target, data.partition, PARTITIONS, count)
        moments = Model(how, network, MODEL_TICKS).run()
        yield Point(count, data.edge_count, (moments[-1] - moments[-2]) / 1e6, how.bytes_a_tick, 0)


def _graph(folder: Path, scale: int, partitions: int = 64) -> GraphData:
    path = folder / f"rmat-{scale}.parquet"
    if not path.exists():
        write_parquet(path, *rmat(scale, EDGE_FACTOR, distinct=False))
    return read_graph(edges=path, partition_count=partitions)


def _measured(cluster: Daemons, data: GraphData) -> Point:
    before = cluster.memory_bytes()
    graph = cluster.session.load("g", data=data)
    ticks = [cluster.tick_ms(graph, "bench-pagerank", TICKS, WARM_UP).value for _ in range(3)]
    crossed = cluster.session.runs()[-1].show()["last_tick"]
    wire = 0 if crossed is None else int(crossed["cross_bytes"])
    held = cluster.memory_bytes() - before
    return Point(len(cluster.shards), data.edge_count, statistics.median(ticks), wire, held)


if __name__ == "__main__":
    sys.exit(main())
