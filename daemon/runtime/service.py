"""A feature as its host sees it: a service with its messages and events, and the tables from each type to its service.

A **message** is a question of another shard; the one service that declares its type answers it. A **reply** is the
answer to a service's own question, and goes to `Rpc`. An **event** happens on this machine: an announcement of the
control plane, a hand-over of the tick plane, or a change in the host. An **order** is an event that one service has to
carry out; other events may have several listeners, which receive them in the order in which the composition root lists
the services.

The tables are made once. A type that two services claim, or none, is a mistake in the composition, which raises
`BadComposition` before the daemon begins.
"""

from __future__ import annotations

import types
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeAlias, TypeVar, Union, get_args, get_origin

from daemon.control.effects import (
    Announcement,
    BeginRun,
    DeleteParts,
    GrantTicks,
    HealBarrier,
    MendHoldings,
    ReadSnapshot,
    StopRunHere,
    TakeSnapshot,
    TellStates,
)
from daemon.membership.effects import Superseded
from daemon.runtime.tick_runner import HandedOver
from daemon.state.commands import Identity

M = TypeVar("M", contravariant=True)
E = TypeVar("E", contravariant=True)


class BadComposition(Exception):
    """The services of a host don't fit together."""


@dataclass(frozen=True, slots=True)
class Beat:
    """Comes ten times a second: periodic checks run together, so that idling stays cheap."""

    number: int


@dataclass(frozen=True, slots=True)
class KeysChanged:
    """The allowed keys have changed."""


Order: TypeAlias = (
    TakeSnapshot
    | ReadSnapshot
    | BeginRun
    | TellStates
    | MendHoldings
    | DeleteParts
    | GrantTicks
    | StopRunHere
    | HealBarrier
)
Event: TypeAlias = Order | Announcement | HandedOver | Beat | KeysChanged


class Service(Generic[M, E]):
    """One feature of a host. It receives a `HostContext`, and the lower services that it builds upon."""

    messages: tuple[type, ...] = ()
    """The questions of other shards that it answers."""
    replies: tuple[type, ...] = ()
    """The answers of other shards to its own questions."""
    events: tuple[type, ...] = ()

    async def on_message(self, sender: Identity, message: M) -> object | None:
        """Returns the answer, which goes back to the sender, or None for a question without one.

        It runs beside the loop's turns. An exception fails this question alone, not the daemon.
        """
        raise AssertionError(f"{type(self).__name__} does not handle {type(message).__name__}")

    def on_event(self, event: E) -> None:
        """Takes an event, in a turn of the loop."""
        raise AssertionError(f"{type(self).__name__} does not subscribe to {type(event).__name__}")

    def start(self) -> None:
        """Begins everything that does not wait for an event."""

    def stop(self) -> None:
        """Ends everything in progress, as the daemon ends."""


def types_of(union: Any) -> tuple[type, ...]:
    """Returns the classes of a (nested) union, so that a service declares its types once, as mypy reads them.

    >>> types_of(int | str), types_of(int)
    ((<class 'int'>, <class 'str'>), (<class 'int'>,))
    """
    if get_origin(union) in (Union, types.UnionType):
        return tuple(kind for part in get_args(union) for kind in types_of(part))
    return (union,)


ORDERS: Final = types_of(Order)
EVENTS: Final = tuple(kind for kind in types_of(Event) if kind is not Superseded)
"""All events for services; a `Superseded` is for the host itself, which begins another life."""


class ServiceTables:
    """Maps each type to its service."""

    def __init__(self, services: Sequence[Service[Any, Any]], messages: Collection[type]) -> None:
        """`messages` are the types that the control plane leaves to services. Raises `BadComposition`."""
        self.services = services
        self.replies = frozenset(kind for service in services for kind in service.replies)
        self._answering = {kind: service for service in services for kind in service.messages}
        self._listeners: dict[type, list[Service[Any, Any]]] = {kind: [] for kind in EVENTS}
        for service in services:
            for kind in service.events:
                if kind not in self._listeners:
                    raise BadComposition(
                        f"{type(service).__name__} subscribes to {kind.__name__}, which is not an event"
                    )
                self._listeners[kind].append(service)
        self._check_messages(messages)
        self._check_events()

    def _check_messages(self, messages: Collection[type]) -> None:
        claims = Counter(kind for service in self.services for kind in (*service.messages, *service.replies))
        if twice := [kind for kind, times in claims.items() if times > 1]:
            raise BadComposition(f"more than one service handles {_names(twice)}")
        if unclaimed := set(messages) - claims.keys():
            raise BadComposition(f"no service handles {_names(unclaimed)}")
        if unknown := claims.keys() - set(messages):
            raise BadComposition(f"the vocabulary does not contain {_names(unknown)}")

    def _check_events(self) -> None:
        if unheard := [kind for kind, listeners in self._listeners.items() if not listeners]:
            raise BadComposition(f"no service subscribes to {_names(unheard)}")
        if twice := [kind for kind in ORDERS if len(self._listeners[kind]) > 1]:
            raise BadComposition(f"more than one service executes {_names(twice)}")

    def answering(self, message: object) -> Service[Any, Any] | None:
        """Returns the service that answers a message, or None if it is not a question for services."""
        return self._answering.get(type(message))

    def tell(self, event: Event) -> None:
        """Passes an event to all its listeners."""
        for service in self._listeners[type(event)]:
            service.on_event(event)


def _names(kinds: Iterable[type]) -> str:
    return ", ".join(sorted(kind.__name__ for kind in kinds))
