"""Faults: bad weather, partitions in one direction or both, pauses, crashes, power cuts, disks that fill up or are
replaced; and what operators do meanwhile: join, drain, leave.

Every fault is counted by kind. Temporary losses are back when the faults have ended. Permanent losses, of a machine or
of a disk's contents, only occur where the others can do without: R copies promise no more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TypeAlias

from daemon.state.commands import Drain
from daemon.state.machine import Command
from tests.simulator.host import Host
from tests.simulator.network import CONTROL, FAIR, PLANES, TICKS, Network, Weather
from tests.simulator.world import MS, SECOND, World

LOOK_NS = 300 * MS
HOUR = 3600 * SECOND
YEAR = 365 * 24 * HOUR
PATIENCE_NS = 30 * SECOND
Propose: TypeAlias = Callable[[Command], None]


class Faults:
    """Injects faults into the hosts of a cluster."""

    def __init__(
        self,
        world: World,
        network: Network,
        hosts: Mapping[str, Host],
        may_lose: Callable[[str], bool],
        propose: Propose,
    ) -> None:
        """`may_lose` says whether a host can now be lost for good; `propose` tries to get a command into the log."""
        self.counts: Counter[str] = Counter()
        self.gone: set[str] = set()
        """Hosts that never come back."""
        self._world, self._network, self._hosts = world, network, hosts
        self._may_lose, self._propose = may_lose, propose
        self._random = world.random("faults")
        self._weathers: Counter[str] = Counter()
        self._has_healed = False

    # -- links and pauses ------------------------------------------------------------------------------------------

    def partition(
        self,
        side: Iterable[str],
        duration: int,
        *,
        one_way: bool = False,
        planes: Sequence[str] = PLANES,
    ) -> None:
        """Partitions a side from the rest: in both directions, or only what it sends."""
        inside = sorted(side)
        outside = sorted(set(self._hosts) - set(inside))
        links = [(a, b) for a in inside for b in outside]
        links += [] if one_way else [(b, a) for a, b in links]
        kind = "one-way partition" if one_way else "partition"
        self._note(kind if len(planes) == 2 else f"{kind} of {planes[0]}", inside, duration)
        for plane in planes:
            self._network.cut(plane, links)
        self._world.after(duration, lambda: self._mend(planes, links))

    def _mend(self, planes: Sequence[str], links: Sequence[tuple[str, str]]) -> None:
        for plane in planes:
            for link in links:
                if self._network.is_cut(plane, *link):
                    self._network.cut(plane, [link], by=-1)

    def storm(self, weather: Weather, duration: int, planes: Sequence[str] = PLANES) -> None:
        """Worsens the weather for a while."""
        told = f"{weather.loss:.0%} lost, {weather.repetition:.0%} repeated, up to {weather.delay_max_ns / MS:.0f} ms"
        self._note("storm", [*planes, told], duration)
        for plane in planes:
            self._weathers[plane] += 1
            number = self._weathers[plane]
            self._network.weather[plane] = weather
            self._world.after(duration, partial(self._clear, plane, number))

    def _clear(self, plane: str, number: int) -> None:
        if self._weathers[plane] == number:
            self._network.weather[plane] = FAIR

    def pause(self, name: str, duration: int) -> None:
        """Pauses a host for a while."""
        self._note("pause", [name], duration)
        self._hosts[name].pause(duration)

    # -- machines and disks ----------------------------------------------------------------------------------------

    def crash(self, name: str, back_after: int | None = None, kind: str = "crash") -> None:
        """Crashes a host, which forgets everything that is not on its disk; it may restart after a while."""
        self._note(kind, [name], back_after or 0)
        self._hosts[name].crash()
        if back_after is not None:
            self.bring_back(name, back_after)

    def bring_back(self, name: str, delay: int = 0) -> None:
        """Starts a host after a while, unless it runs by then."""
        self._world.after(delay, lambda: self.restart(name))

    def restart(self, name: str) -> None:
        """Restarts a host, as a later generation, with the contents of its disk."""
        host = self._hosts[name]
        if not host.running and name not in self.gone:
            self._note("restart", [name], 0)
            host.disk.is_full = False
            host.start()

    def lose(self, name: str) -> None:
        """Crashes a host, which never comes back."""
        self.gone.add(name)
        self.crash(name, kind="loss for good")

    def wipe(self, name: str, back_after: int) -> None:
        """Crashes a host, which comes back with an empty disk."""
        self.crash(name, back_after, "disk wiped")
        self._hosts[name].wipe()

    def go_back(self, name: str, back_after: int) -> bool:
        """Crashes a host, whose disk goes back to an earlier state; returns False if there is none.

        Either only the database lost its last writes, or the whole folder is that of an earlier life: within the same
        life, only a leader that stays could detect it.
        """
        host = self._hosts[name]
        earlier = [image for image in host.disk.images if image.life < host.generation]
        with_folder = bool(earlier) and self._random.random() < 0.5
        images = earlier if with_folder else host.disk.images
        if not images:
            return False
        self.crash(name, back_after, "disk went back" if with_folder else "last writes lost")
        host.go_back(self._random.choice(images), with_folder=with_folder)
        return True

    def power_cut(self, longest: int = 8 * SECOND) -> None:
        """Crashes all hosts at once; they come back in any order, perhaps all but one."""
        up = [name for name in sorted(self._hosts) if self._hosts[name].running]
        never = [name for name in up if self._random.random() < 0.15 and self._may_lose(name)][:1]
        self.counts["power cut"] += 1
        self.gone.update(never)
        for name in up:
            self.crash(name, self._random.randrange(longest), "down by a power cut")

    def fill_disk(self, name: str) -> None:
        """Makes the next write fail; the host must end, and comes back when there is room."""
        self._note("disk full", [name], 0)
        host = self._hosts[name]
        host.disk.is_full = True
        self._when(lambda: not host.running, lambda: self.bring_back(name, self._random.randrange(4 * SECOND)))

    def crowd_disk(self, name: str) -> None:
        """Leaves no room for bulk data on a host's disk until the faults end."""
        self._note("disk crowded", [name], 0)
        self._hosts[name].disk.is_crowded = True

    def set_clock(self, name: str, error_ns: int) -> None:
        """Sets a host's wall clock wrong until the faults end, and corrects the one set before."""
        self._note("clock set", [name], 0)
        self._set_clocks_right()
        self._hosts[name].clock_error_ns = error_ns

    def _set_clocks_right(self) -> None:
        for host in self._hosts.values():
            host.clock_error_ns = 0

    # -- operators -------------------------------------------------------------------------------------------------

    def join(self, name: str) -> None:
        """Starts a host that never ran before."""
        self._note("join", [name], 0)
        self._hosts[name].start()

    def drain(self, name: str) -> None:
        """Drains a host, restarts it as for an upgrade, and lets it return."""
        self._note("drain", [name], 0)
        self._empty(name, partial(self._step_out, name))

    def leave(self, name: str) -> None:
        """Drains a host, which gives up its seat in consensus and leaves for good."""
        self._note("leave", [name], 0)
        host = self._hosts[name]
        life = host.generation

        def give_up() -> None:
            host.do(lambda daemon: daemon.context.orders.give_up_seat())
            lets_go = lambda: _is_gone(host, life) or (not host.shard.has_seat and self._may_lose(name))  # noqa: E731
            self._when(lets_go, go, anyway=True)

        def go() -> None:
            if not _is_gone(host, life) and not host.shard.has_seat and self._may_lose(name) and not self._has_healed:
                self.gone.add(name)
                self.counts["left for good"] += 1
            self._step_out(name)

        self._empty(name, give_up)

    def _empty(self, name: str, then: Callable[[], None]) -> None:
        host = self._hosts[name]
        life = host.generation
        self._propose(Drain(name, True))

        def emptied() -> None:
            if not _is_gone(host, life):
                then()

        self._when(lambda: _is_gone(host, life) or not host.shard.in_view, emptied)

    def _step_out(self, name: str) -> None:
        host = self._hosts[name]
        if host.running and not host.is_broken:
            host.leave()
            self.bring_back(name, self._random.randint(3 * SECOND, 6 * SECOND))

    def _when(
        self, done: Callable[[], bool], then: Callable[[], None], patience: int = PATIENCE_NS, *, anyway: bool = False
    ) -> None:
        """Polls until `done`, then calls `then`; when it is too late, calls it only with `anyway`."""
        is_late = patience <= 0 or self._has_healed
        if done() or (is_late and anyway):
            then()
        elif not is_late:
            self._world.after(LOOK_NS, lambda: self._when(done, then, patience - LOOK_NS, anyway=anyway))

    def heal(self) -> None:
        """Ends all faults; paused hosts resume in time, and hosts that are temporarily down come back."""
        self._world.tell("all faults end")
        self._has_healed = True
        self._network.mend_all()
        self._set_clocks_right()
        self._return()

    def expected(self) -> list[str]:
        """Returns hosts that are down and will come back, or are about to go down."""
        hosts = sorted(self._hosts.items())
        return [name for name, host in hosts if host.generation and name not in self.gone and not host.serves]

    def _return(self) -> None:
        for host in self._hosts.values():
            host.disk.is_crowded = False
        for name in self.expected():
            self._hosts[name].disk.is_full = False
            if not self._hosts[name].running:
                self.bring_back(name, self._random.randrange(2 * SECOND))
        self._world.after(3 * SECOND, self._return)

    # -- a schedule ------------------------------------------------------------------------------------------------

    def schedule(
        self, duration: int, down_max: int, kinds: Sequence[str], gap_ns: tuple[int, int] = (100 * MS, 2 * SECOND)
    ) -> None:
        """Schedules random faults of these kinds for a while, with such gaps; a kind listed twice is more frequent."""
        at = self._world.now
        end = at + duration
        while (at := at + self._random.randint(*gap_ns)) < end:
            self._world.at(at, lambda: self._happen(down_max, kinds))

    def _happen(self, down_max: int, kinds: Sequence[str]) -> None:
        if self._has_healed:
            return
        kind = self._random.choice(kinds)
        up = [name for name in sorted(self._hosts) if self._hosts[name].running and not self._hosts[name].is_broken]
        down = [name for name in sorted(self._hosts) if not self._hosts[name].running and name not in self.gone]
        new = [name for name in down if not self._hosts[name].generation]
        if kind == "partition":
            self._random_partition()
        elif kind == "one-way cut" and up:
            self._random_one_way_cut(self._pick(up))
        elif kind == "storm":
            self._random_storm()
        elif kind == "join" and new:
            self.join(new[0])
        elif kind == "power cut" and up:
            self.power_cut()
        elif up:
            name = self._pick(up)
            if kind == "pause":
                self.pause(name, self._duration())
            elif kind == "brief pause":
                self.pause(name, self._random.randint(20 * MS, self._random.choice([400, 2_500]) * MS))
            elif kind == "clock set":
                self.set_clock(name, self._random.choice([-1, 1]) * self._random.choice([SECOND, HOUR, YEAR]))
            elif kind == "bounce":
                self.crash(name, self._random.randint(1, 60 * MS), "crash, back at once")
            elif len(down) - len(new) < down_max:
                self._random_loss(kind, name, len(up))

    def _random_loss(self, kind: str, name: str, up: int) -> None:
        back_after = self._random.randint(100 * MS, self._random.choice([2, 10]) * SECOND)
        if kind == "crash":
            self.crash(name, back_after)
        elif kind == "disk full":
            self.fill_disk(name)
        elif kind == "wipe" and self._may_lose(name):
            self.wipe(name, back_after)
        elif kind == "loss" and up > 3 and self._may_lose(name):
            self.lose(name)
        elif kind == "drain" and up > 2:
            self.drain(name)
        elif kind == "leave" and up > 3:
            self.leave(name)

    def _pick(self, up: Sequence[str]) -> str:
        """Picks any host; the leader more often than others."""
        leading = [name for name in up if (raft := self._hosts[name].shard.raft) and raft.is_leader]
        return self._random.choice(leading if leading and self._random.random() < 0.3 else up)

    def _duration(self) -> int:
        """Returns a duration that is mostly too short for a conviction."""
        longest = 8 * SECOND if self._random.random() < 0.2 else 2_500 * MS
        return self._random.randint(50 * MS, longest)

    def _random_partition(self) -> None:
        names = sorted(self._hosts)
        side = self._random.sample(names, self._random.randint(1, max(1, len(names) // 2)))
        planes = self._random.choice([PLANES, PLANES, PLANES, (TICKS,), (CONTROL,)])
        self.partition(side, self._duration(), one_way=self._random.random() < 0.4, planes=planes)

    def _random_one_way_cut(self, name: str) -> None:
        """Cuts off what one host sends, or what a random half sends to the rest; sometimes both directions."""
        names = sorted(self._hosts)
        side = [name] if self._random.random() < 0.6 else self._random.sample(names, max(1, len(names) // 2))
        planes = self._random.choice([PLANES, PLANES, (TICKS,), (CONTROL,)])
        is_one_way = self._random.random() < 0.8
        self.partition(side, self._random.randint(30 * MS, 2_500 * MS), one_way=is_one_way, planes=planes)

    def _random_storm(self) -> None:
        weather = Weather(
            loss=self._random.choice([0.0, 0.05, 0.2, 0.5]),
            repetition=self._random.choice([0.0, 0.1, 0.3]),
            delay_min_ns=MS // 10,
            delay_max_ns=self._random.choice([2, 20, 100, 400]) * MS,
        )
        self.storm(weather, self._duration(), self._random.choice([PLANES, (TICKS,), (CONTROL,)]))

    def _note(self, kind: str, whom: Sequence[str], duration: int) -> None:
        self.counts[kind] += 1
        self._world.tell(f"FAULT {kind}: {', '.join(whom)} for {duration / SECOND:.3f} s")


def _is_gone(host: Host, life: int) -> bool:
    return not host.running or host.generation != life
