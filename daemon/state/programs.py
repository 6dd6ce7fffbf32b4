"""The programs that the log has deployed: a replicated machine, and so the same on every shard.

A version is a name and the digest of a source. Deploying a name again makes another version the *current* one, which
new runs use. An older or removed version is kept while an active run uses it, and then while there is room, so that
the results of its runs stay readable: only that version can interpret their states on disk.

Room is bounded, because every snapshot of the log contains all versions. If a new version needs room, unneeded versions
go first, oldest first; if that is not enough, the new one is rejected.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Final

from msgspec.structs import replace

from daemon.state.announcements import Announcement, ProgramDeployed, ProgramRemoved
from daemon.state.commands import AddProgram, DropProgram, ProgramVersion
from daemon.state.machine import Applied, Command, CommandRejected, Outcome
from daemon.state.records import RunRecord
from daemon.state.registry import Registry
from daemon.wire import Codec
from daemon.wire.version import FIRST, NEWEST
from shoal.program.deployed import NAME, SOURCE_BYTES_MAX, digest_of

DESCRIBED_CHARACTERS_MAX = 32 << 10
BYTES_MAX = 1 << 20
"""Limit on all versions together, sources and descriptions."""

PROGRAM_COMMANDS: Final[Mapping[int, type[Command]]] = {1: AddProgram, 2: DropProgram}


class DeployedPrograms:
    """The machine `programs`: all kept versions, in order of deployment."""

    name: Final = "programs"

    def __init__(self, registry: Registry, newest: int = NEWEST) -> None:
        """Reads the runs and the cluster's version from the registry, and changes nothing there."""
        self._registry, self._newest = registry, newest
        self.versions: dict[tuple[str, str], ProgramVersion] = {}

    # -- a machine on the log --------------------------------------------------------------------------------------

    @property
    def commands(self) -> Mapping[int, type[Command]]:
        """See `Machine`."""
        return PROGRAM_COMMANDS

    def apply(self, command: Command, at: Applied) -> Outcome:
        """See `Machine`."""
        match command:
            case AddProgram():
                return self._add(command, at)
            case DropProgram():
                return self._drop(command, at)
        raise TypeError(f"no command of the machine '{self.name}': {type(command).__name__}")

    def save(self) -> dict[tuple[str, str], ProgramVersion]:
        """See `Machine`."""
        return dict(self.versions)

    def put_back(self, saved: dict[tuple[str, str], ProgramVersion]) -> None:
        """See `Machine`."""
        self.versions = saved

    def freeze(self) -> Iterator[bytes]:
        """See `Machine`: a piece for each version."""
        codec, versions = _codec(self._registry.cluster_version), list(self.versions.values())
        return (bytes(codec.encode(0, self.name, 0, version)[0]) for version in versions)

    def thaw(self, pieces: Iterable[bytes]) -> dict[tuple[str, str], ProgramVersion]:
        """See `Machine`."""
        versions: list[ProgramVersion] = [_codec(newest=self._newest).decode([piece]).message for piece in pieces]
        return {(one.name, one.digest): one for one in versions}

    def restore(self, thawed: dict[tuple[str, str], ProgramVersion]) -> Sequence[Announcement]:
        """See `Machine`. Announces nothing: programs are looked up when needed."""
        self.put_back(thawed)
        return ()

    # -- deployed programs -----------------------------------------------------------------------------------------

    @property
    def current(self) -> dict[str, ProgramVersion]:
        """The versions that can be run, by name."""
        return {version.name: version for version in self.versions.values() if version.is_current}

    def find(self, name: str, digest: str) -> ProgramVersion | None:
        """Returns a version, current or not, or None."""
        return self.versions.get((name, digest))

    def _add(self, command: AddProgram, at: Applied) -> Outcome:
        """Deploys a program."""
        said = command.version
        if not NAME.fullmatch(said.name):
            raise CommandRejected(f"{said.name!r} is no name for a program")
        if len(said.source) > SOURCE_BYTES_MAX or len(said.described) > DESCRIBED_CHARACTERS_MAX:
            raise CommandRejected(f"program '{said.name}' is too large: a source has at most {SOURCE_BYTES_MAX} bytes")
        new = replace(said, digest=digest_of(said.source), added_unix_ns=said.added_unix_ns or at.time_ns)
        known = self.find(new.name, new.digest)
        if known is not None and (known.is_current or not new.is_current):
            return _deployed(known)
        runs = list(self._registry.runs.values())
        others = {key: _without(version, new) for key, version in self.versions.items() if version is not known}
        others = {key: version for key, version in others.items() if not _is_spent(version, self.versions[key], runs)}
        self.versions = _made_room(others, new, runs)
        self.versions[new.name, new.digest] = new
        return _deployed(new)

    def _drop(self, command: DropProgram, at: Applied) -> Outcome:
        """Removes a program: it can't be started any more."""
        name = command.name
        version = self.current.get(name)
        if version is None:
            known = ", ".join(sorted(self.current)) or "none"
            raise CommandRejected(f"no program called '{name}' is deployed; deployed: {known}")
        runs = list(self._registry.runs.values())
        using = [
            run.name for run in runs if not run.is_over and self.find(run.program, run.digest) and run.program == name
        ]
        if using:
            raise CommandRejected(f"program '{name}' is in use by {', '.join(using)}: stop them first")
        self.versions[name, version.digest] = replace(version, is_current=False)
        if not _uses(version, runs):
            del self.versions[name, version.digest]
        return Outcome(version.name, (ProgramRemoved(version),))


def _deployed(version: ProgramVersion) -> Outcome:
    return Outcome(version.name, (ProgramDeployed(version),))


def _without(version: ProgramVersion, new: ProgramVersion) -> ProgramVersion:
    """Updates a version for a new one: of each name, only one is current."""
    return replace(version, is_current=False) if new.is_current and version.name == new.name else version


def _is_spent(version: ProgramVersion, before: ProgramVersion, runs: list[RunRecord]) -> bool:
    """Whether a version was just replaced and no run has used it. One that a backup brought as an old one stays."""
    return before.is_current and not version.is_current and not _uses(version, runs)


def _uses(version: ProgramVersion, runs: Iterable[RunRecord]) -> list[RunRecord]:
    return [run for run in runs if (run.program, run.digest) == (version.name, version.digest)]


def _made_room(
    versions: dict[tuple[str, str], ProgramVersion], new: ProgramVersion, runs: list[RunRecord]
) -> dict[tuple[str, str], ProgramVersion]:
    """Returns the versions that stay beside a new one."""
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


@cache
def _codec(version: int = FIRST, newest: int = NEWEST) -> Codec:
    return Codec(DeployedPrograms.name, {1: ProgramVersion}, None, version, newest)
