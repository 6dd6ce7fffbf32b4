"""Sources of graphs: `read_graph` for files (CSV, TSV, Parquet), `from_arrays`, `from_networkx`."""

from shoal.graph.sources.arrays import from_arrays
from shoal.graph.sources.files import read_graph
from shoal.graph.sources.networkx import from_networkx

__all__ = ["from_arrays", "from_networkx", "read_graph"]
