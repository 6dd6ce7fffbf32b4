"""The systems that Shoal is compared with, each in its own process.

    python -m bench.rivals --rival scipy --rival networkit --graph rmat-18 --algorithm pagerank

`run` measures one rival with one algorithm on one graph of `bench.graphs.weighted` and returns `Measured`, or `Missing`
with the reason: not installed, not offered, hopeless, or not finished in time. A rival is a file `with_*.py` here with
one class `Engine` (see `engine`), and an entry in `RIVALS`, which says what it offers and where it differs from the
others. `make rivals` installs the rivals into their own environment.

The rules, the same for all:

- A process loads one graph for one algorithm, runs it some times, and ends. `load_seconds` is from the Parquet file to
  the form in which the rival runs that algorithm; the start of an interpreter, a JVM or a cluster is in no figure.
- `seconds` is the median of the runs, until the result is in the rival's own memory and in the rival's own form.
- `cpu_seconds` is the median processor time of a run, over all processes and threads, and `load_cpu_seconds` that of
  loading: on a shared machine they say more than the clock.
- `peak_mib` is the peak resident memory of the process and its descendants, summed, including the interpreter and
  all its imports.
- PageRank: exactly the requested number of iterations, damping 0.85, the mass of dangling nodes spread over all. WCC:
  on the undirected view. BFS and SSSP: from one source along the edges' direction. CDLP: synchronous, the requested
  number of iterations, a neighbour in both directions counts twice, the least of the most frequent labels wins. LCC:
  neighbours in either direction, directed edges between them. These are the definitions of LDBC Graphalytics
  (specification 1.0, section 2.3). If a rival differs, `note` says how, and `exact` is false.
"""

from bench.rivals.register import RIVALS, Rival
from bench.rivals.runner import ITERATIONS, Measured, Missing, agree, default_python, run, runs

__all__ = ["ITERATIONS", "RIVALS", "Measured", "Missing", "Rival", "agree", "default_python", "run", "runs"]
