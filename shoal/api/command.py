"""Declarations of admin commands: one frozen class per command is the only source for everything about it.

    @command("run stop", changes=True)
    class RunStop(Command[RunReply]):
        \"\"\"Stop a run after its current tick.\"\"\"

        run: Annotated[str, "name of a run", ONE_RUN]
        force: Annotated[bool, "interrupt the program within a phase; the run has no result"] = False

The class is a request, and its type parameter the shape of the reply, a `TypedDict`. The first paragraph of the
docstring is the help text; the rest appears in the reference only. The admin server validates requests against the
class and binds a handler to it. `shoal.local`, the client, shoalctl's options and completion, and docs/commands.md are
derived from it. Fields may be added, but never renamed or reused.

`Contract.read` checks the types, ranges and texts of all commands alike, and raises `Usage`.
"""

from __future__ import annotations

import difflib
import inspect
import types
import typing
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from functools import cached_property
from typing import Any, ClassVar, Final, Generic, Literal, Self, TypeAlias, TypeVar, cast, dataclass_transform

from shoal.api.errors import Usage
from shoal.api.ranges import Within
from shoal.api.values import NUMBER_MAX, fault_of, is_finite, shown

ArgumentType = Literal["str", "int", "float", "bool", "object", "names"]
Reads = Literal["here", "agreed", "named"]
"""The state that a command reads: this shard's own; the agreed registry; or the registry only if a name is given."""
Emit = Callable[[Mapping[str, Any]], Awaitable[None]]
TEXT_CHARACTERS_MAX: Final = 4096
WORD_CHARACTERS_MAX: Final = 80

R = TypeVar("R")
C = TypeVar("C", bound="type[Command[Any]]")


@dataclass(frozen=True, slots=True)
class Names:
    """Marks an argument as the name of an existing thing: the command that lists them, and their place in its reply."""

    command: str
    rows: str
    key: str


@dataclass(frozen=True, slots=True)
class Choices:
    """Marks an argument as one of a few words; the handler checks it."""

    words: tuple[str, ...]


class Position:
    """Marks an optional argument that shoalctl accepts without an option name."""


class Rest(Position):
    """Marks an argument that takes all remaining words, joined by spaces."""


POSITION: Final = Position()
REST: Final = Rest()

_TYPES: Final[Mapping[Any, ArgumentType]] = {
    str: "str",
    int: "int",
    float: "float",
    bool: "bool",
    Mapping: "object",
    tuple: "names",
}
_WANTED: Final[Mapping[ArgumentType, str]] = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "object": "an object",
    "names": "a list of names",
}


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a command."""

    name: str
    kind: ArgumentType
    help: str
    required: bool
    default: Any
    within: Within
    marks: tuple[Any, ...] = ()

    def mark(self, mark: type[R]) -> R | None:
        """Returns the mark of that type, if the argument has one."""
        return next((found for found in self.marks if isinstance(found, mark)), None)

    def checked(self, value: Any) -> Any:
        """Returns the value if its type and range are as declared (a float may be given as an int). Raises `Usage`."""
        fault = fault_of(value, self.name)
        if fault:
            raise Usage(fault)
        match self.kind, value:
            case "str", str() if len(value) <= TEXT_CHARACTERS_MAX:
                return value
            case "bool", bool():
                return value
            case "int", int() if not isinstance(value, bool):
                return self._in_range(value)
            case "float", (int() | float()) if not isinstance(value, bool) and is_finite(value):
                return self._in_range(float(value))
            case "object", Mapping():
                return value
            case "names", list() | tuple() if value and all(
                isinstance(name, str) and 0 < len(name) <= TEXT_CHARACTERS_MAX for name in value
            ):
                return tuple(value)
        if self.kind == "str" and isinstance(value, str):
            raise Usage(f"{self.name} has {len(value)} characters: {TEXT_CHARACTERS_MAX} at most")
        raise Usage(f"{self.name} should be {_WANTED[self.kind]}, not {shown(value)}")

    def _in_range(self, value: R) -> R:
        number = cast(float, value)
        if number < self.within.least:
            raise Usage(f"{self.name} should be {self.within.least} or more, not {shown(value)}")
        if number > self.within.most:
            raise Usage(f"{self.name} should be {self.within.most} at most, not {shown(value)}")
        return value


@dataclass(frozen=True)
class Contract:
    """The declaration of one command.

    The daemon logs a command that `changes` something together with its sender. `frames` says whether raw bytes follow
    the request, `buffers` whether they follow the reply. `events` is the shape of the events that precede the reply, if
    the command has any and the client requests them. `interrupted` says what happens to a command that has events or
    changes something if its client disconnects before the reply; it may name an argument in braces.
    """

    name: str
    command: type[Command[Any]]
    reads: Reads = "agreed"
    changes: bool = False
    frames: bool = False
    events: Any = None
    buffers: bool = False
    interrupted: str = ""

    @cached_property
    def arguments(self) -> tuple[Argument, ...]:
        """The arguments, in the order of their declaration."""
        hints = typing.get_type_hints(self.command, include_extras=True)
        return tuple(_argument(at.name, hints[at.name], at.default) for at in _fields(self.command))

    @cached_property
    def reply(self) -> Any:
        """The type of the reply, a `TypedDict`."""
        bases = vars(self.command)["__orig_bases__"]
        return next(typing.get_args(base)[0] for base in bases if typing.get_origin(base) is Command)

    @property
    def summary(self) -> str:
        """The first paragraph of the docstring: one sentence."""
        return self._paragraphs[0]

    @property
    def notes(self) -> str:
        """The other paragraphs of the docstring, as Markdown."""
        return self._paragraphs[1]

    @property
    def _paragraphs(self) -> tuple[str, str]:
        first, _, rest = inspect.cleandoc(self.command.__doc__ or "").partition("\n\n")
        return " ".join(first.split()), rest

    def after_interrupt(self, command: Command[Any]) -> str:
        """Returns what happens to a command whose client has disconnected."""
        return self.interrupted.format_map(vars(command))

    @property
    def usage(self) -> str:
        """The syntax of the command in plain words."""
        words = [a.name.upper() if a.required else f"[--{a.name} {a.kind.upper()}]" for a in self.arguments]
        return " ".join([self.name, *words])

    def reads_agreed(self, command: Command[Any]) -> bool:
        """Returns whether the command, with these arguments, reads the agreed registry."""
        if self.reads == "named":
            return any(getattr(command, argument.name) is not None for argument in self.arguments)
        return self.reads == "agreed"

    def log_line(self, command: Command[Any]) -> str:
        """Returns the command and its text arguments as one short line for the log."""
        texts = (getattr(command, a.name) for a in self.arguments if a.kind == "str")
        return " ".join([self.name, *(shown(text) for text in texts if text is not None)])

    def read(self, given: Mapping[str, Any]) -> Command[Any]:
        """Returns the command with these arguments; null counts as absent. Raises `Usage`."""
        known = {argument.name: argument for argument in self.arguments}
        for name in given:
            if name not in known:
                raise Usage(f"{self.name} has no argument {shown(name)}{nearest(name, known)}; usage: {self.usage}")
        found = {}
        for name, argument in known.items():
            value = given.get(name)
            if value is not None:
                found[name] = argument.checked(value)
            elif argument.required:
                raise Usage(f"{self.name} needs {name}; usage: {self.usage}")
        return self.command(**found)

    def args(self, command: Command[Any]) -> dict[str, Any]:
        """Returns the arguments for a request: those that differ from their defaults."""
        return {at.name: value for at in _fields(type(command)) if (value := getattr(command, at.name)) != at.default}

    def checked(self, command: Command[R]) -> Command[R]:
        """Returns a caller's command as a daemon would read it. Raises `Usage` for what a request can't say."""
        return self.read(self.args(command))

    def describe(self) -> Any:
        """Returns the command for ``help``."""
        return {
            "name": self.name,
            "summary": self.summary,
            "usage": self.usage,
            "params": [
                {"name": a.name, "type": a.kind, "required": a.required, "default": a.default, "summary": a.help}
                for a in self.arguments
            ],
        }


@dataclass(frozen=True, slots=True)
class Exchange:
    """The frames of a request, and a function that sends events before its reply."""

    frames: tuple[memoryview, ...] = ()
    emit: Emit = field(default=lambda event: _nothing(), compare=False)
    """Sends an event to a client that requested events; otherwise does nothing. Raises if the client has disconnected.
    """


@dataclass(frozen=True, slots=True)
class Framed(Generic[R]):
    """A reply followed by buffers."""

    reply: R
    frames: tuple[Any, ...]


Answer: TypeAlias = Callable[[Any, Exchange], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Binding:
    """A command and its handler."""

    contract: Contract
    answer: Answer


class Command(Generic[R]):
    """A request, with checked arguments; `R` is the shape of its reply."""

    contract: ClassVar[Contract]

    @classmethod
    def answered_by(cls, handler: Callable[[Self], Awaitable[R | Framed[R]]]) -> Binding:
        """Binds a handler, which takes the command and returns the reply."""
        return Binding(cls.contract, lambda command, _: handler(command))

    @classmethod
    def replied_by(cls, reply: Callable[[Self], R]) -> tuple[str, Callable[[Any], Any]]:
        """Pairs the command's name with a function that returns the reply at once, without a daemon."""
        return cls.contract.name, reply

    @classmethod
    def followed_by(cls, handler: Callable[[Self, Exchange], Awaitable[R | Framed[R]]]) -> Binding:
        """Binds a handler that also receives frames, or sends events."""
        return Binding(cls.contract, handler)


@dataclass_transform(frozen_default=True)
def command(
    name: str,
    *,
    reads: Reads = "agreed",
    changes: bool = False,
    frames: bool = False,
    events: Any = None,
    buffers: bool = False,
    interrupted: str = "",
) -> Callable[[C], C]:
    """Declares a class as the command with that name."""

    def declared(declared_class: C) -> C:
        dataclass(frozen=True)(declared_class)
        declared_class.contract = Contract(name, declared_class, reads, changes, frames, events, buffers, interrupted)
        return declared_class

    return declared


def nearest(word: str, known: typing.Iterable[str]) -> str:
    """Returns a hint for an unknown word, or an empty string."""
    if len(word) > WORD_CHARACTERS_MAX:
        return ""  # the time to compare grows with both lengths
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def bare(hint: Any) -> tuple[Any, tuple[Any, ...]]:
    """Returns a type without ``Annotated`` and ``None``, and its marks.

    >>> bare(typing.Annotated[int | None, "how many"])
    (<class 'int'>, ('how many',))
    """
    marks: tuple[Any, ...] = ()
    while True:
        if typing.get_origin(hint) is typing.Annotated:
            hint, *more = typing.get_args(hint)
            marks += tuple(more)
        elif isinstance(hint, types.UnionType) and len(some := [a for a in hint.__args__ if a is not type(None)]) == 1:
            hint = some[0]
        else:
            return hint, marks


def _argument(name: str, hint: Any, default: Any) -> Argument:
    plain, marks = bare(hint)
    plain = typing.get_origin(plain) or plain
    kind = _TYPES[plain]
    within = next((mark for mark in marks if isinstance(mark, Within)), Within(-NUMBER_MAX, NUMBER_MAX - 1))
    text = next(mark for mark in marks if isinstance(mark, str))
    required = default is MISSING
    return Argument(name, kind, text, required, None if required else default, within, marks)


def _fields(declared: type[Command[Any]]) -> tuple[Field[Any], ...]:
    return fields(cast(Any, declared))


async def _nothing() -> None:
    return None
