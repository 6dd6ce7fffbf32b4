"""The programs that the log has deployed: part of the registry, and so the same on every shard.

A version is a name and the digest of a source. Deploying a name again makes another version the *current* one, which
new runs use. An older or removed version is kept while an active run uses it, and after that while there is room and
somebody may want to read results of its runs, whose states on disk only it can interpret.

Room is bounded, because every snapshot of the log contains all versions. If a new version needs room, unneeded versions
go first, the oldest first; if that is not enough, the new one is rejected.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from daemon.state.commands import AddProgram, CommandRejected, ProgramVersion
from daemon.state.records import RunRecord
from shoal.program.deployed import NAME, SOURCE_BYTES_MAX, digest_of

DESCRIBED_CHARACTERS_MAX = 32 << 10
BYTES_MAX = 1 << 20
"""Of all versions together, sources and descriptions."""


@dataclass
class DeployedPrograms:
    """All kept versions, in the order in which they were deployed."""

    versions: dict[tuple[str, str], ProgramVersion] = field(default_factory=dict)

    @property
    def current(self) -> dict[str, ProgramVersion]:
        """What can be run, by name."""
        return {version.name: version for version in self.versions.values() if version.is_current}

    def find(self, name: str, digest: str) -> ProgramVersion | None:
        """A version, current or not."""
        return self.versions.get((name, digest))

    def add(self, decision: AddProgram, runs: Iterable[RunRecord]) -> ProgramVersion:
        """Deploy a program. Raises `CommandRejected`, and nothing has changed then."""
        said = decision.version
        if not NAME.fullmatch(said.name):
            raise CommandRejected(f"{said.name!r} is no name for a program")
        if len(said.source) > SOURCE_BYTES_MAX or len(said.described) > DESCRIBED_CHARACTERS_MAX:
            raise CommandRejected(f"program '{said.name}' is too large: a source has at most {SOURCE_BYTES_MAX} bytes")
        new = replace(said, digest=digest_of(said.source))
        known = self.find(new.name, new.digest)
        if known is not None and (known.is_current or not new.is_current):
            return known
        runs = list(runs)
        others = {key: _without(version, new) for key, version in self.versions.items() if version is not known}
        others = {key: version for key, version in others.items() if not _is_spent(version, self.versions[key], runs)}
        self.versions = _made_room(others, new, runs)
        self.versions[new.name, new.digest] = new
        return new

    def drop(self, name: str, runs: Iterable[RunRecord]) -> ProgramVersion:
        """No run can be started with it any more. Raises `CommandRejected`."""
        version = self.current.get(name)
        if version is None:
            known = ", ".join(sorted(self.current)) or "none"
            raise CommandRejected(f"no program called '{name}' is deployed; deployed: {known}")
        runs = list(runs)
        using = [
            run.name for run in runs if not run.is_over and self.find(run.program, run.digest) and run.program == name
        ]
        if using:
            raise CommandRejected(f"program '{name}' is in use by {', '.join(using)}: stop that first")
        self.versions[name, version.digest] = replace(version, is_current=False)
        if not _uses(version, runs):
            del self.versions[name, version.digest]
        return version


def _without(version: ProgramVersion, new: ProgramVersion) -> ProgramVersion:
    """The version beside a new one: of one name, only one is current."""
    return replace(version, is_current=False) if new.is_current and version.name == new.name else version


def _is_spent(version: ProgramVersion, before: ProgramVersion, runs: list[RunRecord]) -> bool:
    """Whether it has just been replaced without having been run. What came as an old one (out of a backup) stays."""
    return before.is_current and not version.is_current and not _uses(version, runs)


def _uses(version: ProgramVersion, runs: Iterable[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if (run.program, run.digest) == (version.name, version.digest)]


def _made_room(
    versions: dict[tuple[str, str], ProgramVersion], new: ProgramVersion, runs: list[RunRecord]
) -> dict[tuple[str, str], ProgramVersion]:
    """Those that stay beside a new one."""
    kept = dict(versions)
    needed = {key for key, one in kept.items() if one.is_current or any(not run.is_over for run in _uses(one, runs))}
    for key in [key for key in kept if key not in needed]:
        if _size(kept.values()) + _size([new]) <= BYTES_MAX:
            return kept
        del kept[key]
    if _size(kept.values()) + _size([new]) > BYTES_MAX:
        raise CommandRejected(
            f"there is no room for program '{new.name}': a cluster keeps {BYTES_MAX >> 10} KiB of programs, and has "
            f"{_size(kept.values()) >> 10}: remove some (`program list`)"
        )
    return kept


def _size(versions: Iterable[ProgramVersion]) -> int:
    return sum(len(version.source) + len(version.described) for version in versions)
