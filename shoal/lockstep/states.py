"""The states of a run on one shard; `machine` shows how they follow one another."""

from __future__ import annotations

from enum import Enum


class State(Enum):
    """What a run is doing on this shard."""

    NEW = "new"
    COMPUTING = "computing"
    HOLDING = "holding"
    WAITING = "waiting"
    SETTLING = "settling"
    PACED = "paced"
    OVER = "over"


# Looking up a member of an enumeration costs 0.15 us, and each message would need several lookups.
COMPUTING, HOLDING, WAITING = State.COMPUTING, State.HOLDING, State.WAITING
SETTLING, OVER = State.SETTLING, State.OVER
