"""What members report to the tick leader."""

from __future__ import annotations

from shoal.api.struct import Count, Struct, Tick


class RunReport(Struct):
    """A run is over at the sender, in the view of this epoch; repeated to the leader until the log records it.

    What the sender keeps of it takes `result_bytes` on its disk.
    """

    run: Count
    epoch: Count
    tick: Tick
    outcome: str
    failure: str
    cross_bytes: Count
    figures: str = ""
    result_bytes: Count = 0


class RunStates(Struct):
    """Of one run: a tick, made in that epoch, and the partitions (bits) whose state at its end the sender has."""

    run: Count
    tick: Tick
    partitions: bytes
    epoch: Count = 0


class StatesHeld(Struct):
    """All states that the sender has of the runs that wait in the view of this epoch; repeated until they resume.

    `reached` are, by run, the last ticks that the sender knows to be committed.
    """

    epoch: Count
    states: tuple[RunStates, ...]
    reached: tuple[tuple[Count, Tick], ...] = ()
