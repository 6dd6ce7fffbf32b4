"""Errors that a user can correct; each message states what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral

NODE_CHARACTERS_MAX = 200
WORD_CHARACTERS_MAX = 80


class ShoalError(Exception):
    """Base class of errors that the caller can correct."""


class BadParameter(ShoalError):
    """The program does not have the parameter, or does not accept its value."""


class UnknownProgram(ShoalError):
    """No program of that name is installed or deployed, or not the version that a run uses."""


class BadProgram(ShoalError):
    """The file cannot be deployed as a program."""


class UnknownColumn(ShoalError):
    """The run, graph or program has no column, table or declaration of that name."""


class UnknownGraph(ShoalError):
    """No graph of that name is loaded, or another load of it."""


class UnknownRun(ShoalError):
    """No run of that name exists."""


class TickNotKept(ShoalError):
    """The run cannot be read at that tick, or no longer."""


class NameTaken(ShoalError):
    """A graph of that name is already loaded."""


class RunFailed(ShoalError):
    """The run ended without a result."""


BY_NAME: Mapping[str, type[ShoalError]] = {
    kind.__name__: kind
    for kind in (
        BadParameter,
        BadProgram,
        UnknownProgram,
        UnknownColumn,
        UnknownGraph,
        UnknownRun,
        TickNotKept,
        NameTaken,
    )
}
"""The classes that a daemon may name in an error."""


def node_told(error: BaseException) -> str:
    """Returns the node at which a program failed, as a suffix like " at node 7", or an empty string if none is known.

    The node's id is the attribute `shoal_node` of the exception or of one that led to it.

    >>> error = ZeroDivisionError()
    >>> node_told(error)
    ''
    >>> error.shoal_node = "libc6"
    >>> node_told(error)
    " at node 'libc6'"
    """
    seen: set[int] = set()
    following: BaseException | None = error
    while following is not None and id(following) not in seen:
        node = getattr(following, "shoal_node", None)
        if isinstance(
            node, str | Integral
        ):  # an id; anything else is the program's own, and what it does when shown, too
            return f" at node {node!r}"[:NODE_CHARACTERS_MAX]
        seen.add(id(following))
        following = following.__cause__ or following.__context__
    return ""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Returns a hint to append to an error about an unknown name, or an empty string.

    >>> did_you_mean("pagernk", ["pagerank", "wcc"])
    "; did you mean 'pagerank'?"
    """
    near = get_close_matches(word, list(known), n=1) if len(word) <= WORD_CHARACTERS_MAX else ()
    return f"; did you mean '{near[0]}'?" if near else ""
