"""The reference of all commands, as Markdown: what docs/commands.md says of each, from its class.

A page has blocks between ``<!-- begin NAME -->`` and ``<!-- end NAME -->``, which are written by this; everything else
in it is written by hand.
"""

from __future__ import annotations

import re
import textwrap
import typing
from collections.abc import Iterable, Mapping
from typing import Any, Final

from shoal.api.command import Contract, bare

WIDTH: Final = 140
PARAGRAPH_CHARACTERS_MAX: Final = 200
"""A longer description of a reply is a list."""


def filled(page: str, blocks: Mapping[str, str]) -> str:
    """Returns a page with these blocks in the places of what is there. Raises `ValueError` if it has no such place.

    >>> filled("a <!-- begin x -->old<!-- end x --> b", {"x": "new"})
    'a <!-- begin x -->\\n\\nnew\\n\\n<!-- end x --> b'
    """
    for name, text in blocks.items():
        begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
        if page.count(begin) != 1 or page.count(end) != 1:
            raise ValueError(f"there should be one '{begin}' and one '{end}'")
        before, after = page.partition(begin)[0], page.partition(end)[2]
        page = f"{before}{begin}\n\n{text.strip()}\n\n{end}{after}"
    return page


def reference(contracts: Iterable[Contract]) -> str:
    """Returns the sections of these commands."""
    contracts = tuple(contracts)
    described: dict[Any, str] = {}
    for contract in contracts:  # where a reply is described that several commands have
        if contract.reply not in described or contract.name.endswith(" show"):
            described[contract.reply] = contract.name
    return "\n\n".join(_section(contract, described) for contract in contracts)


def _section(contract: Contract, described: Mapping[Any, str]) -> str:
    parts = [f"### `{contract.name}`", contract.summary]
    if contract.arguments:
        rows = [f"| `{a.name}` | {a.kind} | {'required; ' if a.required else ''}{a.help} |" for a in contract.arguments]
        parts.append("\n".join(["| argument | type | |", "| --- | --- | --- |", *rows]))
    parts += [_wrapped(paragraph) for paragraph in contract.notes.split("\n\n") if paragraph]
    if contract.events is not None:
        there = described.get(contract.events)
        fields = ", ".join(_field(*field) for field in _fields(contract.events))
        parts.append(f"Events: {f'as the result of `{there}`' if there else fields}.")
    if (there := described[contract.reply]) != contract.name:
        parts.append(f"Result: as of `{there}`.")
    else:
        parts.append(_result(contract.reply))
    return "\n\n".join(parts)


def _wrapped(paragraph: str, indent: str = "") -> str:
    text = " ".join(paragraph.split())
    lines = textwrap.wrap(text, WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def _result(reply: Any) -> str:
    fields = _fields(reply)
    text = f"Result: {', '.join(_field(*field) for field in fields)}."
    if len(text) <= PARAGRAPH_CHARACTERS_MAX:
        return _wrapped(text)
    lines: list[str] = []
    plain: list[str] = []  # fields of which there is nothing to say share a line
    for name, explained in fields:
        if not explained:
            plain.append(f"`{name}`")
            continue
        lines += [f"- {', '.join(plain)}"] if plain else []
        plain = []
        lines.append(f"- `{name}`: {explained}")
    lines += [f"- {', '.join(plain)}"] if plain else []
    return "\n".join(["Result:", "", *(_wrapped(line, "  ") for line in lines)])


def _field(name: str, explained: str) -> str:
    return f"`{name}` ({explained})" if explained else f"`{name}`"


def _fields(reply: Any) -> list[tuple[str, str]]:
    """The names of a reply's fields, with what there is to say of each."""
    hints = typing.get_type_hints(reply, include_extras=True)
    return [(name, _explained(hint)) for name, hint in hints.items()]


def _explained(hint: Any) -> str:
    if typing.get_origin(hint) is typing.NotRequired:
        (hint,) = typing.get_args(hint)
    kind, marks = bare(hint)
    words = [mark for mark in marks if isinstance(mark, str)]
    if any(mark.startswith("as in ") for mark in words):
        return "; ".join(words)
    origin, parameters = typing.get_origin(kind), typing.get_args(kind)
    inner = parameters[-1] if parameters else kind
    if typing.is_typeddict(inner):
        names = ", ".join(_field(*field) for field in _fields(inner))
        each = "each with " if origin is list else "by name, each with " if origin is not None else ""
        words = [*(word for word in words if not (origin is not None and word == "by name")), f"{each}{names}"]
    return re.sub(r"\s+", " ", "; ".join(words))
