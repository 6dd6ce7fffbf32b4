"""Parses plain words as a command: ``run show pagerank-1``, positional arguments in order, then ``--name value``."""

from __future__ import annotations

import difflib
import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, Final

from shoal.api.command import Argument, Command, Contract, Rest, nearest
from shoal.api.errors import Usage
from shoal.api.values import shown

WORDS_MAX: Final = 64
YES_OR_NO: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def split(line: str, known: Mapping[str, object]) -> tuple[str, list[str]]:
    """Returns the name of the command at the start of a line (the longest that matches), and the words after it."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise Usage(f"cannot read that line: {str(error).lower()}") from None
    if len(words) > WORDS_MAX:
        raise Usage(f"that line has more than {WORDS_MAX} words")
    for length in (2, 1):
        name = " ".join(words[:length])
        if len(words) >= length and name in known:
            return name, words[length:]
    firsts = {name.split()[0] for name in known}
    if words[0] in firsts:
        kin = sorted(name for name in known if name.split()[0] == words[0])
        given = " ".join(words[:2])
        near = difflib.get_close_matches(given, kin, n=1)
        raise Usage(f"{words[0]} what? " + (f"did you mean '{near[0]}'?" if near else f"there is {', '.join(kin)}"))
    # Suggests for the first word alone unless two words are nearer to a command of two.
    near = difflib.get_close_matches(" ".join(words[:2]), list(known), n=1)
    hint = f"; did you mean '{near[0]}'?" if near else nearest(words[0], known)
    raise Usage(f"there is no command {shown(words[0])}{hint}; `help` lists them")


def read(contract: Contract, words: Sequence[str]) -> Command[Any]:
    """Returns the command with the arguments in plain words. Raises `Usage`."""
    known = {argument.name: argument for argument in contract.arguments}
    given: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name if name in known else name.replace("-", "_")
            if name not in known:
                hint = nearest(name, known)
                raise Usage(f"{contract.name} has no option {shown(word)}{hint}; usage: {contract.usage}")
            argument = known[name]
            if not equals:
                # A flag stands for true when no value follows it.
                value = "true" if argument.kind == "bool" else next(rest, "")
        else:
            following = next((a for a in contract.arguments if a.name not in given or a.mark(Rest) is not None), None)
            if following is None:
                raise Usage(f"{contract.name}: one word too many, {shown(word)}; usage: {contract.usage}")
            argument, value = following, word
            if following.name in given:
                value = f"{given[following.name]} {word}"
        given[argument.name] = _value(argument, value)
    return contract.read(given)


def _value(argument: Argument, word: str) -> Any:
    """Returns the value of a word."""
    try:
        match argument.kind:
            case "int":
                return argument.checked(int(word))
            case "float":
                return argument.checked(float(word))
            case "bool":
                return YES_OR_NO[word.lower()]
            case "object":
                return argument.checked(json.loads(word))
            case "names":
                return argument.checked(word.split(","))
            case "str":
                return argument.checked(word)
    except (ValueError, KeyError, OverflowError, RecursionError):
        return argument.checked(word if argument.kind != "str" else None)
