"""An operator's way out of a log with an entry that nobody can apply."""

from __future__ import annotations

from pathlib import Path

import pytest

from consensus.configuration import Configuration
from consensus.effects import Persist
from consensus.stored import Entry, HardState, Snapshot
from daemon.state import Registry, cluster
from daemon.state.commands import AddGraph, StartRun
from daemon.state.machine import Applied, Command, Outcome
from daemon.state.runs import start_run
from daemon.store import DataFolder, Store, StoreError
from daemon.store.stopped_log import APPLIED, BREAKS, DECLINED, NOTHING, UNREADABLE, opened
from tests.daemon.state.registries import LOAD, formed, freeze, sealed

START_AGAIN = StartRun("rank", "web", LOAD, (), 9, 0, False, 15, ())
START = StartRun("rank", "web", LOAD, (), 9, 0, False, 15, ())


def entries(*commands: Command | bytes) -> tuple[Entry, ...]:
    return tuple(
        Entry(number, 2, command if isinstance(command, bytes) else sealed(command, number))
        for number, command in enumerate(commands, start=2)
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One whose log has a snapshot, and behind it commands that are applied, declined, nonsense and nothing."""
    snapshot = Snapshot(1, 1, Configuration.of(["a/1"]), (freeze(formed().registry),))
    with DataFolder(tmp_path / "data", "demo", "a").open() as data:
        store = Store(data)
        log = entries(START, AddGraph("web", "l2", 1, 1, 1, 4, 0, "int", (), ()), b"weaker", b"", START_AGAIN)
        store.persist(Persist(HardState(2, None), snapshot, None, log))
        store.close()
    return tmp_path / "data"


def outcomes(folder: Path, without: int | None = None) -> list[str]:
    with opened(folder) as log:
        return [entry.outcome for entry in log.show(without)]


def test_what_comes_of_each_entry_is_shown_and_nothing_changes(folder: Path) -> None:
    before = (folder / "shoal.db").read_bytes()
    assert outcomes(folder) == [APPLIED, DECLINED, UNREADABLE, NOTHING, APPLIED]
    with opened(folder) as log:
        assert [entry.what for entry in log.show()][:2] == ["StartRun rank web", "AddGraph web"]
        assert log.begins_later_runs(2)
        assert not log.begins_later_runs(6)
    assert (folder / "shoal.db").read_bytes() == before


@pytest.mark.parametrize("error", [KeyError("x"), RuntimeError("no way on")])
def test_the_entry_that_breaks_is_named_and_taken_out(
    folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(registry: Registry, command: StartRun, at: Applied) -> Outcome:
        if at.index == 2:
            raise error
        return start_run(registry, command, at)

    monkeypatch.setitem(cluster._BY_KIND, StartRun, broken)
    assert outcomes(folder)[0] == BREAKS
    assert BREAKS not in outcomes(folder, without=2), "what it would be like"
    assert outcomes(folder)[0] == BREAKS
    with opened(folder) as log:
        before = log.stored()
        copy = log.skip(2)
        assert log.stored().entries == (Entry(2, 2), *before.entries[1:]), "its place and its term are kept"
        with pytest.raises(StoreError, match="is not a command"):
            log.skip(2)
    assert BREAKS not in outcomes(folder)
    copy.rename(folder / "shoal.db")
    assert outcomes(folder)[0] == BREAKS, "the copy is whole"


def test_it_is_refused_with_a_sentence(folder: Path, tmp_path: Path) -> None:
    with opened(folder) as log:
        for index, said in ((1, "has no entry 1 .it has 2 to 6."), (99, "has no entry 99"), (5, "is not a command")):
            with pytest.raises(StoreError, match=said):
                log.skip(index)
        (folder / "shoal.db.before-skip-2").touch()
        with pytest.raises(StoreError, match="exists already"):
            log.skip(2)
        with pytest.raises(StoreError, match="is in use"), opened(folder):
            pass
    with pytest.raises(StoreError, match="is not a shard's data folder"), opened(tmp_path):
        pass
    with DataFolder(tmp_path / "new", "demo", "a").open() as data:
        data.close()
        with opened(tmp_path / "new") as log, pytest.raises(StoreError, match="has no log"):
            log.show()


def test_a_daemon_that_runs_keeps_its_folder(folder: Path) -> None:
    with (
        DataFolder(folder, "demo", "a").open(),
        pytest.raises(StoreError, match="is in use: stop its daemon first"),
        opened(folder),
    ):
        pass
