"""What all commands share: connecting to the daemon, printing replies, and exit codes.

Data goes to standard output, messages to standard error. Exit codes: 0 success; 1 refused, failed or unreachable; 2
usage error. Tables are as wide as the terminal, and coloured only on a terminal without ``NO_COLOR``.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast

import click
from click.core import ParameterSource

from shoal.api.command import Command
from shoal.api.errors import ShoalError
from shoal.api.text import LINES, printable
from shoal.client.admin_protocol import AdminConnection

if TYPE_CHECKING:
    from daemon.admin.pages.page import Page

P = ParamSpec("P")
R = TypeVar("R")
WIDTH_PIPED: Final = 160
"""The width of tables that do not go to a terminal."""


class CommandFailed(click.ClickException):
    """A failure with a message for the user."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it from the instance

    def show(self, file: Any = None) -> None:
        click.echo(f"shoalctl: {printable(self.message, LINES)}", err=True)


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turns errors into a message and an exit status."""
    try:
        yield
    except ShoalError as error:
        raise CommandFailed(str(error), error.exit_code) from error


def interrupted(command: Command[Any]) -> SystemExit:
    """Says what becomes of a command on Ctrl-C; returns the exit of shoalctl."""
    words("\n" + (command.contract.after_interrupt(command) or "interrupted"))
    return SystemExit(130)


@dataclass(slots=True)
class Session:
    """The global options: the daemon, the keys, and the format of replies."""

    address: str
    as_json: bool = False
    timeout_seconds: float = 60.0
    key: Path | None = None
    server_key: str | None = None
    known_keys: Path | None = None

    @classmethod
    def of(cls, root: click.Context) -> Session:
        """Returns the session that the global options describe."""
        given = root.params
        return cls(
            _address(root, given["socket"], given["remote"]),
            given["as_json"],
            given["patience"],
            given["key"],
            given["server_key"],
            given["known_keys"],
        )

    def connect(self, timeout: float | None = None) -> AdminConnection:
        """Opens a connection to the daemon."""
        patience = timeout if timeout is not None else self.timeout_seconds
        if "://" not in self.address:
            return AdminConnection(self.address, patience)
        return AdminConnection(
            self.address, patience, key=self.key, server_key=self.server_key, known_keys=self.known_keys
        )

    def ask(self, command: Command[R], frames: Sequence[Any] = ()) -> R:
        """Returns the reply to a command, without its frames."""
        contract = command.contract
        try:
            with reported_errors(), self.connect() as connection:
                reply, _ = connection.call(contract.name, contract.args(command), frames)
        except KeyboardInterrupt:
            raise interrupted(command) from None
        return cast(R, reply)

    def show(self, command: str, result: Mapping[str, Any]) -> None:
        """Prints a result as JSON or as a page."""
        if self.as_json:
            click.echo(json.dumps(result, indent=2))
        else:
            from daemon.admin.render import render  # imported late: rich takes a tenth of a second

            click.echo(render(command, result, page()))

    def answer(self, command: Command[Any]) -> None:
        """Sends a command and shows the reply."""
        self.show(command.contract.name, self.ask(command))


def session_of(context: click.Context) -> Session:
    """Returns the session of a command line, including one that is being completed."""
    return context.find_object(Session) or Session.of(context.find_root())


def _address(root: click.Context, socket: Path, remote: str | None) -> str:
    """Returns the address to use: options override the environment, where an address overrides a socket."""

    def was_typed(name: str) -> bool:
        return root.get_parameter_source(name) is ParameterSource.COMMANDLINE

    if was_typed("socket") and was_typed("remote"):
        raise click.UsageError("give either --socket, for a daemon on this machine, or --connect, for another")
    if remote is None or was_typed("socket"):
        return str(socket)
    if "://" not in remote:
        raise click.UsageError(f"--connect (SHOAL_CONNECT) should be NAME@tcp://HOST:PORT, not {remote!r}")
    return remote


def page() -> Page:
    """Returns the width and colours that standard output supports."""
    from daemon.admin.pages.page import Page

    if not sys.stdout.isatty():
        return Page(WIDTH_PIPED, False)
    return Page(shutil.get_terminal_size().columns, "NO_COLOR" not in os.environ)


def words(text: str) -> None:
    """Prints a message to standard error."""
    click.echo(printable(text, LINES), err=True)


class DurationType(click.ParamType[float]):
    """A duration with a unit, converted to seconds; with `bare`, a number without a unit is in seconds."""

    name = "duration"

    def __init__(self, bare: bool = False) -> None:
        self.bare = bare

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        from daemon.config.quantities import BadQuantity, duration_ns  # imported late: it imports pydantic

        try:
            text = str(value)
            return duration_ns(f"{text}s" if self.bare and text[-1:].isdigit() else text) / 1e9
        except BadQuantity as error:
            self.fail(f"{value!r} {error}", param, ctx)


class PairType(click.ParamType[tuple[str, Any]]):
    """``KEY=VALUE``; unless `plain` is set, the value is parsed as JSON where possible."""

    name = "key=value"

    def __init__(self, plain: bool = False) -> None:
        self.plain = plain

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Any]:
        if isinstance(value, tuple):
            return value
        key, equals, text = str(value).partition("=")
        if not equals or not key:
            self.fail(f"{value!r} should be KEY=VALUE", param, ctx)
        if self.plain:
            return key, text
        try:
            return key, json.loads(text, parse_constant=float)
        except ValueError:
            return key, text


DURATION: Final = DurationType()
TIMEOUT: Final = DurationType(bare=True)


def json_option(function: Callable[P, R]) -> Callable[P, R]:
    """Adds ``--json`` as an option of the command, too."""

    def note(context: click.Context, _: click.Parameter, value: bool) -> None:
        if value:
            context.find_object(Session).as_json = True  # type: ignore[union-attr]

    return click.option("--json", is_flag=True, expose_value=False, callback=note, help="Print JSON.")(function)
