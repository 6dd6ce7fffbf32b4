"""What members tell each other: the identity of a member, what is claimed of it, and the messages that carry claims.

A **record** is a claim about one member: "A, in its 3rd life, at incarnation 5, is suspected (by B)". All knowledge
travels as records. They are totally ordered by ``precedence`` (generation, incarnation, status), and a member keeps
the greatest it has heard: so records may be lost, repeated and reordered, and all still agree in the end. This is
SWIM's table of overrides (Das, Gupta, Motivala 2002, section 4.2) written as an order:

    {Suspect, inc=i} overrides {Suspect, inc=j}, i > j      and {Alive, inc=j}, i >= j
    {Alive,   inc=i} overrides {Suspect, inc=j}, i > j      and {Alive, inc=j}, i > j
    {Confirm, inc=i} overrides {Alive | Suspect, inc=j}     here only for i >= j, see below

One departure, taken from hashicorp/memberlist: in the paper a confirmed member can never be back. Here ``DEAD`` at
incarnation i is overridden by ``ALIVE`` at a higher one, so a member that was convicted wrongly (a partition, a long
pause) refutes it and is back without a restart. And ``LEFT`` stands above ``DEAD``: one who said goodbye has left,
even where silence was noticed first.

The generation stands above all: it rises at each start of a daemon, so a restarted one is a new member, and whatever
was known of its former self is void. It is not believed before it has shown itself: see ``claims``.

A join is a ``PushPull`` sent to an address: nothing else distinguishes it from the periodic exchange.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

ALIVE: Final = 0
SUSPECT: Final = 1
DEAD: Final = 2
LEFT: Final = 3
STATUS_NAMES: Final = ("alive", "suspect", "dead", "left")

CLUSTER_TAG: Final = "cluster"
"""Of the cluster that a member belongs to."""

GENERATION_STEP_MAX: Final = 2**58  # nanoseconds, as generations are: nine years
INCARNATION_MAX: Final = 2**62  # above it a record is nonsense
INCARNATION_LEAP_MAX: Final = 2**32
"""What others may say of a member's incarnation beyond what is known: only itself raises it, by one at a time. So a
wrong word does not use the numbers up, and a refutation always finds a higher one.
"""


@dataclass(frozen=True, slots=True)
class Member:
    """Who a shard is and where it is reached. ``generation`` rises at each start of its daemon."""

    name: str
    generation: int
    control: str
    ticks: str
    public_key: bytes
    tags: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Record:
    """A claim about a member. ``accuser`` names who suspected it, for SUSPECT and DEAD; else it is empty."""

    member: Member
    incarnation: int
    status: int
    accuser: str = ""

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def generation(self) -> int:
        return self.member.generation

    @property
    def live(self) -> bool:
        """Whether the member counts as one of the group: a suspected one does, until it is confirmed dead."""
        return self.status in (ALIVE, SUSPECT)

    @property
    def precedence(self) -> tuple[int, int, int]:
        """The greater record of one name is the one to believe."""
        return (self.member.generation, self.incarnation, self.status)


@dataclass(frozen=True, slots=True)
class Ping:
    """Are you there? Names whom it means: an address may have changed hands, a name may have a new life."""

    sequence: int
    target: str
    generation: int
    reply_to: str
    gossip: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class PingRequest:
    """Ping the target for me (SWIM section 3.1), and tell me within ``nack_after_ns`` if it is silent (Lifeguard)."""

    sequence: int
    target: str
    generation: int
    address: str
    nack_after_ns: int
    reply_to: str
    gossip: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Ack:
    """The member of this name and generation is there; ``sequence`` is the Ping's or PingRequest's."""

    sequence: int
    name: str
    generation: int
    gossip: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Nack:
    """The target is silent towards me as well, but I have heard you (Lifeguard section IV.A)."""

    sequence: int
    gossip: tuple[Record, ...] = ()


@dataclass(frozen=True, slots=True)
class Gossip:
    """Records alone, for when the pings of a period are too few to carry the news quickly."""

    gossip: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class PushPull:
    """All that I know; answer with all that you know. The sender's own record comes first."""

    records: tuple[Record, ...]
    reply_to: str


@dataclass(frozen=True, slots=True)
class PushPullReply:
    """All that I know, in answer to a ``PushPull``."""

    records: tuple[Record, ...]


@dataclass(frozen=True, slots=True)
class NameTaken:
    """To one who claims a later life of a name: the member of that name answers at ``control``."""

    generation: int
    control: str


Message: TypeAlias = Ping | PingRequest | Ack | Nack | Gossip | PushPull | PushPullReply | NameTaken
