"""Agents: the class that authors extend, and the record that represents an agent in mail and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import TYPE_CHECKING, Any, ClassVar, Final

import msgpack

from shoal.colony.constants import constant
from shoal.colony.places import Place
from shoal.program.kept_values import first_unkept

if TYPE_CHECKING:
    from shoal.colony.agent_context import AgentContext

PLAIN: Final = "an agent remembers int (of 64 bits), float, str, bytes, bool, None, and lists and dicts of those"
_OWN: Final = ("id", "place", "age", "idle")


class Agent:
    """Base class of agents: override `sense`, `act` and `decay`, all of which are optional.

    An agent's memory is its attributes: numbers, strings, bytes, booleans, None, and lists and dicts of those. Class
    attributes are initial values; each agent gets a copy of a list or dict, unless it is a constant (`ClassVar`, or a
    name in capitals). A colony declares its classes of agents in `agents`.

    Shoal maintains `age` and `idle`: ticks since birth, and ticks in a row in which `act` did nothing but move. An
    agent that is idle for more than `idle_max` ticks dies (apoptosis). Raises `TypeError` for a class with `__slots__`.
    """

    kind: ClassVar[str]
    """The name of the kind in tables; by default the name of the class in lower case."""
    idle_max: ClassVar[int | None] = None

    id: int
    place: Place
    age: int
    idle: int

    _first: ClassVar[tuple[tuple[str, Any], ...]] = ()
    """The lists and dicts among the class's attributes that are initial values."""

    def __init_subclass__(cls) -> None:
        if vars(cls).get("__slots__"):
            raise TypeError(f"{cls.__name__}: an agent with __slots__ would forget them; leave __slots__ out")
        if "kind" not in vars(cls):
            cls.kind = cls.__name__.lower()
        first: dict[str, Any] = {}
        for name, owner in _owners(cls).items():
            if _is_shared(owner, name):
                setattr(cls, name, constant(vars(owner)[name]))
            elif _is_first(owner, name):
                first[name] = vars(owner)[name]
        cls._first = tuple(first.items())

    def __init__(self, identity: int, place: Place, age: int = 0, idle: int = 0) -> None:
        self.id, self.place, self.age, self.idle = identity, place, age, idle
        for name, value in self._first:
            setattr(self, name, deepcopy(value))

    def __repr__(self) -> str:
        return f"<{self.kind} {self.id} at {self.place}>"

    def sense(self, here: AgentContext) -> None:
        """Observes and decides; changes nothing that others see."""

    def act(self, here: AgentContext) -> None:
        """Acts, with all methods of `here`."""

    def decay(self, here: AgentContext) -> None:
        """Processes what the tick brought, and ages."""

    @property
    def memory(self) -> dict[str, Any]:
        """The attributes that the agent remembers."""
        return {name: value for name, value in vars(self).items() if name not in _OWN}


def _owners(kind: type[Agent]) -> dict[str, type]:
    """Returns the attributes of a class of agents by name, each with the base class that defines it."""
    owners = {}
    for owner in reversed(kind.__mro__):
        if owner not in (Agent, object):
            owners.update(dict.fromkeys(vars(owner), owner))
    return owners


def _is_first(kind: type, name: str) -> bool:
    """Returns whether a list or dict of a class is an initial value; a shared one would be in no record."""
    return type(vars(kind)[name]) in (list, dict) and not _is_named_constant(kind, name)


def _is_shared(kind: type, name: str) -> bool:
    """Returns whether a value must be shared, because no agent could save it."""
    value = vars(kind)[name]
    if type(value) not in (list, dict, set) or _is_named_constant(kind, name):
        return False
    return first_unkept([{name: value}], PLAIN, tuples=False, shared=True) is not None


def _is_named_constant(kind: type, name: str) -> bool:
    if name.startswith("__") or name.isupper():
        return True
    return "ClassVar" in str(vars(kind).get("__annotations__", {}).get(name, ""))


def to_record(agent: Agent, *, shared: bool = False) -> bytes:
    """Returns an agent as bytes, the same for the same agent. Raises `TypeError` for memory that cannot be saved.

    Nothing is converted (a tuple would return as a list), so travelling does not change an agent. No list or dict may
    be referenced elsewhere, unless it may be `shared`: what an agent gets at its birth is copied here.
    """
    unkept = first_unkept([vars(agent)], PLAIN, skip="place", tuples=False, shared=shared)
    if unkept is not None:
        raise TypeError(f"{agent}: its attributes{unkept.path} {unkept.why}")
    try:
        fields = [agent.kind, agent.id, agent.place.name, agent.age, agent.idle, agent.memory]
        record: bytes = msgpack.packb(fields, strict_types=True)
    except (TypeError, ValueError, OverflowError) as error:
        raise TypeError(f"{agent}: {PLAIN}: {error}") from error
    return record


def from_record(record: bytes, kinds: Mapping[str, type[Agent]]) -> Agent:
    """Returns the agent of a record. Raises `ValueError` for an invalid record."""
    try:
        kind, identity, place, age, idle, memory = msgpack.unpackb(record, strict_map_key=False)
        found = kinds[kind]
        numbers = all(type(number) is int for number in (identity, age, idle))
        if not numbers or type(place) is not bytes or type(memory) is not dict:
            raise ValueError("its fields are not of their types")
        if any(type(name) is not str or name in _OWN for name in memory):
            raise ValueError("its memory has names that it can't have")
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise ValueError(f"an agent's record makes no sense: {error!r}") from error
    agent = found(identity, Place(place), age, idle)
    for name, value in memory.items():
        setattr(agent, name, value)
    return agent
