"""Deployed programs as the log decides them: versions, what keeps an old one, and the room there is."""

from __future__ import annotations

from msgspec.structs import replace

from daemon.state import Decided, ProgramDeployed, ProgramRemoved, ReplicatedState, command_codec
from daemon.state.commands import AddProgram, DropProgram, EndRun, ProgramVersion, StartRun, StopRun
from daemon.state.programs import BYTES_MAX
from shoal.program.deployed import SOURCE_BYTES_MAX, digest_of
from tests.daemon.state.registries import LOAD, Log, formed

ONE, TWO = b"one", b"two"


def version(source: bytes, name: str = "rank", is_current: bool = True) -> ProgramVersion:
    return ProgramVersion(name, source, "{}", 7, is_current)


def deployed(log: Log, source: bytes, name: str = "rank", is_current: bool = True) -> str:
    """Deploy it; what was wrong, or nothing."""
    return log.apply(AddProgram(version(source, name, is_current)))


def started(log: Log, source: bytes, name: str = "rank") -> str:
    """A run of it on the one graph."""
    start = StartRun(name, "web", LOAD, (), 9, 0, False, 15, (), digest=digest_of(source))
    assert not log.apply(start)
    return list(log.registry.runs)[-1]


def kept(log: Log) -> list[tuple[str, bool]]:
    """Each version's source and whether it is current, in their order."""
    return [(one.source.decode()[:9], one.is_current) for one in log.programs.versions.values()]


def test_a_program_is_known_by_its_digest_and_its_name_by_the_latest() -> None:
    log = formed()
    news = log.announced(AddProgram(version(ONE)))
    assert isinstance(news[0], ProgramDeployed)
    assert isinstance(news[1], Decided)
    assert (news[0].version.digest, news[1].error, news[1].name) == (digest_of(ONE), "", "rank")
    assert not deployed(log, ONE), "the same again is the same"
    assert not deployed(log, TWO)
    assert kept(log) == [("two", True)], "nobody has run the other"
    assert log.programs.find("rank", digest_of(ONE)) is None


def test_an_older_version_stays_for_its_runs() -> None:
    log = formed()
    deployed(log, ONE)
    run = started(log, ONE)
    assert log.registry.runs[run].digest == digest_of(ONE)
    deployed(log, TWO)
    assert kept(log) == [("one", False), ("two", True)]
    deployed(log, ONE)
    assert kept(log) == [("one", True)]


def test_what_is_in_use_is_not_removed_and_what_was_run_stays_to_be_read() -> None:
    log = formed()
    deployed(log, ONE)
    run = started(log, ONE)
    deployed(log, TWO)
    assert f"program 'rank' is in use by {run}: stop them first" in log.apply(DropProgram("rank"))
    assert not log.apply(EndRun(run, "completed", 9, "", 0))
    news = log.announced(DropProgram("rank"))
    assert isinstance(news[0], ProgramRemoved)
    assert kept(log) == [("one", False)]
    assert not log.programs.current
    assert "no program called 'rank' is deployed; deployed: none" in log.apply(DropProgram("rank"))


def test_room_is_made_by_what_nobody_needs_the_oldest_first() -> None:
    log = formed()
    sources = [str(i).encode() * (SOURCE_BYTES_MAX - 2) for i in range(8)]
    for source in sources:
        deployed(log, source, "rank", is_current=False)
    assert len(kept(log)) == 8
    for i in range(BYTES_MAX // SOURCE_BYTES_MAX - 1):
        assert not deployed(log, b"x" * (SOURCE_BYTES_MAX - 2), f"rank-{i}")
    assert [current for _, current in kept(log)] == [False] + [True] * 15
    assert kept(log)[0][0] == "777777777"
    assert not deployed(log, b"y" * (SOURCE_BYTES_MAX - 2), "last")
    told = deployed(log, b"z" * 100, "one-too-many")
    assert "there is no room for program 'one-too-many': a cluster keeps 1024 KiB of programs, and has 1024" in told
    assert "one-too-many" not in log.programs.current


def test_what_cannot_be_is_declined() -> None:
    log = formed()
    assert "too large" in deployed(log, b"x" * (SOURCE_BYTES_MAX + 1))
    assert "is no name for a program" in deployed(log, ONE, "../rank")
    assert "is no name for a program" in deployed(log, ONE, "")
    assert not log.programs.versions


def test_it_is_in_snapshots_and_in_the_log_as_bytes() -> None:
    log = formed()
    deployed(log, b"x" * SOURCE_BYTES_MAX)
    started(log, b"x" * SOURCE_BYTES_MAX)
    deployed(log, TWO)
    other = ReplicatedState()
    other.restore(other.thaw(log.state.freeze()))
    assert (other.registry, other.programs.versions) == (log.registry, log.programs.versions)
    assert list(other.programs.versions) == list(log.programs.versions)
    largest = AddProgram(replace(version(b"\xff" * SOURCE_BYTES_MAX), described="d" * (32 << 10)))
    assert command_codec().decode("programs", command_codec().encode(largest)) == largest


def test_a_stop_by_force_is_remembered() -> None:
    log = formed()
    run = started(log, ONE)
    assert not log.apply(StopRun(run))
    assert not log.registry.runs[run].is_forced
    assert not log.apply(StopRun(run, by_force=True))
    assert not log.apply(StopRun(run))
    assert log.registry.runs[run].is_forced
