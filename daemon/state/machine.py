"""The contract between the log and a replicated state machine.

Every shard applies the same commands in the same order to the same machines, and so holds the same state. A machine
never reads a clock, a socket or a random source: it only knows its own state, the command and `Applied`.

    apply      one command; raises `CommandRejected` for one that makes no sense (any more)
    save       what `put_back` needs to undo the next command: dispatch rolls back one that breaks half-way
    freeze     captures the whole state, in pieces that are small whatever the state's size; they are encoded as they
               are requested, perhaps on another thread while later commands are applied. A machine that has decided
               nothing yet returns none: an older version need not know it
    thaw       decodes such pieces, a leader's or the own disk's, for `restore`; changes nothing
    restore    adopts the decoded state, and returns what is new in it

A machine may read another's state (`programs` reads the runs), but never change it: machines apply only their own
commands. A new machine is a file of its own, and a line in `dispatch`.

**Fencing.** `Applied.index` rises with every command. A machine that grants a lock returns the index of the granting
command as the token: a resource that checks tokens can refuse all but the greatest (Kleppmann, "How to do distributed
locking", 2016). The command's proposer receives it in the answer, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from shoal.api.struct import Count, Struct

if TYPE_CHECKING:
    from daemon.state.announcements import Announcement


class Command(Struct):
    """The base of every machine's commands."""


class CommandRejected(Exception):
    """A command does not make sense (any more) when its turn comes; the text is for its proposer."""


@dataclass(frozen=True, slots=True)
class Request:
    """Identifies a proposal: a session, which is a shard in one of its lives, and a number in it."""

    shard: str
    generation: Count
    sequence: Count


@dataclass(frozen=True, slots=True)
class Applied:
    """The context of a command: its index in the log, the leader's Unix time, and its proposal.

    The time is the same on every shard and never goes back from one command to the next.
    """

    index: int
    time_ns: int
    request: Request


class Outcome(NamedTuple):
    """The outcome of a command that took effect: a result for its proposer, and announcements."""

    result: str
    events: Sequence[Announcement] = ()


class Handler(NamedTuple):
    """How a machine applies one kind of command, and that command's tag in entries."""

    tag: int
    kind: type[Command]
    apply: Callable[[Any, Any, Applied], Outcome]


S = TypeVar("S")
C = TypeVar("C", bound=Command)


def handler(tag: int, kind: type[C], apply: Callable[[S, C, Applied], Outcome]) -> Handler:
    """Builds a line of a machine's table, with matching types."""
    return Handler(tag, kind, apply)


def table(handlers: Sequence[Handler]) -> dict[int, type[Command]]:
    """Returns the commands by tag; asserts that the tags differ."""
    commands = {handler.tag: handler.kind for handler in handlers}
    assert len(commands) == len(set(commands.values())) == len(handlers), handlers
    return commands


class Machine(Protocol):
    """A replicated state machine."""

    @property
    def name(self) -> str:
        """Its name in log entries and snapshots."""

    @property
    def commands(self) -> Mapping[int, type[Command]]:
        """Its commands by tag; tags never change."""

    def apply(self, command: Command, at: Applied) -> Outcome:
        """Applies one of its commands. Raises `CommandRejected`."""

    def save(self) -> Any:
        """Returns what `put_back` needs to undo the next command."""

    def put_back(self, saved: Any) -> None:
        """Undoes what was applied since `save`."""

    def freeze(self) -> Iterator[bytes]:
        """Captures the whole state: the same pieces on every shard that has applied the same entries."""

    def thaw(self, pieces: Iterable[bytes]) -> Any:
        """Decodes a frozen state for `restore`. Raises `Rejected`."""

    def restore(self, thawed: Any) -> Sequence[Announcement]:
        """Adopts a decoded state; returns what is new in it."""
