"""State-based CRDTs with deltas: values that replicas change independently and merge later.

All types are immutable, hashable and free of clocks, I/O and randomness; `now` and timestamps are arguments. Each has
`merge`, `<=`, `==`, a bottom (the type called without arguments) and mutators in pairs: `verb(...)` returns the whole
new value, `verb_delta(...)` returns a small value to send, and `x.merge(x.verb_delta(...)) == x.verb(...)`.

| type | for | merges concurrent changes by |
| --- | --- | --- |
| GCounter | counts that only grow; the barrier (`reached`, `missing`) | taking each replica's furthest entry |
| PNCounter | counts that go both ways | the same, for what was added and what was taken |
| LWWRegister | one value | the greatest timestamp |
| LWWMap | a small table | the greatest timestamp of each key; `prune` bounds removals |
| ORSet | a set of values | letting an add win over a concurrent removal; no tombstones |
| VersionVector, DotContext | what has been seen, without and with gaps | union |

HybridLogicalClock issues timestamps (Timestamp); a Dot names one event. `encode` and `decode` convert to and from
canonical bytes; `decode` raises Malformed for anything else. Registers, maps and sets hold Values: None, bool, 64-bit
int, float, str, bytes, or a flat tuple of these. Values are compared by their bytes, so 1, True and 1.0 are three
elements.

Modules: `lattice` (the laws), `clocks`, `counters`, `registers`, `maps`, `sets`, `values` (what they hold), `codec`
(the bytes). Each module names its papers.

>>> mine, theirs = ORSet().add("ant", "a"), ORSet().add("bee", "b")
>>> sorted(decode(encode(mine), expect=ORSet).merge(theirs))
['ant', 'bee']
>>> barrier = join(GCounter().advanced("a", 2), GCounter().advanced("b", 1))
>>> barrier.reached(["a", "b"], 1), barrier.missing(["a", "b"], 2)
(True, ('b',))
"""

from crdt.clocks import ClockDrift, Dot, DotContext, HybridLogicalClock, Timestamp, VersionVector
from crdt.codec import Encodable, decode, encode
from crdt.counters import GCounter, PNCounter
from crdt.lattice import Lattice, join
from crdt.maps import LWWMap
from crdt.registers import LWWRegister
from crdt.sets import ORSet
from crdt.values import Malformed, Scalar, Value

__all__ = [
    "ClockDrift",
    "Dot",
    "DotContext",
    "Encodable",
    "GCounter",
    "HybridLogicalClock",
    "LWWMap",
    "LWWRegister",
    "Lattice",
    "Malformed",
    "ORSet",
    "PNCounter",
    "Scalar",
    "Timestamp",
    "Value",
    "VersionVector",
    "decode",
    "encode",
    "join",
]
