"""What may be asked on the admin socket: commands, their arguments, and how words become both.

A request comes in two dresses. Programs send JSON objects with named arguments; people type plain words
(``run show pagerank-1``), positional arguments in the declared order and then ``--name value``. Both end as the same
checked `Request`, so a handler sees nothing but arguments of the declared types, with defaults filled in.

What each command is called and takes is declared here and in `daemon.admin.catalogue`; who answers it is bound by the
composition root (`Registry.bind`). A command nobody bound is refused with a sentence, and ``help`` leaves it out.

What is read. Most commands answer from what the cluster has agreed upon, and no answer is older than another that was
given before it, by whatever shard: the shard first catches up. Where no majority vouches for that, it says what it
knows, for operators need it exactly then; only a name that it does not know may be one that it has not heard of yet.
What a shard says of itself never waits for others.
"""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from daemon.admin.values import NUMBER_MAX, fault_of, is_finite
from daemon.admin.values import shown as _shown
from shoal.api.errors import Refused, UnknownName, Usage

ParameterType = Literal["str", "int", "float", "bool", "object", "names"]
Reads = Literal["here", "agreed", "named"]
"""What a command answers from: this shard alone; what is agreed upon; or that, if it is asked about one by its name."""
Buffer = bytes | bytearray | memoryview
Emit = Callable[[Mapping[str, Any]], Awaitable[None]]
Render = Callable[[Mapping[str, Any]], str]

WORDS_MAX: Final = 64
WORD_CHARACTERS_MAX: Final = 80
TEXT_CHARACTERS_MAX: Final = 4096


@dataclass(frozen=True, slots=True)
class Parameter:
    """One argument of a command."""

    name: str
    type: ParameterType
    summary: str
    required: bool = False
    default: Any = None
    least: int = -NUMBER_MAX
    most: int = NUMBER_MAX - 1

    def checked(self, value: Any) -> Any:
        """`value` if it is of the declared type and range (an int will do for a float), and can be said and kept."""
        fault = fault_of(value, self.name)
        if fault:
            raise Usage(fault)
        match self.type, value:
            case "str", str() if len(value) <= TEXT_CHARACTERS_MAX:
                return value
            case "bool", bool():
                return value
            case "int", int() if not isinstance(value, bool):
                return self._within(value)
            case "float", (int() | float()) if not isinstance(value, bool) and is_finite(value):
                return float(value)
            case "object", dict():
                return value
            case "names", list() if value and all(
                isinstance(name, str) and 0 < len(name) <= TEXT_CHARACTERS_MAX for name in value
            ):
                return value
        if self.type == "str" and isinstance(value, str):
            raise Usage(f"{self.name} has {len(value)} characters: {TEXT_CHARACTERS_MAX} at most")
        wanted = {
            "str": "text",
            "int": "a whole number",
            "float": "a number",
            "bool": "true or false",
            "object": "an object",
            "names": "a list of names",
        }
        raise Usage(f"{self.name} should be {wanted[self.type]}, not {_shown(value)}")

    def _within(self, value: int) -> int:
        if value < self.least:
            raise Usage(f"{self.name} should be {self.least} or more, not {_shown(value)}")
        if value > self.most:
            raise Usage(f"{self.name} should be {self.most} at most, not {_shown(value)}")
        return value

    def read(self, word: str) -> Any:
        """The value that a plain word stands for."""
        try:
            match self.type:
                case "int":
                    return self.checked(int(word))
                case "float":
                    return self.checked(float(word))
                case "bool":
                    return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[
                        word.lower()
                    ]
                case "object":
                    return self.checked(json.loads(word))
                case "names":
                    return self.checked(word.split(","))
                case "str":
                    return self.checked(word)
        except (ValueError, KeyError, OverflowError, RecursionError):
            return self.checked(word if self.type != "str" else None)


async def _no_events(_: Mapping[str, Any]) -> None:
    return None


@dataclass(frozen=True, slots=True)
class Request:
    """A checked request: `args` holds every declared parameter."""

    command: str
    args: Mapping[str, Any]
    frames: tuple[memoryview, ...] = ()
    stream: bool = False
    emit: Emit = field(default=_no_events, compare=False)
    """Sends an event to a client that asked for a stream; does nothing otherwise. Raises when the client is gone."""


@dataclass(frozen=True, slots=True)
class Reply:
    """What a handler gives back."""

    result: Mapping[str, Any]
    frames: tuple[Any, ...] = ()
    """Buffers that follow the reply's line, unless plain words were asked for."""


Handler = Callable[[Request], Awaitable[Reply]]
CatchUp = Callable[[], Awaitable[bool]]
"""Have this shard know all that was agreed upon by now; False if there is no majority to vouch for that."""


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `frames` says whether it takes raw bytes after its line, `changes` whether it leaves anything other
    than it was: then the log has who asked for it.
    """

    name: str
    summary: str
    params: tuple[Parameter, ...] = ()
    render: Render = field(default=lambda result: json.dumps(result, indent=2, default=str))
    frames: bool = False
    handler: Handler | None = None
    changes: bool = False
    reads: Reads = "here"

    @property
    def usage(self) -> str:
        """The command as it is typed."""
        words = [p.name.upper() if p.required else f"[--{p.name} {p.type.upper()}]" for p in self.params]
        return " ".join([self.name, *words])

    def reads_agreed(self, args: Mapping[str, Any]) -> bool:
        """Whether it answers, with these arguments, from what is agreed upon."""
        return self.reads == "agreed" or (self.reads == "named" and any(value is not None for value in args.values()))

    def told(self, args: Mapping[str, Any]) -> str:
        """The command and the words that were given with it, in one short line for the log."""
        words = [_shown(args[p.name]) for p in self.params if p.type == "str" and args[p.name] is not None]
        return " ".join([self.name, *words])

    def arguments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """All parameters, checked, from those that were given."""
        known = {parameter.name: parameter for parameter in self.params}
        for name in given:
            if name not in known:
                raise Usage(
                    f"{self.name} has no argument {_shown(name)}{_nearest(name, list(known))}; usage: {self.usage}"
                )
        found = {}
        for parameter in self.params:
            value = given.get(parameter.name)
            if value is not None:
                found[parameter.name] = parameter.checked(value)
            elif parameter.required:
                raise Usage(f"{self.name} needs {parameter.name}; usage: {self.usage}")
            else:
                found[parameter.name] = parameter.default
        return found

    def read_words(self, words: Sequence[str]) -> dict[str, Any]:
        """Arguments from plain words: positional ones in the declared order, then ``--name value``."""
        known = {parameter.name: parameter for parameter in self.params}
        positional = iter(self.params)
        given: dict[str, Any] = {}
        rest = iter(words)
        for word in rest:
            if word.startswith("--"):
                name, equals, value = word[2:].partition("=")
                name = name if name in known else name.replace("-", "_")
                if name not in known:
                    raise Usage(
                        f"{self.name} has no option {_shown(word)}{_nearest(name, list(known))}; usage: {self.usage}"
                    )
                parameter = known[name]
                if not equals:
                    # A flag stands for true when no value follows it.
                    value = "true" if parameter.type == "bool" else next(rest, "")
            else:
                following = next((p for p in positional if p.name not in given), None)
                if following is None:
                    raise Usage(f"{self.name}: one word too many, {_shown(word)}; usage: {self.usage}")
                parameter, value = following, word
            given[parameter.name] = parameter.read(value)
        return self.arguments(given)

    def describe(self) -> dict[str, Any]:
        """This command for ``help``."""
        return {
            "name": self.name,
            "summary": self.summary,
            "usage": self.usage,
            "params": [
                {"name": p.name, "type": p.type, "required": p.required, "default": p.default, "summary": p.summary}
                for p in self.params
            ],
        }


async def nothing_to_catch_up_with() -> bool:
    """For who has never heard of anything that others may know."""
    return True


class Registry:
    """The commands of one daemon."""

    def __init__(self, commands: Sequence[Command] = (), catch_up: CatchUp = nothing_to_catch_up_with) -> None:
        self._commands: dict[str, Command] = {}
        self._catch_up = catch_up
        for command in commands:
            self.add(command)

    def add(self, command: Command) -> None:
        """Declare a command."""
        assert command.name not in self._commands, command.name
        self._commands[command.name] = command

    def bind(self, name: str, handler: Handler) -> None:
        """Say who answers a declared command."""
        command = self._commands[name]
        assert command.handler is None, f"{name} is bound twice"

        async def answer(request: Request) -> Reply:
            if not command.reads_agreed(request.args):
                return await handler(request)
            is_newest = await self._catch_up()
            try:
                return await handler(request)
            except UnknownName as unknown:
                if is_newest:
                    raise
                doubt = "but there is no majority on this side, so this shard may not know the newest"
                raise Refused(f"{unknown}; {doubt}") from unknown

        self._commands[name] = replace(command, handler=answer)

    def __iter__(self) -> Iterator[Command]:
        return iter(sorted(self._commands.values(), key=lambda command: command.name))

    def find(self, name: str) -> Command:
        """The command called `name`, or a usage error with the nearest name."""
        if name not in self._commands:
            raise Usage(f"there is no command {_shown(name)}{_nearest(name, list(self._commands))}; `help` lists them")
        command = self._commands[name]
        if command.handler is None:
            raise Refused(f"this daemon does not answer {name!r}")
        return command

    def split(self, line: str) -> tuple[Command, list[str]]:
        """The command at the start of a line of plain words (the longest that fits), and the words after it."""
        try:
            words = shlex.split(line)
        except ValueError as error:
            raise Usage(f"cannot read that line: {str(error).lower()}") from None
        if len(words) > WORDS_MAX:
            raise Usage(f"that line has more than {WORDS_MAX} words")
        for length in (2, 1):
            name = " ".join(words[:length])
            if len(words) >= length and name in self._commands:
                return self.find(name), words[length:]
        firsts = {name.split()[0] for name in self._commands}
        if words[0] in firsts:
            kin = sorted(name for name in self._commands if name.split()[0] == words[0])
            given = " ".join(words[:2])
            near = difflib.get_close_matches(given, kin, n=1)
            raise Usage(f"{words[0]} what? " + (f"did you mean '{near[0]}'?" if near else f"there is {', '.join(kin)}"))
        # Quotes the first word alone unless two words are nearer to a command of two.
        near = difflib.get_close_matches(" ".join(words[:2]), list(self._commands), n=1)
        hint = f"; did you mean '{near[0]}'?" if near else _nearest(words[0], list(self._commands))
        raise Usage(f"there is no command {_shown(words[0])}{hint}; `help` lists them")

    def help(self, name: str | None = None) -> dict[str, Any]:
        """The result of ``help``: what this daemon answers."""
        chosen = [self.find(name)] if name else [command for command in self if command.handler is not None]
        return {"commands": [command.describe() for command in chosen]}


def _nearest(word: str, known: list[str]) -> str:
    if len(word) > WORD_CHARACTERS_MAX:
        return ""  # comparing takes as long as both are
    near = difflib.get_close_matches(word, known, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""
