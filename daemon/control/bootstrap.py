"""Bootstrap of the cluster: the founding shards agree on the founders.

Each shard's configuration says how many shards to `expect`. Once a shard sees at least as many that belong to no
cluster, it promises to found one with the lowest names among them: a `Promise` is a round and a set of founders, and it
is on disk before gossip carries it. Disks make promises, not processes: a restarted founder remains bound.

    found     when all the founders of a promise have made that very promise
    bound     until the promise is void: one of its founders has promised something else in its round, or anything in
              a later one
    free      a shard that has promised nothing, or whose promise is void. It joins the latest round if it can
              reconstruct that round's set, and otherwise opens the next round, for the set that it wants itself

**Why no set founds while a promise to it is void.** A shard's rounds only rise. A founder that shows another promise of
the same round, or one of a later round, either never made this promise and never will, or made it and was released by a
void promise. So, of all founders that ever abandoned it, the first was released by one that will never make it. A set
that lacks one founder forever never founds.

**Why one cluster.** If `expect` is above half of the shards, two sets have a member in common. It can't be bound to a
founding set and promise the other. Lost, late or repeated messages don't affect this, nor do crashes.

**Why a cluster forms.** Once all shards see each other they want the same set, and every free shard joins the latest
round, founder or not. A promise of an earlier round is then void through whichever of its founders is in a later one.

The others wait for a promised founder that is away, since it may have founded already. If its disk is lost for good, an
operator moves the data folders of the waiting shards away and they start over: before there is a cluster, a data folder
holds nothing but the promise.

A shard that expects no other and has seeds opens no round: several of them would each found a cluster of one. It waits
for a cluster to admit it, for others' promises, or for an operator's command to found one (`alone`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

from daemon.membership.messages import CLUSTER_TAG
from daemon.state.commands import Identity

FOUNDERS_TAG = "founders"
ROUND_MAX: Final = 999_999_999
SETS_MAX: Final = 64
"""How many sets to try against one that others have promised; if all expect the same number, the first matches."""
_TAG: Final = re.compile(r"([0-9]{1,9})-([0-9a-f]{16})", re.ASCII)

Alive: TypeAlias = Sequence[tuple[Identity, Mapping[str, str]]]
"""Live members, identified by their disks, each with its tags."""


@dataclass(frozen=True, slots=True)
class Promise:
    """A promise to found a cluster with exactly these founders, each a name with its disk."""

    round: int
    founders: tuple[Identity, ...]

    @property
    def is_alone(self) -> bool:
        """Whether this shard is the only founder."""
        return len(self.founders) == 1

    @property
    def mark(self) -> Mark:
        """The promise as its tag shows it."""
        return self.round, spell(self.founders)


Mark: TypeAlias = tuple[int, str]
"""A promise as a tag shows it: its round, and a hash of its founders."""


class Bootstrap:
    """One shard's side of the bootstrap.

    `promise` is the one on disk; `is_lone` means that the shard expects no other.
    """

    def __init__(self, shard: Identity, expect: int, *, is_lone: bool = False, promise: Promise | None = None) -> None:
        self.promise = promise
        self._shard, self._expect = shard, expect
        self._opens_rounds = expect > 1 or is_lone

    def consider(self, alive: Alive) -> Promise | None:
        """Returns a new promise to make, or None; it must be durable before any message carries it."""
        if _clusters(alive) or self.is_bound(alive):
            return None
        wanted = self._wanted(alive)
        if wanted is None or wanted == self.promise:
            return None
        self.promise = wanted
        return wanted

    def alone(self, alive: Alive) -> Promise | None:
        """Returns an operator's promise to found alone; None if a cluster or another founding is in sight."""
        if _clusters(alive) or self.promise is not None or any(_mark(tags) for _, tags in alive):
            return None
        self.promise = Promise(1, (self._shard,))
        return self.promise

    def tags(self) -> dict[str, str]:
        """The tags that announce the promise."""
        if self.promise is None:
            return {}
        number, founders = self.promise.mark
        return {FOUNDERS_TAG: f"{number}-{founders}"}

    def founders(self, alive: Alive) -> tuple[Identity, ...]:
        """Returns the founders once all have made the same promise and this shard is one of them; else none.

        A shard that has already founded on this promise had seen all founders make it; it shows the cluster instead.
        """
        if self.promise is None or self._shard not in self.promise.founders:
            return ()
        founded = _clusters(alive)
        agreed = spell(self.promise.founders) in founded if founded else not self.awaited(alive)
        return self.promise.founders if agreed else ()

    def awaited(self, alive: Alive) -> tuple[str, ...]:
        """Returns the founders that have yet to make the promise that binds this shard."""
        if self.promise is None or self._shard not in self.promise.founders:
            return ()
        marks = {member: _mark(tags) for member, tags in alive}
        marks[self._shard] = self.promise.mark
        return tuple(each.name for each in self.promise.founders if marks.get(each) != self.promise.mark)

    def is_bound(self, alive: Alive) -> bool:
        """Whether a promise stands that another founder may rely on."""
        promise = self.promise
        if promise is None or self._shard not in promise.founders:
            return False
        for member, tags in alive:
            mark = _mark(tags)
            if mark is not None and member in promise.founders and mark[0] >= promise.round and mark != promise.mark:
                return False
        return True

    def _wanted(self, alive: Alive) -> Promise | None:
        marks = [self.promise.mark] if self.promise is not None else []
        marks += [mark for member, tags in alive if (mark := _mark(tags)) is not None and member != self._shard]
        latest = max((number for number, _ in marks), default=0)
        members = tuple(sorted((member for member, _ in alive), key=lambda member: member.name))
        heard = {founders for number, founders in marks if number == latest}
        for founders in self._sets(members) if heard else ():
            if spell(founders) in heard:
                return Promise(latest, founders)
        if self._opens_rounds and len(members) >= self._expect and latest < ROUND_MAX:
            return Promise(latest + 1, members[: self._expect])
        return None

    def _sets(self, members: tuple[Identity, ...]) -> Iterator[tuple[Identity, ...]]:
        """Yields the sets that this shard can form and is part of, none smaller than it expects."""
        least = self._expect if self._opens_rounds else 1
        for size in range(least, min(len(members), least + SETS_MAX) + 1):
            yield members[:size]


def spell(founders: Iterable[Identity]) -> str:
    """Hashes a set to a tag's value: short, however many founders there are.

    >>> spell([Identity("a", 3), Identity("b", 1)])
    'a6ff9791bf71d665'
    """
    text = " ".join(str(founder) for founder in founders)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def write(promise: Promise) -> str:
    """Encodes a promise for the data folder.

    >>> write(Promise(2, (Identity("a", 3), Identity("b", 1))))
    '2 a/3 b/1'
    """
    return " ".join([str(promise.round), *(str(founder) for founder in promise.founders)])


def read(text: str) -> Promise | None:
    """Decodes the output of `write`; None for any other text.

    >>> read("2 a/3 b/1"), read("2 a"), read("")
    (Promise(round=2, founders=(Identity(name='a', generation=3), Identity(name='b', generation=1))), None, None)
    """
    number, *founders = text.split(" ")
    found = [founder.rpartition("/") for founder in founders]
    numbers = [number, *(disk for _, _, disk in found)]
    if not found or not all(name for name, _, _ in found) or not all(n.isascii() and n.isdigit() for n in numbers):
        return None
    return Promise(int(number), tuple(Identity(name, int(disk)) for name, _, disk in found))


def _clusters(alive: Alive) -> set[str]:
    return {tags[CLUSTER_TAG] for _, tags in alive if CLUSTER_TAG in tags}


def _mark(tags: Mapping[str, str]) -> Mark | None:
    """Returns a member's promise, or None if its tag is malformed."""
    found = _TAG.fullmatch(tags.get(FOUNDERS_TAG, ""))
    return (int(found[1]), found[2]) if found else None
