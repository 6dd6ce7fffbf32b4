"""The four phases of a tick, in order; each ends at a barrier, unless no program part uses it."""

from __future__ import annotations

from enum import IntEnum


class Phase(IntEnum):
    """Sense decides, Act applies, Decay settles what arrived, Advance hands on the tick's result."""

    SENSE = 0
    ACT = 1
    DECAY = 2
    ADVANCE = 3

    @property
    def word(self) -> str:
        """As people write it: `sense`."""
        return self.name.lower()
