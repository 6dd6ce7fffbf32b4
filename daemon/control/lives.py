"""Detects disks that went back to an earlier state, by the lives that a shard has had on each.

Each life of a shard begins with a generation above all earlier ones, durable before any other shard learns of it. So
the last life that a disk remembers must be at least the last one that other shards have seen on it::

    log, gossip   shard a lived as 20 on disk 7
    a starts      as 30, on disk 7, and remembers 20 or a later life      fine
                  as 30, on disk 7, and remembers 10                      the disk went back
                  as 30, on disk 8                                        another disk: it was wiped or replaced

The remembered life travels on the shard's membership record, with the term and the log found on the disk, which
`consensus/promises` compares with the server's promises. So peers detect a disk that went back before its first vote
arrives. A shard whose store has detected that its last writes are lost reports that in the same place.

The knowledge comes from gossip and from the log (`HoldParts` names the disk and the life). If a disk goes back and
every shard that had seen the later life forgets it too, nobody can detect it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from daemon.membership.messages import Member
from daemon.state.records import Disk

LIFE_TAG: Final = "life"
DISK_TAG: Final = "disk"
DIGITS_MAX: Final = 20
DISKS_REMEMBERED: Final = 1024


@dataclass(frozen=True, slots=True)
class Life:
    """What a shard found on its disk when this life began: the previous life, its server's term and last index.

    `forgot` means that the last writes are known to be lost.
    """

    disk: int
    before: int = 0
    term: int = 0
    last_index: int = 0
    forgot: bool = False

    @property
    def tag(self) -> str:
        """The life's tag on the membership record.

        >>> life_of({"disk": "7", "life": Life(7, 10, 3, 42).tag})
        Life(disk=7, before=10, term=3, last_index=42, forgot=False)
        """
        return f"{self.before} {self.term} {self.last_index}{' forgot' if self.forgot else ''}"


def life_of(tags: Mapping[str, str]) -> Life | None:
    """Parses a member's life from its tags; None if malformed."""
    words = tags.get(LIFE_TAG, "").split(" ")
    forgot = words[-1] == "forgot"
    disk, numbers = disk_of(tags), words[: len(words) - forgot]
    if disk is None or len(numbers) != 3 or not all(map(_is_number, numbers)):
        return None
    before, term, last_index = map(int, numbers)
    return Life(disk, before, term, last_index, forgot)


@lru_cache(maxsize=DISKS_REMEMBERED)
def life_in(tags: tuple[tuple[str, str], ...]) -> Life | None:
    """Does the same for a member's own tuple of tags; called for each message between servers."""
    return life_of(dict(tags))


def disk_of(tags: Mapping[str, str]) -> int | None:
    """Returns the number of a member's disk; None if missing or malformed."""
    word = tags.get(DISK_TAG, "")
    return int(word) if _is_number(word) else None


def _is_number(word: str) -> bool:
    return word.isascii() and word.isdigit() and len(word) <= DIGITS_MAX


@dataclass(frozen=True, slots=True)
class _Seen:
    """The latest life seen on a disk, and the one before it."""

    latest: int
    earlier: int = 0


class Lives:
    """One shard's knowledge of the lives on all disks."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, int], _Seen] = {}

    def see(self, member: Member, life: Life) -> bool:
        """Notes a member's life; returns whether it is later than all seen before on this disk."""
        key = (member.name, life.disk)
        seen = self._seen.pop(key, None)
        is_new = seen is None or member.generation > seen.latest
        if seen is None or is_new:
            seen = _Seen(member.generation, seen.latest if seen is not None else 0)
        self._seen[key] = seen
        while len(self._seen) > DISKS_REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return is_new

    def knows(self, member: Member, life: Life) -> bool:
        """Whether any life of the member on this disk is remembered; the disks not seen for longest are forgotten."""
        return (member.name, life.disk) in self._seen

    def has_seen(self, member: Member, life: Life) -> bool:
        """Whether this life of a member has been seen."""
        seen = self._seen.get((member.name, life.disk))
        return seen is not None and member.generation <= seen.latest

    def forgotten(self, member: Member, life: Life, logged: Disk | None) -> int:
        """Returns a life that the disk should remember but does not, or 0; `logged` is the log's record of the disk."""
        known = []
        if logged is not None and logged.number == life.disk:
            known.append(logged.generation)
        seen = self._seen.get((member.name, life.disk))
        if seen is not None:
            known += [seen.latest, seen.earlier]
        return max((each for each in known if life.before < each < member.generation), default=0)
