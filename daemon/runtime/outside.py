"""A daemon's connections to the outside world: threads, sockets, a watchdog and randomness.

The host and its services create everything here that is not their own state, and services read its clock. All else is
messages and one asyncio loop. So the simulator (`tests/simulator`) hosts the very same code with a substitute for this
class, on a loop whose time is virtual.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path

from daemon.config import Config
from daemon.control.settings import ShardSettings
from daemon.runtime.clock import Clock, SystemClock
from daemon.runtime.guard import Guard
from daemon.runtime.settings import load_limits, shard_settings
from daemon.runtime.store_thread import StoreThread
from daemon.runtime.tick_runner import HandedOver, TickRunner
from daemon.runtime.tick_thread import TickThread
from daemon.state.commands import Identity
from daemon.store import DataFolder, Store
from daemon.transfer.chunks import LoadLimits
from daemon.transport.control import ControlTransport, Deliver
from daemon.transport.security import Count, Curve
from daemon.transport.sockets import TransportLimits
from daemon.transport.ticks import TickTransport
from daemon.wire import Codec
from shoal.lockstep.effects import StoreStates


class Outside:
    """The outside world of a real daemon."""

    clock: Clock = SystemClock()

    def new_id(self) -> str:
        """Returns a unique id."""
        return uuid.uuid4().hex

    def shard_settings(self, config: Config) -> ShardSettings:
        """Returns the parameters of the control plane's machines."""
        return shard_settings(config)

    def load_limits(self, config: Config) -> LoadLimits:
        """Returns the limits of bulk transfer."""
        return load_limits(config)

    def chance(self) -> random.Random:
        """Returns the control plane's source of randomness."""
        return random.Random(uuid.uuid4().int)  # noqa: S311

    def guard(self, folder: Path) -> Guard:
        """Returns the watchdog for programs."""
        return Guard(folder)

    writes_on_loop = True
    """Whether the control loop may wait for the disk itself; not with virtual time."""

    def store(self, folder: DataFolder) -> Store:
        """Opens the control loop's own connection."""
        return Store(folder)

    def log_thread(self, folder: DataFolder, failed: Callable[[BaseException], None]) -> StoreThread:
        """Returns the thread that writes what consensus persists."""
        return StoreThread(folder, failed, "shoal-log")

    def store_thread(self, folder: DataFolder, failed: Callable[[BaseException], None]) -> StoreThread:
        """Returns the thread that writes everything else."""
        return StoreThread(folder, failed)

    def workers(self) -> Executor:
        """Returns the threads on which parts are built."""
        return ThreadPoolExecutor(2, "shoal-worker")

    def aside(self, work: Callable[[], None]) -> None:
        """Calls foreign code on a thread of its own."""
        threading.Thread(target=work, name="shoal-program", daemon=True).start()

    def control_transport(
        self, address: str, deliver: Deliver, curve: Curve | None, count: Count, limits: TransportLimits
    ) -> ControlTransport:
        """Returns the control plane's sockets."""
        return ControlTransport(address, deliver, curve=curve, count=count, limits=limits)

    def tick_transport(self, address: str, curve: Curve | None, count: Count, limits: TransportLimits) -> TickTransport:
        """Returns the tick plane's sockets."""
        return TickTransport(address, curve=curve, count=count, limits=limits)

    def tick_thread(
        self,
        me: Identity,
        transport: TickTransport,
        codec: Codec,
        runner: TickRunner,
        hand_over: Callable[[HandedOver], None],
        store: Callable[[StoreStates], None],
        died: Callable[[BaseException], None],
    ) -> TickThread:
        """Returns the tick plane's thread."""
        return TickThread(me, transport, codec, runner, hand_over, store, died)
