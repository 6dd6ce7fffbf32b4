"""The outside world of a simulated daemon: its loop, its disk and the network, but nothing of this machine.

The runtime and its services are the real ones (`daemon/runtime`, `daemon/services`); they get this instead of sockets,
threads and processes.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from daemon.config import Config
from daemon.control.settings import ShardSettings
from daemon.observe.metrics import Metrics
from daemon.runtime.guard import Guard
from daemon.runtime.outside import Outside
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
from tests.simulator.disk import SimStore, SimStoreThread
from tests.simulator.network import CONTROL
from tests.simulator.ticks import SimTickThread, SimTickTransport
from tests.simulator.virtual_loop import VirtualLoop
from tests.simulator.world import UNIX_EPOCH_NS

if TYPE_CHECKING:
    from tests.simulator.host import Host


class SimControlTransport:
    """The control plane's sockets."""

    came = (0, 0)
    sender_address = ""

    def __init__(self, host: Host, loop: VirtualLoop, deliver: Deliver) -> None:
        self._host, self._loop, self._deliver = host, loop, deliver

    def send(self, address: str, public_key: bytes | None, frames: Sequence[Any]) -> bool:
        self._host.around.network.send(CONTROL, self._host.name, name_at(address), frames)
        return True

    def arrive(self, frames: list[bytes]) -> None:
        """Receives a message."""
        self._loop.call(self._deliver, "", frames)

    def check(self) -> None:
        """Does nothing: there are no keys."""

    def close(self, linger_ns: int = 0) -> None:
        """Does nothing: nothing is open."""


class SimGuard:
    """The watchdog of programs: those of the simulator all return."""

    left = None
    ticks = None

    def begin(self, disk: int, life: int, held_ns_max: int, manager: str = "") -> None:
        """Does nothing: nothing is watched."""

    @contextmanager
    def borrowed(self) -> Iterator[None]:
        yield None

    def close(self) -> None:
        """Does nothing: nothing is open."""

    def blame(self) -> None:
        """Does nothing: a failure ends the scenario, which reports it."""

    def start_again(self) -> None:
        raise AssertionError("a program of the simulator does not return")


class SimClock:
    """A machine's clocks, which may be set wrong."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def monotonic_ns(self) -> int:
        return self._host.world.now

    def unix_ns(self) -> int:
        return UNIX_EPOCH_NS + self._host.world.now + self._host.clock_error_ns


class SimMetrics:
    """Metrics, for scenarios to read."""

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts

    def count(self, name: str, labels: tuple[str, ...] = (), amount: float = 1) -> None:
        if name in ("dropped", "phase_late"):
            name = f"{name} {labels[0]}"
        self._counts[name] += int(amount)

    def message(self, direction: str, kind: str, peer: str, size: int) -> None:
        self._counts["messages"] += 1
        self._counts["bytes"] += size

    def dropped(self, reason: str, amount: float = 1) -> None:
        self._counts[f"dropped {reason}"] += int(amount)

    def event(self, name: str, amount: float = 1) -> None:
        self._counts[name] += int(amount)

    def forget_run(self, name: str) -> None:
        """Does nothing: there are no series."""


class Workers(Executor):
    """The loop does its work (`VirtualLoop.run_in_executor`); direct submissions only free memory."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        return Future()


class SimOutside(Outside):
    """The outside of one life."""

    def __init__(self, host: Host, loop: VirtualLoop) -> None:
        self._host, self._loop = host, loop
        self.clock = SimClock(host)

    def metrics(self) -> Metrics:
        return cast(Metrics, SimMetrics(self._host.diary.counted))

    def shard_settings(self, config: Config) -> ShardSettings:
        return replace(self._host.around.settings, version=self._host.version)

    def load_limits(self, config: Config) -> LoadLimits:
        return self._host.around.load_limits

    def chance(self) -> random.Random:
        return self._host.world.random(f"shard {self._host.name}/{self._host.generation}")

    def guard(self, folder: Path) -> Guard:
        return cast(Guard, SimGuard())

    writes_on_loop = False

    def store(self, folder: DataFolder) -> Store:
        return SimStore(folder, self._host.disk)

    def store_thread(self, folder: DataFolder, failed: Callable[[BaseException], None]) -> StoreThread:
        return SimStoreThread(folder, self._host.disk, self._loop, failed)

    def log_thread(self, folder: DataFolder, failed: Callable[[BaseException], None]) -> StoreThread:
        return SimStoreThread(folder, self._host.disk, self._loop, failed)

    def workers(self) -> Executor:
        return Workers()

    def aside(self, work: Callable[[], None]) -> None:
        life = self._loop.life
        life.after(life.hand_over_ns(), work)

    def control_transport(
        self, address: str, deliver: Deliver, curve: Curve | None, count: Count, limits: TransportLimits
    ) -> ControlTransport:
        self.control = SimControlTransport(self._host, self._loop, deliver)
        return cast(ControlTransport, self.control)

    def tick_transport(self, address: str, curve: Curve | None, count: Count, limits: TransportLimits) -> TickTransport:
        return cast(TickTransport, SimTickTransport(self._host))

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
        sockets = cast(SimTickTransport, transport)
        self.ticks = SimTickThread(self._host, self._loop, me, sockets, codec, runner, hand_over, store, died)
        return self.ticks


def address(name: str, plane: str) -> str:
    """Returns the address of a host's plane."""
    return f"tcp://{name}:{7101 if plane == CONTROL else 7102}"


def name_at(address: str) -> str:
    """Returns the host with that address."""
    return address.removeprefix("tcp://").partition(":")[0]
