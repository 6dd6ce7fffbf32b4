"""The host's interface for its services, and all that they receive from it.

No service sees the control loop, its sockets or its threads, or reads a clock of its own. So the daemon and the
simulator, which has virtual time, host the very same services.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from consensus import Raft
from daemon.config import Config
from daemon.control.effects import Answered
from daemon.control.pacing import Pacing
from daemon.control.progress import ProgressGossip
from daemon.control.trust import Trust
from daemon.membership.machine import Membership
from daemon.runtime.clock import Clock
from daemon.runtime.conditions import Conditions
from daemon.runtime.orders import ControlOrders
from daemon.runtime.rpc import Rpc
from daemon.runtime.ticks import Ticks
from daemon.state import Registry
from daemon.state.commands import Identity
from daemon.state.machine import Command
from daemon.state.programs import DeployedPrograms
from daemon.store import StateRecord, Store, StoreFailed
from daemon.transfer.chunks import LoadLimits
from shoal.api.commands.cluster import OtherCluster

T = TypeVar("T")


class ClusterState(Protocol):
    """This shard's knowledge of the cluster, read-only: its control plane, without the doors that change it."""

    @property
    def identity(self) -> Identity: ...
    @property
    def registry(self) -> Registry: ...
    @property
    def programs(self) -> DeployedPrograms: ...
    @property
    def membership(self) -> Membership: ...
    @property
    def progress(self) -> ProgressGossip: ...
    @property
    def pacing(self) -> Pacing: ...
    @property
    def trust(self) -> Trust: ...
    @property
    def raft(self) -> Raft | None: ...
    @property
    def leader(self) -> str | None: ...
    @property
    def in_view(self) -> bool: ...
    @property
    def founding(self) -> str: ...
    @property
    def has_seat(self) -> bool: ...
    @property
    def applied_index(self) -> int: ...
    @property
    def awaited_founders(self) -> tuple[str, ...]: ...
    @property
    def promised_founders(self) -> tuple[str, ...]: ...
    @property
    def waits_to_be_let_in(self) -> bool: ...
    @property
    def kept_out(self) -> str: ...
    @property
    def held_back(self) -> Mapping[str, tuple[int, int]]: ...
    def missing_members(self) -> list[str]: ...


class Disk(Protocol):
    """The store's thread, which runs one job after the other."""

    async def do(self, job: Callable[[Store], T]) -> T:
        """Runs a job and returns its result. Raises `NotHeld`, `NoRoom` or `StoreFailed`."""

    async def delete(self, job: Callable[[Store], None]) -> None:
        """Deletes something. If the disk is too full even for that, it is retried until it succeeds."""

    def order(self, job: Callable[[Store], None]) -> None:
        """Deletes something without waiting for the first attempt."""

    def submit(self, job: Callable[[Store], T], done: Callable[[T], None]) -> None:
        """Runs a job, from any thread; calls `done` on the store's thread."""

    def submit_states(self, record: StateRecord, done: Callable[[], None], lost: Callable[[StoreFailed], None]) -> None:
        """Writes states, from any thread; calls `done` once they are durable, or `lost` if they never will be."""


class Network(Protocol):
    """The control plane's peers."""

    def key_of(self, public_key: bytes) -> bytes | None:
        """Returns a key that gossip has announced, if it is allowed."""

    def enter_view(self, epoch: int, members: frozenset[str]) -> None:
        """Sends for an epoch from now on; members of the view may take more of this shard's time than others."""

    def raise_version(self, version: int) -> None:
        """Allows messages in formats that are new in this cluster version."""

    def strangers(self) -> list[OtherCluster]:
        """Returns the members of other clusters that have sent messages lately."""


class Counts(Protocol):
    """The services' counters."""

    def count(self, name: str, labels: tuple[str, ...] = (), amount: float = 1) -> None: ...
    def event(self, name: str, amount: float = 1) -> None: ...
    def forget_run(self, name: str) -> None: ...


@dataclass(frozen=True, slots=True)
class HostContext:
    """What one host gives to its services."""

    config: Config
    load_limits: LoadLimits
    clock: Clock
    new_id: Callable[[], str]
    """Returns a unique id."""
    send: Callable[[str, object], None]
    """Sends a message to a member; it may be lost."""
    rpc: Rpc
    decide: Callable[[Command], Awaitable[Answered]]
    """Gets a command through consensus; the answer's `error` says why that failed."""
    read_index: Callable[[], Awaitable[bool]]
    """Brings `state` up to date with all that is decided anywhere by now; False without a majority."""
    orders: ControlOrders
    state: ClusterState
    conditions: Conditions
    """Checked after each turn of the control plane, and after each event."""
    disk: Disk
    ticks: Ticks
    network: Network
    metrics: Counts
    workers: Executor
    """For work that takes much processor time."""
    spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
    """Runs a task beside the loop's turns; an exception in it ends the daemon."""
    soon: Callable[..., None]
    """Calls a function on the loop, from any thread."""
    aside: Callable[[Callable[[], None]], None]
    """Calls foreign code on a thread of its own."""

    @property
    def me(self) -> str:
        """This shard's name."""
        return self.state.identity.name
