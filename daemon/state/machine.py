"""What a replicated state machine is: the contract between the log and whatever it decides.

Every shard applies the same commands in the same order to the same machines, and so holds the same state. A machine
never reads a clock, a socket or a random source: beside its own state it knows the command and `Applied`.

    apply      one command; raises `CommandRejected` for one that makes no sense (any more)
    save       what `put_back` needs to undo the next command: dispatch takes back what breaks half-way
    freeze     the whole state in pieces, each of which is small whatever the state's size: what there is at the call,
               encoded as the pieces are asked for, perhaps on another thread while commands go on being applied.
               A machine in which nothing was decided yet has none: an older version need not know it
    thaw       reads such pieces, a leader's or our own disk's, and gives what `restore` needs; nothing has changed yet
    restore    takes over what was read, and gives what is new in it

A machine may read another's state (`programs` reads which runs there are), never change it: machines apply their own
commands only. Adding one is a file of its own, and a line in `dispatch`.

**Fencing.** `Applied.index` rises with every command. A machine that hands out a lock gives the index of the command
that took it as the token: whoever checks tokens may refuse all but the greatest (Kleppmann, "How to do distributed
locking", 2016). It is in the answer to whoever proposed the command, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from shoal.api.struct import Count, Struct

if TYPE_CHECKING:
    from daemon.state.announcements import Announcement


class Command(Struct):
    """The base of every command of the log, of whichever machine."""


class CommandRejected(Exception):
    """A command no longer makes sense when its turn comes; the text is for its proposer."""


@dataclass(frozen=True, slots=True)
class Request:
    """Identifies a proposal: a session, which is a shard in one of its lives, and a number in it."""

    shard: str
    generation: Count
    sequence: Count


@dataclass(frozen=True, slots=True)
class Applied:
    """Where and when a command is applied: its index in the log, the leader's Unix time, and who asked for it.

    The time is the same on every shard and never goes back from one command to the next.
    """

    index: int
    time_ns: int
    request: Request


class Outcome(NamedTuple):
    """Of a command that took effect: a word for its proposer, and what follows."""

    result: str
    events: Sequence[Announcement] = ()


class Handler(NamedTuple):
    """How a machine applies one kind of command, and the tag by which entries name it."""

    tag: int
    kind: type[Command]
    apply: Callable[[Any, Any, Applied], Outcome]


S = TypeVar("S")
C = TypeVar("C", bound=Command)


def handler(tag: int, kind: type[C], apply: Callable[[S, C, Applied], Outcome]) -> Handler:
    """A line of a machine's table, with what has to fit together."""
    return Handler(tag, kind, apply)


def table(handlers: Sequence[Handler]) -> dict[int, type[Command]]:
    """The commands by their tags, which are to be different."""
    commands = {handler.tag: handler.kind for handler in handlers}
    assert len(commands) == len(set(commands.values())) == len(handlers), handlers
    return commands


class Machine(Protocol):
    """A replicated state machine."""

    @property
    def name(self) -> str:
        """As entries of the log and snapshots name it."""

    @property
    def commands(self) -> Mapping[int, type[Command]]:
        """Its commands by their tags, which never change."""

    def apply(self, command: Command, at: Applied) -> Outcome:
        """Apply one of its commands. Raises `CommandRejected`."""

    def save(self) -> Any:
        """What `put_back` needs to undo what is applied next."""

    def put_back(self, saved: Any) -> None:
        """Undo what was applied since."""

    def freeze(self) -> Iterator[bytes]:
        """The whole state: the same pieces on every shard that has applied as much of the log."""

    def thaw(self, pieces: Iterable[bytes]) -> Any:
        """A frozen state, for `restore`. Raises `Rejected`."""

    def restore(self, thawed: Any) -> Sequence[Announcement]:
        """Take it over; what is new in it."""
