"""The four phases of a tick, in order; each one that a program uses ends at a barrier."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """Sense decides, Act applies, Decay processes what arrived, Advance commits the tick's result."""

    SENSE = 0
    ACT = 1
    DECAY = 2
    ADVANCE = 3

    @property
    def word(self) -> str:
        """The name in lower case, as in `sense`."""
        return self.name.lower()
