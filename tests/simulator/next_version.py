"""The next version of Shoal for simulated hosts: with the next cluster version, and something new on each plane.

It adds advisory fields at the end of two messages. The state machines of both versions are the same and know only the
common messages; the codec of the next version adds and removes the new fields.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from msgspec.structs import astuple

from consensus import Append
from daemon.control.versions import OWN, Version
from daemon.wire import Codec, Envelope, WireLimits
from shoal.api.struct import Number, Since
from shoal.lockstep.frames import Buffer
from shoal.lockstep.messages import PhaseDone

NOW: Final = OWN.newest
NEXT: Final = NOW + 1
NEXT_VERSION: Final = Version("9.1.0", NOW, NEXT)
MARK: Final = 7


class NextPhaseDone(PhaseDone):
    mark: Annotated[Number, Since(NEXT, is_advisory=True)] = 0


class NextAppend(Append):
    mark: Annotated[Number, Since(NEXT, is_advisory=True)] = 0


NEXT_CLASSES: Final[Mapping[type, type]] = {PhaseDone: NextPhaseDone, Append: NextAppend}


class NextCodec(Codec):
    """The codec of one plane. `news` counts received messages with the new fields."""

    def __init__(self, cluster: str, types: Mapping[int, type], limits: WireLimits | None = None) -> None:
        later = {tag: NEXT_CLASSES.get(kind, kind) for tag, kind in types.items()}
        super().__init__(cluster, later, limits, newest=NEXT)
        self.news = 0

    def encode(self, epoch: int, sender: str, generation: int, message: object, founding: str = "") -> list[Buffer]:
        """Adds the new fields if the cluster's version allows them."""
        later = NEXT_CLASSES.get(type(message))
        if later is not None:
            message = later(*_values(message), MARK)
        return super().encode(epoch, sender, generation, message, founding)

    def decode(self, frames: Sequence[Buffer], founding: str = "") -> Envelope:
        """Returns the message without the new fields, and counts them."""
        envelope = super().decode(frames, founding)
        base = next((base for base, later in NEXT_CLASSES.items() if type(envelope.message) is later), None)
        if base is None:
            return envelope
        *values, mark = _values(envelope.message)
        assert mark in (0, MARK)
        self.news += mark == MARK
        return envelope._replace(message=base(*values))


def _values(message: Any) -> list[Any]:
    return list(astuple(message))
