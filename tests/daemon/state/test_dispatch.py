"""All machines together: the log's time, what is put back, entries and snapshots of other versions, and large ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import pytest
from msgspec import structs

from daemon.state import (
    Announcement,
    Decided,
    NotApplied,
    ReplicatedState,
    command_codec,
    snapshot,
)
from daemon.state.commands import AddProgram, Drain, ProgramVersion, StopRun
from daemon.state.dispatch import apply_to
from daemon.state.envelope import CommandCodec, CommandUnreadable, LogEntry
from daemon.state.machine import Applied, Command, Outcome
from daemon.state.records import FAILED
from daemon.state.snapshot import CHUNK_BYTES
from daemon.wire import Rejected
from tests.daemon.state.registries import Log, at, formed, mistake_in_snapshot, sealed


class Acquire(Command):
    name: str


class Locks:
    """A machine that a later version has: whoever asks first has the lock, and its index is the token."""

    name = "locks"
    commands: Mapping[int, type[Command]] = {1: Acquire}

    def __init__(self) -> None:
        self.held: dict[str, int] = {}

    def apply(self, command: Command, at: Applied) -> Outcome:
        assert isinstance(command, Acquire)
        self.held.setdefault(command.name, at.index)
        if command.name == "broken":
            raise KeyError("half-way through")
        return Outcome(str(self.held[command.name]))

    def save(self) -> dict[str, int]:
        return dict(self.held)

    def put_back(self, saved: dict[str, int]) -> None:
        self.held = saved

    def freeze(self) -> Iterator[bytes]:
        return iter([f"{name}={index}".encode() for name, index in sorted(self.held.items())])

    def thaw(self, pieces: Iterable[bytes]) -> dict[str, int]:
        return {name: int(index) for name, _, index in (piece.decode().partition("=") for piece in pieces)}

    def restore(self, thawed: dict[str, int]) -> Sequence[Announcement]:
        self.held = thawed
        return ()


def test_a_machine_needs_nothing_of_the_others() -> None:
    locks = Locks()
    (decided,) = apply_to(locks, Acquire("x"), at(7))
    assert decided == Decided(at(7).request, "", "7", 7)
    said, rejected = apply_to(locks, Acquire("broken"), at(8))
    assert isinstance(said, NotApplied)
    assert isinstance(rejected, Decided)
    assert "half-way through" in rejected.error
    assert locks.held == {"x": 7}


def test_a_program_that_breaks_something_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    log = formed()
    log.apply(AddProgram(ProgramVersion("rank", b"one", "{}", 0)))
    before = dict(log.programs.versions)

    def broken(command: AddProgram, at: Applied) -> Outcome:
        log.programs.versions.clear()
        raise ValueError("half-way through")

    monkeypatch.setattr(log.programs, "_add", broken)
    assert "half-way through" in log.apply(AddProgram(ProgramVersion("rank", b"two", "{}", 0)))
    assert log.programs.versions == before


def test_the_log_s_time_never_goes_back() -> None:
    """Whoever leads: an entry of a leader whose clock is slow has the time of the one before."""
    log = formed()
    for time_ns, name in ((500, "a"), (300, "b"), (700, "c")):
        log.announced(AddProgram(ProgramVersion(name, name.encode(), "{}", 0)), time_ns)
    assert [version.added_unix_ns for version in log.programs.versions.values()] == [500, 500, 700]
    other = ReplicatedState()
    other.restore(other.thaw(log.state.freeze()))
    assert other.time_ns == log.state.time_ns == 700


def test_an_entry_of_a_machine_that_is_not_known_can_not_be_read() -> None:
    entry = LogEntry("locks", "a", 1, 1, 1, 0, b"whatever")
    with pytest.raises(CommandUnreadable, match="this version has no machine 'locks'") as told:
        command_codec().read(command_codec().seal(entry))
    assert told.value.is_later


def test_an_entry_of_another_envelope_can_not_be_read() -> None:
    data = sealed(StopRun("x"), 1)
    with pytest.raises(CommandUnreadable, match="of version 99"):
        command_codec().read(data[:1] + b"\x63" + data[2:])
    with pytest.raises(CommandUnreadable, match="no command"):
        command_codec().read(data[:-1])


def test_two_machines_have_no_command_in_common() -> None:
    with pytest.raises(ValueError, match="two machines"):
        CommandCodec({"one": {1: Drain}, "two": {1: Drain}})


def test_a_snapshot_with_a_machine_that_is_not_known_is_not_taken() -> None:
    state = formed().state
    sections = [(name, iter(pieces)) for name, pieces in snapshot.read(state.freeze()).items()]
    locks = Locks()
    apply_to(locks, Acquire("x"), at(7))
    later = list(snapshot.write([*sections, ("locks", locks.freeze())]))
    mistake = mistake_in_snapshot(later)
    assert mistake is not None
    assert "this version has no machine 'locks'" in str(mistake)
    before = list(state.freeze())
    with pytest.raises(Rejected):
        state.restore(state.thaw(later))
    assert list(state.freeze()) == before


def test_nothing_of_a_snapshot_is_taken_if_its_last_machine_can_not_be_read() -> None:
    log, state = formed(), formed().state
    log.run()
    log.apply(AddProgram(ProgramVersion("rank", b"one", "{}", 0)))
    damaged = {**snapshot.read(log.state.freeze()), "programs": [b"nonsense"]}
    before = list(state.freeze())
    with pytest.raises(Rejected):
        state.restore(state.thaw(snapshot.write([(name, iter(pieces)) for name, pieces in damaged.items()])))
    assert list(state.freeze()) == before


def large() -> Log:
    """Runs that have failed with long stories to tell."""
    log = formed()
    log.run()
    (run,) = log.registry.runs.values()
    log.registry.runs |= {
        f"rank-{number}": structs.replace(run, name=f"rank-{number}", number=number, state=FAILED, failure="x" * 60_000)
        for number in range(2, 302)
    }
    log.registry.runs_begun = 301
    return log


def test_no_snapshot_is_too_large_and_no_chunk_of_it_is_large() -> None:
    log = large()
    chunks = list(log.state.freeze())
    assert sum(map(len, chunks)) > 16 << 20
    assert all(0 < len(chunk) <= CHUNK_BYTES for chunk in chunks)
    other = ReplicatedState()
    other.restore(other.thaw(chunks))
    assert other.registry == log.registry


def test_a_snapshot_is_of_the_moment_at_which_it_was_asked_for() -> None:
    """Its chunks are encoded later, on another thread, while commands go on being applied."""
    log, twin = formed(), formed()
    log.run()
    twin.run()
    asked = log.state.freeze()
    log.view("ab")
    log.run()
    log.drain("a")
    log.apply(AddProgram(ProgramVersion("rank", b"one", "{}", 0)))
    assert list(asked) == list(twin.state.freeze())


@pytest.mark.parametrize("cut", [1, 3, 7, 1000])
def test_a_snapshot_may_be_cut_anywhere_but_off(cut: int) -> None:
    log = formed()
    log.run()
    whole = b"".join(log.state.freeze())
    other = ReplicatedState()
    other.restore(other.thaw(whole[first : first + cut] for first in range(0, len(whole), cut)))
    assert other.registry == log.registry
    for end in range(0, len(whole), 11):
        assert mistake_in_snapshot([whole[:end]]) is not None, end
    assert mistake_in_snapshot([whole, b"\0"]) is not None
    assert mistake_in_snapshot([whole, whole]) is not None


def test_what_machines_a_snapshot_lacks_have_decided_nothing_in_it() -> None:
    """One of an older version, which did not have them."""
    log = formed()
    log.apply(AddProgram(ProgramVersion("rank", b"one", "{}", 0)))
    sections = snapshot.read(log.state.freeze())
    older = [(name, iter(pieces)) for name, pieces in sections.items() if name != "programs"]
    chunks = list(snapshot.write(older))
    assert mistake_in_snapshot(chunks) is None
    log.state.restore(log.state.thaw(chunks))
    assert not log.programs.versions


def test_a_command_is_rejected_by_its_machine_and_the_state_is_as_it_was() -> None:
    log = formed()
    before = replace(log.registry)
    assert "no shard is called" in log.apply(Drain("x", is_on=True))
    assert log.registry == before


def test_a_machine_in_which_nothing_was_decided_is_not_in_a_snapshot() -> None:
    """An older version that does not know it reads the rest: nothing is decided in it before all members know it."""
    alone = b"".join(snapshot.write([("cluster", iter([b"one", b"two"]))]))
    assert b"".join(snapshot.write([("cluster", iter([b"one", b"two"])), ("locks", iter([]))])) == alone
    assert snapshot.read([alone]) == {"cluster": [b"one", b"two"]}
