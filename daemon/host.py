"""All that one life of a daemon runs on: threads, sockets and the control loop, with the services on top.

This is the composition root. It alone knows both the runtime and the services; whatever it makes, it closes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from daemon.composition import Services
from daemon.config import Config
from daemon.config.keys import AllowedKeys, KeyPair
from daemon.control.plane import ControlPlane
from daemon.membership.messages import Member
from daemon.observe.metrics import Metrics
from daemon.observe.notify import Notifier
from daemon.runtime.conditions import Conditions
from daemon.runtime.context import HostContext
from daemon.runtime.descriptors import Shares
from daemon.runtime.disk import Disk
from daemon.runtime.durable import Durable
from daemon.runtime.former_lives import FormerLives
from daemon.runtime.loop import ControlLoop, UnreadableLog
from daemon.runtime.messenger import Messenger
from daemon.runtime.orders import ControlOrders
from daemon.runtime.outside import Outside
from daemon.runtime.questions import Questions
from daemon.runtime.rpc import Rpc
from daemon.runtime.service import KeysChanged
from daemon.runtime.settings import transport_limits, wire_limits
from daemon.runtime.tasks import Tasks
from daemon.runtime.tick_runner import TickRunner
from daemon.runtime.tick_thread import TickThread
from daemon.state.commands import Identity
from daemon.store import DataFolder, StoreFailed
from daemon.transport.security import Curve
from daemon.transport.sockets import TransportLimits
from daemon.vocabulary import CONTROL_TYPES, HOST_MESSAGES, TICK_TYPES
from daemon.wire import Codec

log = logging.getLogger("shoal.runtime")


class Host:
    """One daemon. `fatal` is called, on the loop, with an error that must end the process."""

    def __init__(
        self,
        config: Config,
        folder: DataFolder,
        keys: KeyPair | None,
        allowed: AllowedKeys | None,
        metrics: Metrics,
        shares: Shares,
        fatal: Callable[[BaseException], None],
        outside: Outside | None = None,
    ) -> None:
        self.config, self.metrics = config, metrics
        self._outside = outside = outside or Outside()
        self._folder, self._closed = folder, False
        self.tasks = Tasks(fatal)
        self.me = Identity(config.cluster.shard, folder.generation)
        self.guard = outside.guard(folder.path)
        self.durable = Durable(folder, outside.store(folder))
        self.workers = outside.workers()
        self.store_thread = outside.store_thread(folder, partial(self.tasks.soon, self._broken))
        self._log_thread = outside.log_thread(folder, partial(self.tasks.soon, self._broken))
        curve = Curve(keys, allowed.name_of) if keys is not None and allowed is not None else None
        limits = transport_limits(config, shares)
        self.messenger = self._control_plane_sockets(curve, allowed, limits)
        self.plane = self._control_plane(keys)
        self.messenger.know(self.plane.membership, lambda: self.plane.founding)
        self.ticks = self._tick_plane(curve, limits, fatal)
        self.conditions, self.rpc = Conditions(), Rpc(self.messenger.send, outside.new_id)
        questions = Questions(self.messenger, metrics, self.tasks.spawn)
        self.loop = ControlLoop(
            self.plane,
            self.durable,
            self.messenger,
            questions,
            self.rpc,
            self.conditions,
            outside.clock,
            metrics,
            self._log_thread,
            self.tasks,
            fatal,
            writes_on_loop=outside.writes_on_loop,
        )
        former_lives = FormerLives(folder.path, folder.disk, self.guard.left)
        self.services = Services(self._context(), self.guard, former_lives)
        self.loop.host(self.services.in_tables(HOST_MESSAGES))

    def _control_plane_sockets(
        self, curve: Curve | None, allowed: AllowedKeys | None, limits: TransportLimits
    ) -> Messenger:
        config = self.config
        seeds = {seed.address: seed.name for seed in config.cluster.seeds}
        codec = Codec(config.cluster.name, CONTROL_TYPES, wire_limits(config))
        connect = partial(self._outside.control_transport, config.listen.control, curve=curve, limits=limits)
        return Messenger(
            self.me, codec, connect, allowed, seeds, self.metrics, lambda who, what: self.loop.hear(who, what)
        )

    def _control_plane(self, keys: KeyPair | None) -> ControlPlane:
        config, outside = self.config, self._outside
        member = Member(
            name=self.me.name,
            generation=self.me.generation,
            control=config.listen.advertise_control,
            ticks=config.listen.advertise_ticks,
            public_key=keys.public if keys is not None else b"",
        )
        return ControlPlane(
            member,
            [seed.address for seed in config.cluster.seeds],
            outside.shard_settings(config),
            outside.chance(),
            outside.clock.monotonic_ns(),
            self.durable.found(self.me.name),
        )

    def _tick_plane(
        self, curve: Curve | None, limits: TransportLimits, fatal: Callable[[BaseException], None]
    ) -> TickThread:
        config, outside = self.config, self._outside
        return outside.tick_thread(
            self.me,
            outside.tick_transport(config.listen.ticks, curve, self.metrics.count, limits),
            Codec(config.cluster.name, TICK_TYPES, wire_limits(config)),
            TickRunner(
                self.me.name,
                outside.load_limits(config),
                outside.clock.monotonic_ns,
                kernel_threads=config.ticks.kernel_threads,
                slot=self.guard.ticks,
            ),
            hand_over=lambda news: self.tasks.soon(self.loop.tell, news),
            store=lambda states: self.services.runs.store(states),
            died=lambda error: self.tasks.soon(fatal, error),
        )

    def _context(self) -> HostContext:
        outside = self._outside
        orders = ControlOrders(self.plane, outside.clock, self.loop.perform, self.rpc, outside.new_id)
        return HostContext(
            config=self.config,
            load_limits=outside.load_limits(self.config),
            clock=outside.clock,
            new_id=outside.new_id,
            send=self.messenger.send,
            rpc=self.rpc,
            decide=orders.decide,
            read_index=orders.read_index,
            orders=orders,
            state=self.plane,
            conditions=self.conditions,
            disk=Disk(self.store_thread, self.tasks.soon),
            ticks=self.ticks,
            network=self.messenger,
            metrics=self.metrics,
            workers=self.workers,
            spawn=self.tasks.spawn,
            soon=self.tasks.soon,
            aside=outside.aside,
        )

    def _broken(self, error: BaseException) -> None:
        self.loop.broken(error)

    # -- life ------------------------------------------------------------------------------------------------------

    def start(self, notifier: Notifier) -> None:
        """Begins to look for the others. Before the service manager misses us, the guard acts."""
        ticks = self.config.ticks
        patience_ns = ticks.stop_patience_ns or ticks.phase_timeout_ns
        silence_ns = min(patience_ns, notifier.watchdog_interval_ns or patience_ns)
        self.guard.begin(self._folder.disk, self.me.generation, silence_ns, notifier.address)
        self.store_thread.start()
        self._log_thread.start()
        self.ticks.start()
        self.loop.start()

    def keys_changed(self) -> None:
        """Other keys are allowed than before: hears and speaks to nobody any more whose key is not."""
        self.messenger.check()
        self.ticks.check_keys()
        self.loop.tell(KeysChanged())

    def failing(self, error: BaseException) -> None:
        """The daemon is about to end because of that."""
        if not isinstance(error, StoreFailed | UnreadableLog):
            self.guard.blame()

    def close(self) -> None:
        """Closes sockets and ends the threads; none is waited for for ever."""
        if self._closed:
            return
        self._closed = True
        self.loop.close()
        self.tasks.close()
        if self.ticks.is_alive():
            self.ticks.close()
        for thread in (self.store_thread, self._log_thread):
            if thread.is_alive() and not thread.close():
                log.warning("a disk operation has not completed: leaving thread %s running", thread.name)
        self.durable.close()
        self.messenger.close()
        self.workers.shutdown(wait=False, cancel_futures=True)
        self.guard.close()
