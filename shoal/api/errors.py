"""What can go wrong for a user, each error with a sentence that says what, where and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral

NODE_CHARACTERS_MAX = 200
WORD_CHARACTERS_MAX = 80


class ShoalError(Exception):
    """Base of every error that is the user's to mend."""


class BadParameter(ShoalError):
    """A parameter that the program does not have, or a value that it does not take."""


class UnknownProgram(ShoalError):
    """No program of that name is installed or deployed, or not the one that a run uses."""


class BadProgram(ShoalError):
    """A file that can't be deployed as a program."""


class UnknownColumn(ShoalError):
    """The run or graph has no such column."""


class UnknownGraph(ShoalError):
    """No graph of that name is loaded."""


class UnknownRun(ShoalError):
    """There is no such run."""


class TickNotKept(ShoalError):
    """The run can't be read at that tick, or not any more."""


class NameTaken(ShoalError):
    """A graph of that name is there already."""


class RunFailed(ShoalError):
    """A run ended without a result."""


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
"""What a daemon may name as the class of an error."""


def node_told(error: BaseException) -> str:
    """At which node a program has failed, if it says so, as " at node 7", to be put behind what has failed.

    It says so by an attribute `shoal_node`, the node's id, of the exception or of one that led to it.

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
    """A hint to put behind an unknown name, or nothing.

    >>> did_you_mean("pagernk", ["pagerank", "wcc"])
    "; did you mean 'pagerank'?"
    """
    near = get_close_matches(word, list(known), n=1) if len(word) <= WORD_CHARACTERS_MAX else ()
    return f"; did you mean '{near[0]}'?" if near else ""
