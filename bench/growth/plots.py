"""Plots how cost grows; needs the extra `plots` (matplotlib)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Points = Sequence[Mapping[str, Any]]


def draw(folder: Path, points: Mapping[str, Points], network: str) -> list[Path]:
    """Draws all plots as SVG files, one for each that has points."""
    try:
        import matplotlib

        matplotlib.use("svg")
    except ImportError:
        raise SystemExit("plots need matplotlib: pip install 'shoal[plots]'; the figures are written") from None
    matplotlib.rcParams["svg.hashsalt"] = "shoal"  # equal figures produce equal files
    drawn = [
        _plot(folder / "shards.svg", "R-MAT 18 on daemons of one machine with two cores", "shards", points["shards"]),
        _plot(folder / "edges.svg", "One daemon", "edges", points["edges"]),
        _plot(
            folder / "model.svg", f"R-MAT 20, a machine for each shard (model: {network})", "shards", points["model"]
        ),
    ]
    return [path for path in drawn if path is not None]


def _plot(path: Path, title: str, along: str, points: Points) -> Path | None:
    """Draws ticks per second, bytes on the wire and memory side by side, all axes logarithmic."""
    from matplotlib import pyplot

    if not points:
        return None
    across = [point[along] for point in points]
    series = {
        "PageRank ticks a second": [1000 / point["tick_ms"] for point in points],
        "MB on the wire a tick": [point["wire_bytes"] / 1e6 for point in points],
        "MB held for the graph": [point["memory_bytes"] / 1e6 for point in points],
    }
    shown = {name: values for name, values in series.items() if any(values)}
    figure, axes = pyplot.subplots(1, len(shown), figsize=(4.2 * len(shown), 3.2), squeeze=False)
    for axis, (name, values) in zip(axes[0], shown.items(), strict=True):
        kept = [(x, y) for x, y in zip(across, values, strict=True) if y]
        axis.plot([x for x, _ in kept], [y for _, y in kept], marker="o", color="#1f6f8b")
        axis.set(xscale="log", yscale="log", xlabel=along, title=name)
        axis.grid(visible=True, which="major", alpha=0.3)
    figure.suptitle(title, fontsize=9)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
    return path
