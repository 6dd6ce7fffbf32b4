"""The arithmetic of the table: pairs of measurements taken in turns, their medians, and how they compare with the aim.

A figure and its floor are measured A B A B in one run. On a shared machine both drift together, so the table compares
the ratio within each pair, and reports the median ratio with the smallest and the largest.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement: the figure, and the processor time of all processes for one unit of it."""

    value: float
    cpu: float | None = None


@dataclass(frozen=True, slots=True)
class Aim:
    """The maximum of a figure: as a ratio to its floor, or absolute. Beyond `never` it counts as broken."""

    ratio: float | None = None
    value: float | None = None
    never: float | None = None

    @property
    def words(self) -> str:
        """Returns the text in the table."""
        if self.ratio is not None:
            return f"≤ {self.ratio:g}x" + (f", never > {self.never:g}x" if self.never is not None else "")
        return f"≤ {self.value:g}" if self.value is not None else ""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `pairs` holds (ours, floor) in the order in which they were measured."""

    group: str
    what: str
    unit: str
    pairs: tuple[tuple[Sample, Sample], ...]
    aim: Aim = Aim()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ours(self) -> float:
        """Our median."""
        return statistics.median(ours.value for ours, _ in self.pairs)

    @property
    def floor(self) -> float:
        """The floor's median."""
        return statistics.median(floor.value for _, floor in self.pairs)

    @property
    def ratios(self) -> tuple[float, ...]:
        """Returns ours divided by the floor, pair by pair."""
        return tuple(ours.value / floor.value for ours, floor in self.pairs)

    @property
    def ratio(self) -> float:
        """Returns the median of the pairs' ratios; the ratio of the medians might mix different moments."""
        return statistics.median(self.ratios)

    @property
    def cpu(self) -> tuple[float, float] | None:
        """Returns the median processor time of ours and of the floor, if measured."""
        ours = [sample.cpu for sample, _ in self.pairs if sample.cpu is not None]
        floor = [sample.cpu for _, sample in self.pairs if sample.cpu is not None]
        return (statistics.median(ours), statistics.median(floor)) if ours and floor else None

    @property
    def verdict(self) -> str:
        """Returns `met`, `missed`, or `broken` beyond a hard limit; empty without an aim."""
        if self.aim.ratio is not None:
            if self.aim.never is not None and self.ratio > self.aim.never:
                return "broken"
            return "met" if self.ratio <= self.aim.ratio else "missed"
        if self.aim.value is not None:
            return "met" if self.ours <= self.aim.value else "missed"
        return ""

    def as_json(self) -> dict[str, Any]:
        """Returns everything."""
        cpu = self.cpu
        return {
            "group": self.group,
            "what": self.what,
            "unit": self.unit,
            "ours": self.ours,
            "floor": self.floor,
            "ratio": self.ratio,
            "ratios": list(self.ratios),
            "cpu": None if cpu is None else {"ours": cpu[0], "floor": cpu[1]},
            "aim": self.aim.words,
            "verdict": self.verdict,
            **self.notes,
        }


def ticks_of(marks: Sequence[int]) -> list[int]:
    """Returns how long each tick took, from the times (ns) at which a shard passed the same point in each."""
    return [after - before for before, after in itertools.pairwise(marks)]


def median_ms(nanoseconds: Iterable[int]) -> float:
    """Returns the median in milliseconds."""
    return statistics.median(nanoseconds) / 1e6
