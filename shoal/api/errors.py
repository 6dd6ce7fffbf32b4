"""Errors that a user can correct; each message states what is wrong, where, and what to do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from numbers import Integral
from typing import ClassVar, Final, Literal, TypeAlias

Kind: TypeAlias = Literal["refused", "failed", "usage"]

NODE_CHARACTERS_MAX = 200
WORD_CHARACTERS_MAX = 80


class ShoalError(Exception):
    """Base class of all errors. A session in this process and one with a cluster raise the same classes.

    `kind` is its name in the admin protocol, and `exit_code` the exit status of shoalctl.
    """

    kind: ClassVar[Kind] = "refused"
    exit_code: ClassVar[int] = 1


class Refused(ShoalError):
    """The request is not possible in this state, or not allowed; nothing was changed."""


class Failed(ShoalError):
    """The operation was attempted and failed."""

    kind = "failed"


class Usage(ShoalError):
    """The request itself is invalid."""

    kind = "usage"
    exit_code = 2


class BadParameter(Refused):
    """The program does not have the parameter, or does not accept its value."""


class BadProgram(Refused):
    """The file cannot be deployed as a program."""

    @classmethod
    def installed(cls, name: str) -> BadProgram:
        """Returns the error for a name that belongs to an installed program."""
        return cls(f"a program called '{name}' is already installed here: choose another name")


class UnknownName(Refused):
    """Nothing of that name exists."""


class UnknownProgram(UnknownName):
    """No program of that name is installed or deployed, or not the version that a run uses."""


class UnknownGraph(UnknownName):
    """No graph of that name is loaded, or another load of it."""

    @classmethod
    def named(cls, name: str, known: Iterable[str]) -> UnknownGraph:
        """Returns the error for an unknown name."""
        loaded = sorted(known)
        return cls(
            f"no graph is called '{name}'{did_you_mean(name, loaded)}; loaded: {', '.join(loaded) or 'none yet'}"
        )

    @classmethod
    def replaced(cls, name: str) -> UnknownGraph:
        """Returns the error for a dropped load whose name now belongs to another graph."""
        return cls(
            f"graph '{name}' was dropped, and another one was loaded under its name: check the new graph and try again"
        )


class UnknownRun(UnknownName):
    """No run of that name exists."""

    @classmethod
    def named(cls, name: str, known: Iterable[str]) -> UnknownRun:
        """Returns the error for an unknown name."""
        return cls(f"there is no run '{name}'{did_you_mean(name, known)}; `run list` shows them")


class UnknownColumn(Refused):
    """The run, graph or program has no column, table or declaration of that name."""

    @classmethod
    def of_graph(cls, kind: str, name: str, known: Iterable[str]) -> UnknownColumn:
        """Returns the error for a column that the graph's nodes or edges lack; `kind` is "node" or "edge"."""
        columns = list(known)
        there = ", ".join(columns) or "none"
        return cls(f"the graph's {kind}s have no column '{name}'{did_you_mean(name, columns)}; they have: {there}")


class TickNotKept(Refused):
    """The run cannot be read at that tick, because its state was not kept."""


class NameTaken(Refused):
    """A graph of that name is already loaded."""

    @classmethod
    def by_graph(cls, name: str) -> NameTaken:
        """Returns the error for a name that belongs to a graph."""
        return cls(f"a graph called '{name}' is already loaded: drop it, or choose another name")


class RunFailed(Failed):
    """The run ended without a result."""


class ProgramFailed(Failed):
    """The program's own code failed while a table of a run was read."""


class TimedOut(Failed, TimeoutError):
    """The run was still in progress when the timeout expired."""

    @classmethod
    def at(cls, run: str, where: str, seconds: float) -> TimedOut:
        """Returns the error for a run that did not end within the timeout."""
        return cls(f"timed out after {seconds:g} s: run '{run}' {where}")


class SessionClosed(Refused):
    """The session was closed."""

    def __init__(self, message: str = "the session is closed: open another") -> None:
        super().__init__(message)


class Unreachable(ShoalError):
    """No daemon answers, or the connection broke before the answer had arrived."""

    kind = "failed"


class HungUp(Unreachable):
    """The daemon closed the connection before it answered; the request may or may not have taken effect."""


BY_NAME: Final[Mapping[str, type[ShoalError]]] = {
    kind.__name__: kind
    for kind in (
        BadParameter,
        BadProgram,
        UnknownProgram,
        UnknownGraph,
        UnknownRun,
        UnknownColumn,
        TickNotKept,
        NameTaken,
        RunFailed,
        ProgramFailed,
        TimedOut,
    )
}
"""The classes that a daemon names in an answer, in addition to their kinds."""
BY_KIND: Final[Mapping[str, type[ShoalError]]] = {kind.kind: kind for kind in (Refused, Failed, Usage)}


def class_name(error: ShoalError) -> str:
    """Returns the class name of an error for an answer; empty if its kind is sufficient.

    >>> class_name(UnknownRun("there is no run 'r'")), class_name(Refused("not now"))
    ('UnknownRun', '')
    """
    return next((kind.__name__ for kind in type(error).__mro__ if BY_NAME.get(kind.__name__) is kind), "")


def from_answer(kind: str, name: str, message: str) -> ShoalError:
    """Returns the error that an answer describes, even if its class is known only to a later version."""
    return BY_NAME.get(name, BY_KIND.get(kind, Failed))(message)


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
        if isinstance(node, str | Integral):  # an id; showing any other object might run the program's code
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
