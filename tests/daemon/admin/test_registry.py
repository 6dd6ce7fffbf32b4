"""Commands: words and JSON end as the same checked arguments, and mistakes get a usage sentence."""

from __future__ import annotations

from typing import Any

import pytest

from daemon.admin.catalogue import COMMANDS, registry
from daemon.admin.registry import Command, Parameter, Registry, Reply, Request
from daemon.admin.render import RENDERERS
from shoal.api.errors import Refused, Usage

CATALOGUE = {command.name: command for command in COMMANDS}


async def nothing(_: Request) -> Reply:
    return Reply({})


def bound() -> Registry:
    commands = registry()
    for command in COMMANDS:
        if command.name != "help":
            commands.bind(command.name, nothing)
    return commands


@pytest.mark.parametrize(
    ("line", "name", "args"),
    [
        ("status", "status", {}),
        ("run show pagerank-1", "run show", {"run": "pagerank-1"}),
        ("run result r1 rank --top 3 --least", "run result",
         {"run": "r1", "column": "rank", "top": 3, "least": True, "tick": None}),
        ("run result --run=r1 --least=no", "run result",
         {"run": "r1", "column": None, "top": None, "least": False, "tick": None}),
        ("run rows r1 rank,parent 20", "run rows",
         {"run": "r1", "columns": ["rank", "parent"], "tick": 20, "first": 0, "count": 65536, "digest": False}),
        ('run start pagerank "my graph" 20 --params \'{"damping": 0.9}\' --interval-seconds 1', "run start",
         {"program": "pagerank", "graph": "my graph", "ticks": 20, "params": {"damping": 0.9}, "interval_seconds": 1.0,
          "paced": False, "checkpoint_ticks": 0, "queue": False, "load": None}),
        ("barrier", "barrier", {"run": None}),
    ],
)  # fmt: skip
def test_plain_words(line: str, name: str, args: dict[str, Any]) -> None:
    command, words = bound().split(line)
    assert command.name == name
    assert command.read_words(words) == args


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("statsu", "there is no command 'statsu'; did you mean 'status'?"),
        ("run", "run what? there is run list, run result"),
        ("run shwo x", "run what? did you mean 'run show'?"),
        ("run show", "run show needs run; usage: run show RUN"),
        ("run show a b", "one word too many, 'b'"),
        ("run show --rum a", "no option '--rum'; did you mean 'run'?"),
        ("run result r --top many", "top should be a whole number, not 'many'"),
        ("run result r --least=maybe", "least should be true or false"),
        ("run rows r ,", "columns should be a list of names"),
        ("run start p g --params 3", "params should be an object"),
        ("run start p g --ticks", "ticks should be a whole number"),
        (" ".join(["status"] * 65), "more than 64 words"),
    ],
)
def test_mistakes_in_words(line: str, said: str) -> None:
    def read() -> None:
        command, words = bound().split(line)
        command.read_words(words)

    with pytest.raises(Usage) as caught:
        read()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"run": 3}, "run should be text, not 3"),
        ({"run": "r", "top": 1.5}, "top should be a whole number, not 1.5"),
        ({"run": "r", "top": True}, "top should be a whole number, not True"),
        ({"run": "r", "top": 2**80}, "top: a whole number has at most 64 bits"),
        ({"run": "r", "colum": "x"}, "run result has no argument 'colum'; did you mean 'column'?"),
        ({"run": "x" * 5000}, "run has 5000 characters: 4096 at most"),
        ({"run": "caf\udce9"}, "run: character 4 ('\\udce9') is the byte E9, which is not UTF-8: give text in UTF-8"),
        ({"run": "r", "column": "\ud83d"}, "column: character 1 ('\\ud83d') is half of a surrogate pair"),
        ({}, "run result needs run"),
    ],
)
def test_mistakes_in_json(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Usage) as caught:
        CATALOGUE["run result"].arguments(given)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_null_is_the_same_as_not_given_and_an_int_will_do_for_a_float() -> None:
    found = CATALOGUE["run wait"].arguments({"run": "r", "timeout_seconds": 3})
    assert found == {"run": "r", "timeout_seconds": 3.0}
    assert isinstance(found["timeout_seconds"], float)
    assert CATALOGUE["barrier"].arguments({"run": None}) == {"run": None}


def test_help_lists_what_is_bound_and_nothing_else() -> None:
    commands = registry()
    assert [c["name"] for c in commands.help()["commands"]] == ["help"]
    with pytest.raises(Refused, match="does not answer 'status'"):
        commands.find("status")
    assert [c["name"] for c in bound().help()["commands"]] == sorted(CATALOGUE)
    assert bound().help("run show")["commands"][0]["params"][0]["required"] is True


def test_every_command_says_what_it_is_and_can_be_shown() -> None:
    for command in COMMANDS:
        assert command.summary
        assert all(parameter.summary for parameter in command.params)
        assert isinstance(command.render({}), str)
    assert set(RENDERERS) - {"dev status", "log show", "log skip"} <= set(CATALOGUE)


def test_a_name_is_bound_once() -> None:
    commands = Registry([Command("x", "x", (Parameter("a", "str", "a"),))])
    commands.bind("x", nothing)
    with pytest.raises(AssertionError):
        commands.bind("x", nothing)
