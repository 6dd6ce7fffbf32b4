"""One life of a daemon: everything that is started in order and ended in the opposite one, and what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import time
from collections.abc import Callable, Sized
from functools import partial
from typing import Any

from daemon.admin.endpoint import OperatorDoor
from daemon.admin.registry import Registry
from daemon.admin.server import AdminLimits, AdminServer
from daemon.config import Config
from daemon.config.keys import AllowedKeys, BadKeyFile, KeyPair, load_pair
from daemon.gauges import Came, Gauges, refresh_ports
from daemon.handlers import bind
from daemon.host import Host
from daemon.observe.metrics import Metrics
from daemon.observe.notify import Notifier
from daemon.observe.turns import TimedSelector
from daemon.runtime import descriptors
from daemon.runtime.descriptors import Shares
from daemon.runtime.loop import NewLife, UnreadableLog
from daemon.runtime.signals import Signals
from daemon.services.backup.restore import Restoring, Source
from daemon.services.cluster.drain import depart
from daemon.services.cluster.readiness import readiness
from daemon.services.cluster.waiting import why_waiting
from daemon.store import DataFolder, Marks, NoRoom, StoreFailed
from daemon.transport.security import Curve
from shoal import __version__

log = logging.getLogger("shoal.daemon")

LOOK_SECONDS = 1.0
"""Between two looks at what a shard that is in no view waits for; and at the most between two pings of the watchdog."""
START_EXTENSION_SECONDS = STOP_EXTENSION_SECONDS = 30.0
AGAIN = -1
"""In the place of an exit status: the next life begins in this process."""
LONELY_SECONDS = 5.0
"""After this a shard that is in no view says what it waits for: what keeps shards apart is silent where it is."""
LONELY_AGAIN_SECONDS = 60.0
HEED_SECONDS = 30.0
"""In which the loop has to notice a signal; only a disk that does not answer keeps it for so long."""
CLOSE_SECONDS = 30.0
"""More than all that is closed at the end may take together, each by its own bound."""


class Daemon:
    """Everything that has to be started in order, and ended in the opposite one."""

    def __init__(
        self,
        config: Config,
        notifier: Notifier,
        backup: Source | None = None,
        end_within: Callable[[float], None] = lambda _: None,
        turns: TimedSelector | None = None,
    ) -> None:
        """`end_within` sees to it, from any thread, that the process ends in so many seconds, whatever it waits for."""
        self._config, self._notifier, self._backup = config, notifier, backup
        self._end_within, self._turns = end_within, turns
        self._over, self._at_once = asyncio.Event(), asyncio.Event()
        self._failure: BaseException | None = None
        self._is_asked_to_end = False
        self.is_restored = False
        """Whether the backup has been brought in: a later life must not do it again."""
        self._failing: Callable[[BaseException], None] = lambda _: None
        """Notes what was going on."""

    async def run(self) -> int:
        """Serves until a signal, and returns the exit status."""
        asyncio.get_running_loop().set_exception_handler(self._callback_failed)
        async with contextlib.AsyncExitStack() as stack:
            host = await self._start(stack)
            await self._serve(host)
        if isinstance(self._failure, NewLife):
            if self._is_asked_to_end:
                log.info("ending on request: %s", self._failure)
                return 0
            log.error("starting again: %s", self._failure)
            return AGAIN
        if self._failure is not None:
            is_explained = isinstance(self._failure, UnreadableLog | NoRoom)
            log.critical("ending: %s", self._failure, exc_info=None if is_explained else self._failure)
            return 1
        log.info("left")
        return 0

    async def _start(self, stack: contextlib.AsyncExitStack) -> Host:
        """Opens and starts everything; `stack` closes it."""
        config, cluster = self._config, self._config.cluster
        keys, allowed = load_keys(config)
        metrics = Metrics(version=__version__, shard=cluster.shard)
        handlers: dict[int, Callable[[], None]] = {
            signal.SIGINT: self._told_to_stop,
            signal.SIGTERM: self._told_to_stop,
            signal.SIGHUP: partial(self._reload, lambda: None),
        }
        signals = stack.enter_context(Signals(asyncio.get_running_loop(), handlers, self._heard))
        folder = stack.enter_context(data_folder(config).open())
        shares = descriptors.shares(
            descriptors.limit_now(),
            max(cluster.expect, len(cluster.seeds)),
            config.admin.connections_max,
            operators=config.admin.address is not None,
        )
        host = Host(config, folder, keys, allowed, metrics, shares, self._fatal)
        stack.callback(host.close)
        self._failing = host.failing
        metrics.before_scrape(Gauges(host).refresh)
        if self._turns is not None:
            metrics.before_scrape(partial(metrics.turns, self._turns.slow))
        signals.handle(signal.SIGHUP, partial(self._reload, partial(_reload, host, keys, allowed, None)))
        admin = await self._start_admin(stack, host, metrics, shares)
        ports: dict[str, tuple[int, Came]] = {
            "control": (shares.plane, lambda: host.messenger.came),
            "ticks": (shares.plane, lambda: host.ticks.came),
            "admin": (shares.admin, lambda: (len(admin), 0)),
        }
        door = _door(config, admin, keys, allowed, metrics, shares)
        if door is not None:
            stack.callback(door.close)
            ports["operators"] = (shares.operators, lambda: door.came)
            signals.handle(signal.SIGHUP, partial(self._reload, partial(_reload, host, keys, allowed, door)))
        http = await self._start_http(stack, host, metrics, shares)
        if http is not None:
            ports["metrics"] = (shares.metrics, lambda: (len(http), 0))
        metrics.before_scrape(lambda: refresh_ports(metrics, ports))
        host.start(self._notifier)
        log.info("shoald %s, shard %s, admin socket %s", __version__, cluster.shard, config.admin.socket)
        return host

    async def _start_admin(
        self, stack: contextlib.AsyncExitStack, host: Host, metrics: Metrics, shares: Shares
    ) -> AdminServer:
        commands = Registry(catch_up=host.services.context.read_index)
        bind(host.services, metrics, commands, self._over.set)
        config = self._config.admin
        admin = AdminServer(
            commands,
            config.socket,
            mode=config.mode_bits,
            limits=AdminLimits(
                line_bytes_max=config.line_bytes_max,
                frames_bytes_max=config.frames_bytes_max,
                connections_max=shares.admin,
            ),
            observe=lambda command, outcome: metrics.admin_requests_total.labels(command, outcome).inc(),
        )
        await admin.start()
        stack.push_async_callback(admin.close)
        return admin

    async def _start_http(
        self, stack: contextlib.AsyncExitStack, host: Host, metrics: Metrics, shares: Shares
    ) -> Sized | None:
        address = self._config.metrics.address
        if address is None:
            return None
        from daemon.observe.http import HttpServer  # with h11, which nobody needs who is not scraped

        http = HttpServer(address.host, address.port, metrics, lambda: readiness(host.plane), shares.metrics)
        await http.start()
        stack.push_async_callback(http.close)
        return http

    async def _serve(self, host: Host) -> None:
        """Returns once it is over and the others know that this shard goes."""
        config = self._config
        tell = asyncio.create_task(self._tell_manager(host))
        restoring = asyncio.create_task(self._restore(host))
        await self._over.wait()
        restoring.cancel()
        if self._failure is None:
            patience = config.cluster.drain_timeout_ns / 1e9
            await depart(host.services.context, patience, self._at_once, self._tell_of_drain)
        tell.cancel()
        if not isinstance(self._failure, NewLife):
            self._notifier.stopping("leaving")
        if self._failure is None or isinstance(self._failure, StoreFailed | NewLife | UnreadableLog):
            linger = 0.0 if self._at_once.is_set() else config.membership.leave_linger_ns / 1e9
            await host.loop.leave(linger)

    async def _restore(self, host: Host) -> None:
        """Restores the backup, if there is one; without it the cluster must not look as if it had been restored."""
        try:
            if self._backup is not None:
                await Restoring(host.services.context, host.services.staging, self._backup).run()
                self.is_restored = True
        except Exception as error:  # whatever it is, nobody else would hear of it
            self._fatal(error)

    def _told_to_stop(self) -> None:
        """The first signal asks to go, in good order; the second one not to lose any more time over it."""
        self._is_asked_to_end = True
        if self._over.is_set():
            self._at_once.set()
        self._over.set()
        drain_ns = 0 if self._at_once.is_set() else self._config.cluster.drain_timeout_ns
        self._end_within((drain_ns + self._config.membership.leave_linger_ns) / 1e9 + CLOSE_SECONDS)

    def _heard(self, number: int) -> None:
        """On the signals' thread: the loop hears of it, too, if it turns."""
        if number != signal.SIGHUP:
            self._end_within(HEED_SECONDS)

    async def _tell_of_drain(self, done: int, total: int) -> None:
        left = f"draining: {total - done} of {total} partitions to go"
        log.info(left)
        self._notifier.stopping(left)
        self._notifier.extend_timeout(STOP_EXTENSION_SECONDS)

    def _fatal(self, error: BaseException) -> None:
        """A broken invariant: end at once, and let the service manager start us again."""
        if self._failure is None:
            self._failing(error)
        self._failure = self._failure or error
        self._over.set()
        self._at_once.set()
        self._end_within(self._config.membership.leave_linger_ns / 1e9 + CLOSE_SECONDS)

    def _callback_failed(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """A turn of the loop that broke off in the middle: its other effects, and the next wake, are lost with it.

        A daemon that went on would be there and do nothing. What tasks leave behind is only logged.
        """
        error = context.get("exception")
        if "handle" in context and isinstance(error, Exception):
            self._fatal(error)
        else:
            loop.default_exception_handler(context)

    def _reload(self, reload: Callable[[], None]) -> None:
        """SIGHUP: take over the list of allowed keys; everything else needs a restart."""
        self._notifier.reloading()
        reload()
        self._notifier.ready()

    async def _tell_manager(self, host: Host) -> None:
        """Readiness once the view is joined, and the watchdog from this very loop."""
        interval_ns = self._notifier.watchdog_interval_ns
        pause = min(LOOK_SECONDS, interval_ns / 1e9) if interval_ns else LOOK_SECONDS
        hint_due = time.monotonic() + LONELY_SECONDS
        while not host.plane.in_view:
            # Waiting for the others is no failure to start: it takes as long as their machines take to boot.
            self._notifier.extend_timeout(START_EXTENSION_SECONDS)
            waits = why_waiting(host.plane, self._config.cluster.expect) or "waiting for the next view"
            self._notifier.status(waits)
            if time.monotonic() >= hint_due:
                hint_due = time.monotonic() + LONELY_AGAIN_SECONDS
                log.warning("in no view yet: %s", waits)
            if interval_ns is not None:
                self._notifier.watchdog()
            await host.conditions.until(lambda: host.plane.in_view, pause)
        self._notifier.ready(f"in view {host.plane.registry.epoch}")
        while interval_ns is not None:
            self._notifier.watchdog()
            await asyncio.sleep(pause)


def load_keys(config: Config) -> tuple[KeyPair | None, AllowedKeys | None]:
    """This shard's own key and those that it lets in; None without encryption. Raises `BadKeyFile`."""
    security = config.security
    if security.encryption == "none":
        if config.plain_text_exposed:
            log.warning(
                "PLAIN TEXT between machines: security.encryption is none; anyone on the network can read and write"
            )
        return None, None
    assert security.secret_key is not None
    assert security.allowed_keys is not None
    credentials = os.environ.get("CREDENTIALS_DIRECTORY")
    handed_over = credentials is not None and security.secret_key.is_relative_to(credentials)
    pair = load_pair(security.secret_key, group_may_read=handed_over)
    if pair.name != config.cluster.shard:
        raise BadKeyFile(
            f"{security.secret_key} is the key of '{pair.name}', and this shard is called '{config.cluster.shard}': "
            "make a key with the shard's name, or set cluster.shard"
        )
    return pair, AllowedKeys(security.allowed_keys)


def _reload(host: Host, keys: KeyPair | None, allowed: AllowedKeys | None, door: OperatorDoor | None) -> None:
    """A key that is gone is gone at once: whoever came in with it is hung up on, and is spoken to no more."""
    if keys is None or allowed is None:
        return
    try:
        added, removed = allowed.reload()
    except BadKeyFile as error:
        log.error("the list of allowed keys is unchanged: %s", error)
        return
    names = f" ({', '.join(sorted({*added, *removed}))})" if added or removed else ""
    log.info("allowed keys: %d added, %d removed%s", len(added), len(removed), names)
    if allowed.name_of(keys.public) != keys.name:
        log.error(
            "this shard's own key is not in the list of allowed keys under the name %s: the others will refuse it",
            keys.name,
        )
    host.keys_changed()
    if door is not None:
        door.check()


def _door(
    config: Config,
    admin: AdminServer,
    keys: KeyPair | None,
    allowed: AllowedKeys | None,
    metrics: Metrics,
    shares: Shares,
) -> OperatorDoor | None:
    """Where operators on other machines come in, if anywhere."""
    if config.admin.address is None:
        return None

    def name_of(key: bytes) -> str | None:
        if allowed is None:
            return "somebody on this machine"  # the configuration takes no other address without keys
        name = allowed.operator_of(key)
        return None if name is None else f"operator {name}"

    door = OperatorDoor(
        config.admin.address.url,
        admin,
        curve=Curve(keys, allowed.operator_of) if keys is not None and allowed is not None else None,
        name_of=name_of,
        count=metrics.count,
        connections_max=shares.operators,
        strangers_max=shares.strangers,
    )
    log.info("listening for operators at %s", door.endpoint)
    if keys is None:
        log.warning("security.encryption is none: every user of this machine may do everything at %s", door.endpoint)
    return door


def data_folder(config: Config) -> DataFolder:
    """The folder that a configuration names; not opened yet."""
    cluster, storage = config.cluster, config.storage
    marks = Marks(storage.warn_free, storage.refuse_free, storage.reserve)
    return DataFolder(cluster.data, cluster.name, cluster.shard, marks=marks)
