"""What a command answers from, and what is said where no majority vouches for it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from daemon.admin.registry import Registry
from shoal.api.command import Binding, Exchange
from shoal.api.commands import BY_NAME, CONTRACTS
from shoal.api.errors import Refused, UnknownColumn, UnknownRun

ONE = {"run": "wcc-1", "graph": "web", "program": "wcc"}


class Shard:
    """Knows what it is told of when it catches up."""

    def __init__(self, majority: bool = True) -> None:
        self.asked = 0
        self._majority = majority

    async def catch_up(self) -> bool:
        self.asked += 1
        return self._majority


def asked(shard: Shard, name: str, error: Refused | None = None, **args: Any) -> Any:
    """Have a command answered that says how often its shard has caught up by then."""
    commands = Registry(catch_up=shard.catch_up)

    async def answer(*_: Any) -> Any:
        if error is not None:
            raise error
        return {"caught_up": shard.asked}

    contract = BY_NAME[name]
    if name != "help":
        commands.bind(Binding(contract, answer))
    given = {argument.name: ONE.get(argument.name, "x") for argument in contract.arguments if argument.kind == "str"}
    given = {name: value for name, value in {**given, **args}.items() if value is not None}
    if name == "help":
        given = {}
    if name == "graph load":
        given["spec"] = {}
    return asyncio.run(commands.answer(contract.read(given), Exchange())).reply


def test_what_answers_from_what_is_agreed_upon_catches_up_first_and_once() -> None:
    for command in CONTRACTS:
        shard = Shard()
        asked(shard, command.name)
        local = command.name in ("help", "status", "members", "found", "log-level", "metrics", "program remove")
        assert shard.asked == (not local), command.name
    assert asked(Shard(), "run show") == {"caught_up": 1}


@pytest.mark.parametrize(("name", "argument"), [("barrier", "run"), ("ghosts", "graph")])
def test_a_diagnosis_waits_for_nobody_unless_it_is_asked_for_by_name(name: str, argument: str) -> None:
    assert asked(Shard(), name, **{argument: None}) == {"caught_up": 0}
    assert asked(Shard(), name, **{argument: "x"}) == {"caught_up": 1}


def test_without_a_majority_the_answer_is_what_the_shard_knows() -> None:
    assert asked(Shard(majority=False), "run list") == {"caught_up": 1}


def test_without_a_majority_a_name_that_is_not_known_may_be_new() -> None:
    unknown = UnknownRun("there is no run 'wcc-1'")
    with pytest.raises(UnknownRun, match=r"^there is no run 'wcc-1'$"):
        asked(Shard(), "run show", unknown)
    with pytest.raises(
        Refused, match=r"no run 'wcc-1'; but this side has no majority.* may not know the newest"
    ) as unsure:
        asked(Shard(majority=False), "run show", unknown)
    assert type(unsure.value) is Refused, "a script must not take it for certain"


def test_any_other_mistake_is_told_as_it_is() -> None:
    wrong = UnknownColumn("run 'wcc-1' has no column 'x'")
    with pytest.raises(Refused, match=r"has no column 'x'$"):
        asked(Shard(majority=False), "run result", wrong)
