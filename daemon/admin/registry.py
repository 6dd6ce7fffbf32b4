"""The handlers of the admin socket's commands.

`shoal.api.commands` declares the names and arguments of commands; this registry binds each command to one handler. It
refuses a command without a handler, and ``help`` omits it.

Most commands read the replicated state, and reads are linearizable: the shard first catches up. Without a majority it
answers from its own state, because operators need an answer just then; the error for an unknown name then adds that
this shard may not know the newest state. Commands about the shard itself never wait for others.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from shoal.api.command import Answer, Binding, Command, Contract, Exchange, Framed, nearest
from shoal.api.commands import CONTRACTS
from shoal.api.commands.cluster import Help, HelpReply
from shoal.api.errors import Refused, UnknownName, Usage
from shoal.api.values import shown

CatchUp = Callable[[], Awaitable[bool]]
"""Brings this shard up to date with all that is decided by now; returns False without a majority."""


async def nothing_to_catch_up_with() -> bool:
    """Does nothing, for a shard that has no log."""
    return True


class Registry:
    """The commands of one daemon, and their handlers."""

    def __init__(self, contracts: Iterable[Contract] = CONTRACTS, catch_up: CatchUp = nothing_to_catch_up_with) -> None:
        self.contracts: Mapping[str, Contract] = {contract.name: contract for contract in contracts}
        self._answers: dict[str, Answer] = {}
        self._catch_up = catch_up
        if Help.contract.name in self.contracts:
            self.bind(Help.answered_by(self._help))

    def bind(self, *bindings: Binding) -> None:
        """Binds handlers to commands that have none yet."""
        for binding in bindings:
            name = binding.contract.name
            assert self.contracts.get(name) is binding.contract, f"'{name}' is not a command of this registry"
            assert name not in self._answers, f"command '{name}' has two handlers"
            self._answers[name] = binding.answer

    def require_all(self) -> None:
        """Checks that every command has a handler."""
        missing = sorted(self.contracts.keys() - self._answers.keys())
        assert not missing, f"commands without a handler: {', '.join(missing)}"

    def find(self, name: str) -> Contract:
        """Returns the command of that name. Raises `Usage` with the nearest name, or `Refused` if it has no handler."""
        if name not in self.contracts:
            raise Usage(f"there is no command {shown(name)}{nearest(name, self.contracts)}; `help` lists them")
        if name not in self._answers:
            raise Refused(f"this daemon does not answer {name!r}")
        return self.contracts[name]

    async def answer(self, command: Command[Any], exchange: Exchange) -> Framed[Mapping[str, Any]]:
        """Returns the reply to a command."""
        contract = command.contract
        answer = self._answers[contract.name]
        is_newest = not contract.reads_agreed(command) or await self._catch_up()
        try:
            reply = await answer(command, exchange)
        except UnknownName as unknown:
            if is_newest:
                raise
            doubt = "but this side has no majority, so this shard may not know the newest state"
            raise Refused(f"{unknown}; {doubt}") from unknown
        return reply if isinstance(reply, Framed) else Framed(reply, ())

    async def _help(self, command: Help) -> HelpReply:
        names = [command.command] if command.command else sorted(self._answers)
        return {"commands": [self.find(name).describe() for name in names]}
