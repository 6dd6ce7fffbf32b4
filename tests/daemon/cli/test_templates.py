"""Beginning a program: what is written, what is refused, and that it runs as it stands."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from daemon.cli import main
from daemon.cli.templates import STYLES
from shoal.program.deployed import program_of


def new(*words: str) -> Result:
    """`shoalctl program new`, of a daemon that is not there."""
    return CliRunner().invoke(main, ["--socket", "/nowhere/admin.sock", "program", "new", *words])


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("style", STYLES)
def test_a_new_program_has_its_names_and_runs_as_a_script(folder: Path, style: str) -> None:
    result = new("heat-spread", "--style", style)
    assert (result.exit_code, result.stdout) == (0, "heat_spread.py\n")
    assert "shoalctl program deploy heat_spread.py\n" in result.stderr
    source = (folder / "heat_spread.py").read_bytes()
    program = program_of(source, "heat_spread.py")
    assert (program.name, program.__name__) == ("heat-spread", "HeatSpread")
    assert b"\n    python heat_spread.py\n" in source
    assert b"emplate" not in source
    script = [sys.executable, "-W", "error", "heat_spread.py"]
    ran = subprocess.run(script, capture_output=True, text=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    one, three = ran.stdout.splitlines()
    assert (one[0], three[0], one[1:]) == ("1", "3", three[1:])


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("name", ["column", "agent", "Node", "None", "3-hops", "_".join("ab"), "int", "x."])
def test_any_name_gives_a_class_that_hides_nothing(folder: Path, name: str, style: str) -> None:
    assert new(name, "--style", style, "--out", "own.py").exit_code == 0
    assert program_of((folder / "own.py").read_bytes(), "own.py").name == name


def test_a_file_that_is_there_is_left_as_it_is(folder: Path) -> None:
    (folder / "mine.py").write_text("mine")
    result = new("mine")
    assert (result.exit_code, "mine.py already exists and was not changed" in result.stderr) == (1, True)
    assert (folder / "mine.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["a/b"], "'a/b' can't be the name of a program"),
        (["pagerank"], "a program called 'pagerank' is already installed here: choose another name"),
        (["numpy"], "Python has a module 'numpy', which this file would hide: choose another file with --out"),
        (["own", "--out", "away/own.py"], "away/own.py: cannot be written: No such file or directory"),
        (["own", "--out", "."], "already exists"),
    ],
)
def test_what_cannot_become_a_program_is_refused(folder: Path, words: list[str], told: str) -> None:
    result = new(*words)
    assert (result.exit_code, told in result.stderr) == (1, True), result.stderr
    assert list(folder.iterdir()) == []


def test_an_unknown_style_makes_no_sense(folder: Path) -> None:
    result = new("own", "--style", "swarm")
    assert (result.exit_code, "'vectorized', 'messages', 'colony'" in result.stderr) == (2, True)


def test_programs_are_told_in_json(folder: Path) -> None:
    told = json.loads(new("own", "--style", "colony", "--json").stdout)
    assert (told["program"], told["style"], told["file"]) == ("own", "colony", "own.py")
    assert told["next"]["try it here"] == "python own.py"
    assert told["next"]["run it"] == "shoalctl run start own --graph GRAPH --wait    # its nodes need a column 'topic'"
    told = json.loads(new("hops", "--style", "messages", "--json").stdout)
    assert told["next"]["run it"] == "shoalctl run start hops --graph GRAPH --wait --param source=NODE"
