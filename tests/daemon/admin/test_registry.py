"""Commands: words and JSON end as the same checked arguments, and mistakes get a usage sentence."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.admin import plain_words
from daemon.admin.registry import Registry
from daemon.admin.render import RENDERERS, render
from shoal.api.command import Binding, Exchange
from shoal.api.commands import BY_NAME, CONTRACTS
from shoal.api.commands.cluster import Help, Status
from shoal.api.errors import Refused, Usage


async def nothing(*_: Any) -> Any:
    return {}


def bound() -> Registry:
    commands = Registry()
    commands.bind(*(Binding(contract, nothing) for contract in CONTRACTS if contract is not Help.contract))
    return commands


def helped(commands: Registry, command: str | None = None) -> list[Any]:
    reply = asyncio.run(commands.answer(Help(command), Exchange())).reply
    return list(reply["commands"])


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
         {"run": "r1", "columns": ("rank", "parent"), "tick": 20, "first": 0, "count": 65536, "digest": False}),
        ('run start pagerank "my graph" 20 --params \'{"damping": 0.9}\' --interval-seconds 1', "run start",
         {"program": "pagerank", "graph": "my graph", "ticks": 20, "params": {"damping": 0.9}, "interval_seconds": 1.0,
          "paced": False, "checkpoint_ticks": 0, "queue": False, "load": None}),
        ("barrier", "barrier", {"run": None}),
        ("run search r1 two words --top 3", "run search", {"run": "r1", "words": "two words", "top": 3}),
    ],
)  # fmt: skip
def test_plain_words(line: str, name: str, args: dict[str, Any]) -> None:
    found, words = plain_words.split(line, BY_NAME)
    assert found == name
    assert vars(plain_words.read(BY_NAME[name], words)) == args


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("statsu", "there is no command 'statsu'; did you mean 'status'?"),
        ("run", "run what? there is run "),
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
        name, words = plain_words.split(line, BY_NAME)
        plain_words.read(bound().find(name), words)

    with pytest.raises(Usage) as caught:
        read()
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"run": 3}, "run should be text, not 3"),
        ({"run": "r", "top": 1.5}, "top should be a whole number, not 1.5"),
        ({"run": "r", "top": True}, "top should be a whole number, not True"),
        ({"run": "r", "top": 2**80}, "top: an integer has at most 64 bits"),
        ({"run": "r", "colum": "x"}, "run result has no argument 'colum'; did you mean 'column'?"),
        ({"run": "x" * 5000}, "run has 5000 characters: 4096 at most"),
        ({"run": "caf\udce9"}, "run: character 4 ('\\udce9') is the byte E9, which is not UTF-8: give text in UTF-8"),
        ({"run": "r", "column": "\ud83d"}, "column: character 1 ('\\ud83d') is half of a surrogate pair"),
        ({}, "run result needs run"),
    ],
)
def test_mistakes_in_json(given: dict[str, Any], said: str) -> None:
    with pytest.raises(Usage) as caught:
        BY_NAME["run result"].read(given)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 300


def test_null_is_the_same_as_not_given_and_an_int_will_do_for_a_float() -> None:
    found = vars(BY_NAME["run wait"].read({"run": "r", "timeout_seconds": 3}))
    assert found == {"run": "r", "timeout_seconds": 3.0}
    assert isinstance(found["timeout_seconds"], float)
    assert vars(BY_NAME["barrier"].read({"run": None})) == {"run": None}


def test_a_request_has_what_differs_from_the_defaults_and_reads_as_the_same_command() -> None:
    for contract in CONTRACTS:
        values = {"str": "x", "int": 1, "float": 0.5, "bool": True, "object": {"a": 1}, "names": ["x"]}
        given = {argument.name: values[argument.kind] for argument in contract.arguments}
        full = contract.read(given)
        assert {name: list(v) if isinstance(v, tuple) else v for name, v in contract.args(full).items()} == given
        needed = {argument.name: given[argument.name] for argument in contract.arguments if argument.required}
        some = contract.read(needed)
        assert contract.args(some).keys() == needed.keys()
        assert contract.read(contract.args(some)) == some


def test_help_lists_what_is_bound_and_nothing_else() -> None:
    commands = Registry()
    assert [c["name"] for c in helped(commands)] == ["help"]
    with pytest.raises(Refused, match="does not answer 'status'"):
        commands.find("status")
    assert [c["name"] for c in helped(bound())] == sorted(BY_NAME)
    assert helped(bound(), "run show")[0]["params"][0]["required"] is True


def test_every_command_says_what_it_is_and_can_be_shown() -> None:
    for contract in CONTRACTS:
        assert contract.summary.endswith((".", ")."))
        assert all(argument.help for argument in contract.arguments)
        assert isinstance(render(contract.name, {}), str)
        for argument in contract.arguments:
            assert argument.required or argument.default is None or argument.checked(argument.default) is not None
    assert set(RENDERERS) - {"dev status", "log show", "log skip"} <= set(BY_NAME)


def test_a_command_is_bound_once_and_a_server_has_a_handler_for_each() -> None:
    commands = Registry([Status.contract])
    with pytest.raises(AssertionError, match="commands without a handler: status"):
        commands.require_all()
    commands.bind(Binding(Status.contract, nothing))
    commands.require_all()
    with pytest.raises(AssertionError, match="command 'status' has two handlers"):
        commands.bind(Binding(Status.contract, nothing))
    with pytest.raises(AssertionError, match="'run show' is not a command of this registry"):
        commands.bind(Binding(BY_NAME["run show"], nothing))


def test_each_command_with_progress_or_that_changes_something_says_what_becomes_of_it_when_its_client_is_gone() -> None:
    for contract in CONTRACTS:
        assert bool(contract.interrupted) == (contract.events is not None or contract.changes), contract.name
