"""Derives shoalctl's commands from the declarations of admin commands: arguments, help and completion.

Required arguments are positional, all others are options: ``force`` is ``--force``, ``interval_seconds`` is
``--interval 20ms``. Commands that do more than send a request and show the reply are written by hand, with options from
here.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from daemon.cli.progress import followed
from daemon.cli.session import DURATION, TIMEOUT, Session, json_option, session_of
from shoal.api.command import Argument, Choices, Command, Names, Position, Rest
from shoal.api.commands import CONTRACTS
from shoal.api.errors import ShoalError
from shoal.api.values import NUMBER_MAX

F = TypeVar("F", bound=Callable[..., Any])
SECONDS: Final = "_seconds"
COMPLETION_SECONDS: Final = 2.0


def declared(kind: type[Command[Any]]) -> click.Command:
    """Returns the command that sends a request of type `kind` and shows the reply."""
    contract = kind.contract

    @json_option
    @taking(kind)
    @click.pass_obj
    def ask(session: Session, /, **given: Any) -> None:
        asked = command_of(kind, given)
        session.show(contract.name, followed(session, asked) if contract.events is not None else session.ask(asked))

    return click.command(contract.name.split()[-1], help=contract.summary)(ask)


def complete_with_declared(main: click.Group) -> None:
    """Adds all admin commands that are not written by hand, except those for client libraries only."""
    for contract in CONTRACTS:
        *family, name = contract.name.split()
        group: click.Command = main
        if family:
            about = (sys.modules[contract.command.__module__].__doc__ or "").partition("\n")[0]
            group = main.commands.setdefault(family[0], click.Group(family[0], help=about))
        assert isinstance(group, click.Group)
        if name not in group.commands and not contract.buffers:
            group.add_command(declared(contract.command))


def taking(kind: type[Command[Any]], *, without: Collection[str] = ()) -> Callable[[F], F]:
    """Decorates a function of shoalctl with the parameters of a command, except those in `without`."""

    def decorated(function: F) -> F:
        for argument in reversed(kind.contract.arguments):
            if argument.name not in without:
                function = _parameter(argument)(function)
        return function

    return decorated


def command_of(kind: type[Command[Any]], given: dict[str, Any]) -> Any:
    """Returns the command with the given parameters."""
    args = {name: " ".join(value) or None if isinstance(value, tuple) else value for name, value in given.items()}
    return kind(**{name: value for name, value in args.items() if value is not None})


def _parameter(argument: Argument) -> Callable[[F], F]:
    how: dict[str, Any] = {"type": _type(argument)}
    if (names := argument.mark(Names)) is not None:
        how["shell_complete"] = complete(names)
    if argument.required or argument.mark(Position) is not None:
        if argument.mark(Rest) is not None:
            how["nargs"] = -1
        return click.argument(argument.name, required=argument.required, **how)
    spelled = "--" + argument.name.removesuffix(SECONDS).replace("_", "-")
    text = f"{argument.help[0].upper()}{argument.help[1:]}."
    if argument.kind == "bool":
        return click.option(spelled, argument.name, is_flag=True, help=text)
    return click.option(spelled, argument.name, help=text, **how)


def _type(argument: Argument) -> Any:
    if (choices := argument.mark(Choices)) is not None:
        return click.Choice(choices.words)
    if argument.name.endswith(SECONDS):
        return TIMEOUT if argument.name.startswith("timeout") else DURATION
    if argument.kind == "int":
        within = argument.within
        most = within.most if within.most < NUMBER_MAX - 1 else None
        return click.IntRange(within.least if within.least > -NUMBER_MAX else None, most)
    return None


def complete(names: Names) -> Callable[[click.Context, click.Parameter, str], list[CompletionItem]]:
    """Returns a function that completes names known to the daemon; without a daemon it completes nothing."""

    def completed(context: click.Context, _: click.Parameter, begun: str) -> list[CompletionItem]:
        try:
            with session_of(context).connect(COMPLETION_SECONDS) as connection:
                rows = connection.call(names.command)[0][names.rows]
        except ShoalError:
            return []
        return [CompletionItem(row[names.key]) for row in rows if str(row[names.key]).startswith(begun)]

    return completed
