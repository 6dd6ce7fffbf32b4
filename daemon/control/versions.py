"""The version of Shoal that each member runs, as announced on its membership record.

Three numbers, because they change at different times: Shoal's own, for people; the protocol's, which members of one
cluster have to share; and that of the records in the log, which says what a member can read of it.

    tag    "0.1.0 2 1"    Shoal 0.1.0, protocol 2, records 1

Members' announcements are trusted, because no decision depends on them: operators see them, and error messages name
them. Once the log itself agrees on a version, they could bound what a cluster may write into its log: the least
`records` of all members is what all of them read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from daemon.membership.messages import Record
from daemon.wire import PROTOCOL_VERSION, RECORD_VERSION
from shoal import __version__

VERSION_TAG: Final = "version"
CHARACTERS_MAX: Final = 32
DIGITS_MAX: Final = 9


@dataclass(frozen=True, slots=True)
class Version:
    """The version of one member."""

    shoal: str
    protocol: int
    records: int

    @property
    def tag(self) -> str:
        """As it rides on the membership record.

        >>> version_of({"version": Version("0.1.0", 2, 1).tag})
        Version(shoal='0.1.0', protocol=2, records=1)
        """
        return f"{self.shoal} {self.protocol} {self.records}"

    def __str__(self) -> str:
        return f"Shoal {self.shoal} (protocol {self.protocol}, records {self.records})"


OWN: Final = Version(__version__, PROTOCOL_VERSION, RECORD_VERSION)


def version_of(tags: Mapping[str, str]) -> Version | None:
    """What a member says of its version; None if that makes no sense, or it says nothing of it.

    >>> version_of({}), version_of({"version": "0.1.0 2"}), version_of({"version": "0.1.0 2 -1"})
    (None, None, None)
    """
    words = tags.get(VERSION_TAG, "").split(" ")
    if len(words) != 3 or not 0 < len(words[0]) <= CHARACTERS_MAX:
        return None
    if not all(word.isascii() and word.isdigit() and len(word) <= DIGITS_MAX for word in words[1:]):
        return None
    return Version(words[0], int(words[1]), int(words[2]))


def versions_of(records: Iterable[Record]) -> dict[str, Version | None]:
    """What each of these members says of its version, by name."""
    return {record.name: version_of(dict(record.member.tags)) for record in records}


def by_version(versions: Mapping[str, Version | None]) -> dict[Version | None, list[str]]:
    """The names of the members that run each version, in order."""
    members: dict[Version | None, list[str]] = {}
    for name in sorted(versions):
        members.setdefault(versions[name], []).append(name)
    return members


def told(versions: Mapping[str, Version | None]) -> str:
    """Who runs what, in words.

    >>> one, two = Version("0.1.0", 2, 1), Version("0.2.0", 2, 2)
    >>> told({"a": two, "b": one, "c": two})
    'b runs Shoal 0.1.0 (protocol 2, records 1); a, c run Shoal 0.2.0 (protocol 2, records 2)'
    >>> told({"b": one, "d": None})
    'b runs Shoal 0.1.0 (protocol 2, records 1); d does not say what it runs'
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
