"""Messages between members: a member's identity, claims about members, and the messages that carry claims.

A **record** is a claim about one member: "A, in its 3rd life, at incarnation 5, is suspected (by B)". All knowledge
travels as records. They are totally ordered by ``precedence`` (generation, incarnation, status), and a member keeps the
greatest it has received, so records may be lost, repeated and reordered, and all members still agree in the end. This
is SWIM's table of overrides (Das, Gupta, Motivala 2002, section 4.2) written as an order:

    {Suspect, inc=i} overrides {Suspect, inc=j}, i > j      and {Alive, inc=j}, i >= j
    {Alive,   inc=i} overrides {Suspect, inc=j}, i > j      and {Alive, inc=j}, i > j
    {Confirm, inc=i} overrides {Alive | Suspect, inc=j}     here only for i >= j, see below

One departure, taken from hashicorp/memberlist: in the paper a confirmed member can never come back. Here ``ALIVE`` at a
higher incarnation overrides ``DEAD`` at incarnation i, so a member that was convicted wrongly (a partition, a long
pause) refutes the conviction and is back without a restart. ``LEFT`` ranks above ``DEAD``: a member that said goodbye
has left, even if others noticed its silence first.

The generation takes precedence over everything. It rises at each start of a daemon, so a restarted daemon is a new
member, and nothing known about its former self applies. A new generation is not believed until verified: see
``claims``.

A join is a ``PushPull`` sent to an address; nothing else distinguishes it from the periodic exchange.
"""

from __future__ import annotations

from typing import Final, TypeAlias

from shoal.api.struct import Number, Struct

ALIVE: Final = 0
SUSPECT: Final = 1
DEAD: Final = 2
LEFT: Final = 3
STATUS_NAMES: Final = ("alive", "suspect", "dead", "left")

CLUSTER_TAG: Final = "cluster"
"""The tag with a member's cluster."""

GENERATION_STEP_MAX: Final = 2**58  # generations are in nanoseconds: nine years
INCARNATION_MAX: Final = 2**62  # records above it are nonsense
INCARNATION_LEAP_MAX: Final = 2**32
"""The most by which a peer's record may exceed a member's known incarnation: only the member raises it, by one at a
time. So a forged record can't use the numbers up, and a refutation always finds a higher one.
"""


class Member(Struct):
    """A shard's identity and addresses. ``generation`` rises at each start of its daemon."""

    name: str
    generation: Number
    control: str
    ticks: str
    public_key: bytes
    tags: tuple[tuple[str, str], ...] = ()


class Record(Struct):
    """A claim about a member.

    ``accuser`` names the member that suspected it, for SUSPECT and DEAD; otherwise it is empty.
    """

    member: Member
    incarnation: Number
    status: Number
    accuser: str = ""

    @property
    def name(self) -> str:
        return self.member.name

    @property
    def generation(self) -> int:
        return self.member.generation

    @property
    def live(self) -> bool:
        """Whether the member counts as part of the group: a suspected one does, until it is confirmed dead."""
        return self.status in (ALIVE, SUSPECT)

    @property
    def precedence(self) -> tuple[int, int, int]:
        """The order of records of one name: the greater one is believed."""
        return (self.member.generation, self.incarnation, self.status)


class Ping(Struct):
    """Asks whether a member is alive.

    Names its target: an address may have changed hands, a name may have a new life.
    """

    sequence: Number
    target: str
    generation: Number
    reply_to: str
    gossip: tuple[Record, ...] = ()


class PingRequest(Struct):
    """Asks the receiver to ping the target (SWIM section 3.1), and to report its silence after ``nack_after_ns``
    (Lifeguard).
    """

    sequence: Number
    target: str
    generation: Number
    address: str
    nack_after_ns: Number
    reply_to: str
    gossip: tuple[Record, ...] = ()


class Ack(Struct):
    """Confirms that the member of this name and generation is alive; ``sequence`` is the Ping's or PingRequest's."""

    sequence: Number
    name: str
    generation: Number
    gossip: tuple[Record, ...] = ()


class Nack(Struct):
    """Reports that the target has not answered the sender, which did receive the request (Lifeguard section IV.A)."""

    sequence: Number
    gossip: tuple[Record, ...] = ()


class Gossip(Struct):
    """Carries only records, for when a period's pings are too few to spread the news quickly."""

    gossip: tuple[Record, ...]


class PushPull(Struct):
    """Carries all of the sender's records, its own first, and asks for all of the receiver's."""

    records: tuple[Record, ...]
    reply_to: str


class PushPullReply(Struct):
    """Carries all of the sender's records, in reply to a ``PushPull``."""

    records: tuple[Record, ...]


class NameTaken(Struct):
    """Tells a daemon that claims a later life of a name that the name's member answers at ``control``."""

    generation: Number
    control: str


Message: TypeAlias = Ping | PingRequest | Ack | Nack | Gossip | PushPull | PushPullReply | NameTaken
