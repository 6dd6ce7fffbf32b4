"""Reports of members to the tick leader."""

from __future__ import annotations

from shoal.api.struct import Count, Struct, Tick


class RunReport(Struct):
    """A run is over at the sender, in the view of this epoch; repeated to the leader until the log records it.

    The run's results take `result_bytes` on the sender's disk.
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
    """One run's states at the end of `tick`, made in that epoch, for the sender's partitions (bits)."""

    run: Count
    tick: Tick
    partitions: bytes
    epoch: Count = 0


class StatesHeld(Struct):
    """All states that the sender holds of runs that wait in the view of this epoch; repeated until they resume.

    `reached` are the last ticks, by run, that the sender knows to be committed.
    """

    epoch: Count
    states: tuple[RunStates, ...]
    reached: tuple[tuple[Count, Tick], ...] = ()
