"""The version of Shoal that each member runs, as announced on its membership record.

Three values: Shoal's own version, for people, and the lowest and the highest cluster version that the member supports
(`daemon/wire/version`).

    tag    "0.2.0 4 5"    Shoal 0.2.0, of clusters at version 4 or 5
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.membership.messages import CLUSTER_TAG, Member, Record
from daemon.wire.version import NEWEST, OLDEST
from shoal import __version__

VERSION_TAG: Final = "version"
CLUSTER_VERSION_TAG: Final = "cluster_version"
"""The tag of the cluster version in the log, as far as this member has applied it."""
CHARACTERS_MAX: Final = 32
DIGITS_MAX: Final = 9


@dataclass(frozen=True, slots=True)
class Version:
    """The version of one member."""

    shoal: str
    oldest: int
    newest: int

    @property
    def tag(self) -> str:
        """The version's tag on the membership record.

        >>> version_of({"version": Version("0.1.0", 4, 5).tag})
        Version(shoal='0.1.0', oldest=4, newest=5)
        """
        return f"{self.shoal} {self.oldest} {self.newest}"

    def __str__(self) -> str:
        return f"Shoal {self.shoal} (cluster version {self.span})"

    def covers(self, cluster_version: int) -> bool:
        """Whether a member with this version can be in a cluster at that one."""
        return self.oldest <= cluster_version <= self.newest

    @property
    def span(self) -> str:
        """The supported cluster versions, in words."""
        return f"{self.oldest}" if self.oldest == self.newest else f"{self.oldest} to {self.newest}"


OWN: Final = Version(__version__, OLDEST, NEWEST)


def version_of(tags: Mapping[str, str]) -> Version | None:
    """Parses a member's version from its tags; None if missing or malformed.

    >>> version_of({}), version_of({"version": "0.1.0 2"}), version_of({"version": "0.1.0 5 4"})
    (None, None, None)
    """
    words = tags.get(VERSION_TAG, "").split(" ")
    if len(words) != 3 or not 0 < len(words[0]) <= CHARACTERS_MAX:
        return None
    if not all(word.isascii() and word.isdigit() and len(word) <= DIGITS_MAX for word in words[1:]):
        return None
    oldest, newest = int(words[1]), int(words[2])
    return Version(words[0], oldest, newest) if 0 < oldest <= newest else None


def versions_of(records: Iterable[Record]) -> dict[str, Version | None]:
    """Returns the announced version of each member, by name."""
    return {record.name: version_of(dict(record.member.tags)) for record in records}


def version_in_sight(members: Iterable[Member], cluster: str) -> int:
    """Returns the version of the cluster with this founding, according to its members; 0 if none announces it."""
    said = [0]
    for member in members:
        tags = dict(member.tags)
        number = tags.get(CLUSTER_VERSION_TAG, "")
        if tags.get(CLUSTER_TAG) == cluster and number.isascii() and number.isdigit() and len(number) <= DIGITS_MAX:
            said.append(int(number))
    return max(said)


def why_kept_out(name: str, version: Version | None, cluster_version: int) -> str:
    """Returns why a shard can't be a member, for the logs of both sides.

    >>> why_kept_out("c", Version("0.1.0", 4, 4), 5)
    'shard c runs Shoal 0.1.0 (cluster version 4), and the cluster is at version 5: install a Shoal that supports it'
    """
    runs = f"runs {version}" if version is not None else "does not announce its version"
    cluster = f"the cluster is at version {cluster_version}: install a Shoal that supports it"
    return f"shard {name} {runs}, and {cluster}"


def by_version(versions: Mapping[str, Version | None]) -> dict[Version | None, list[str]]:
    """Returns the names of the members that run each version, in order."""
    members: dict[Version | None, list[str]] = {}
    for name in sorted(versions):
        members.setdefault(versions[name], []).append(name)
    return members


def told(versions: Mapping[str, Version | None]) -> str:
    """Returns a sentence about the version of each member.

    >>> one, two = Version("0.1.0", 4, 4), Version("0.2.0", 4, 5)
    >>> told({"a": two, "b": one, "c": two})
    'b runs Shoal 0.1.0 (cluster version 4); a, c run Shoal 0.2.0 (cluster version 4 to 5)'
    >>> told({"b": one, "d": None})
    'b runs Shoal 0.1.0 (cluster version 4); d does not say what it runs'
    """
    members = by_version(versions)
    known = sorted((version for version in members if version is not None), key=lambda version: version.tag)
    parts = [f"{_named(members[version])} {version}" for version in known]
    silent = members.get(None, [])
    if silent:
        parts.append(f"{', '.join(silent)} {'does' if len(silent) == 1 else 'do'} not say what {_they(silent)}")
    return "; ".join(parts)


def _named(names: Sequence[str]) -> str:
    return f"{', '.join(names)} {'runs' if len(names) == 1 else 'run'}"


def _they(names: Sequence[str]) -> str:
    return "it runs" if len(names) == 1 else "they run"
