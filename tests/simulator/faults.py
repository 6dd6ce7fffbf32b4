"""What goes wrong: bad weather, partitions of one direction or both, pauses, crashes, and restarts as a new generation.

Every fault is counted by kind, and for each host how long it was kept from the others: only one that was for long may
be taken for dead, and only a run whose member was taken for dead may fail.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from tests.simulator.host import Host
from tests.simulator.network import CONTROL, FAIR, PLANES, TICKS, Network, Weather
from tests.simulator.world import MS, SECOND, World

CONVICTION_NS = 3 * SECOND
"""A member that is silent for less is not convicted: the shortest suspicion alone takes four seconds."""


class Faults:
    """Done to the hosts of a cluster."""

    def __init__(self, world: World, network: Network, hosts: Mapping[str, Host]) -> None:
        self.counts: Counter[str] = Counter()
        self.crashed: set[str] = set()
        self._world, self._network, self._hosts = world, network, hosts
        self._random = world.random("faults")
        self._silenced: Counter[str] = Counter()
        self._weathers: Counter[str] = Counter()

    def excused(self) -> set[str]:
        """Those whom the others may have taken for dead."""
        return self.crashed | {name for name, silent in self._silenced.items() if silent >= CONVICTION_NS}

    # -- kinds -----------------------------------------------------------------------------------------------------

    def partition(
        self,
        side: Iterable[str],
        duration: int,
        *,
        one_way: bool = False,
        planes: Sequence[str] = PLANES,
    ) -> None:
        """Cut a side off from the rest: in both directions, or only what it sends."""
        inside = sorted(side)
        outside = sorted(set(self._hosts) - set(inside))
        links = [(a, b) for a in inside for b in outside]
        links += [] if one_way else [(b, a) for a, b in links]
        kind = "one-way partition" if one_way else "partition"
        self._note(kind if len(planes) == 2 else f"{kind} of {planes[0]}", inside, duration)
        if CONTROL in planes:
            self._silence([*inside, *outside], duration)
        for plane in planes:
            self._network.cut(plane, links)
        self._world.after(duration, lambda: self._mend(planes, links))

    def _mend(self, planes: Sequence[str], links: Sequence[tuple[str, str]]) -> None:
        for plane in planes:
            for link in links:
                if self._network.is_cut(plane, *link):
                    self._network.cut(plane, [link], by=-1)

    def pause(self, name: str, duration: int) -> None:
        """A host does nothing for a while."""
        self._note("pause", [name], duration)
        self._silence([name], duration)
        self._hosts[name].pause(duration)

    def crash(self, name: str) -> None:
        """A host forgets everything, and is gone."""
        self._note("crash", [name], 0)
        self.crashed.add(name)
        self._hosts[name].crash()

    def restart(self, name: str) -> None:
        """It is back as somebody else: a later generation, and no member of the view."""
        self._note("restart", [name], 0)
        self._hosts[name].start()

    def storm(self, weather: Weather, duration: int, planes: Sequence[str] = PLANES) -> None:
        """Bad weather for a while."""
        told = f"{weather.loss:.0%} lost, {weather.repetition:.0%} repeated, up to {weather.delay_max_ns / MS:.0f} ms"
        self._note("storm", [*planes, told], duration)
        if weather.loss > 0.25 and CONTROL in planes:
            self._silence(sorted(self._hosts), duration)
        for plane in planes:
            self._weathers[plane] += 1
            number = self._weathers[plane]
            self._network.weather[plane] = weather
            self._world.after(duration, partial(self._clear, plane, number))

    def _clear(self, plane: str, number: int) -> None:
        if self._weathers[plane] == number:
            self._network.weather[plane] = FAIR

    def heal(self) -> None:
        """No faults from here on; who is paused, wakes in its time, and who crashed, stays so."""
        self._world.tell("all faults end")
        self._network.mend_all()

    # -- a schedule ------------------------------------------------------------------------------------------------

    def schedule(self, duration: int, crashes_max: int) -> None:
        """Let random faults happen from now on for a while."""
        at = self._world.now
        end = at + duration
        while (at := at + self._random.randint(100 * MS, 2 * SECOND)) < end:
            self._world.at(at, lambda: self._happen(crashes_max))

    def _happen(self, crashes_max: int) -> None:
        kinds = [self._random_partition] * 3 + [self._random_pause] * 3 + [self._random_storm] * 3
        kinds += [lambda: self._random_crash(crashes_max), self._random_restart]
        self._random.choice(kinds)()

    def _duration(self) -> int:
        """Mostly too short to convict anyone."""
        longest = 8 * SECOND if self._random.random() < 0.2 else 2_500 * MS
        return self._random.randint(50 * MS, longest)

    def _random_partition(self) -> None:
        names = sorted(self._hosts)
        side = self._random.sample(names, self._random.randint(1, max(1, len(names) // 2)))
        planes = self._random.choice([PLANES, PLANES, PLANES, (TICKS,), (CONTROL,)])
        self.partition(side, self._duration(), one_way=self._random.random() < 0.4, planes=planes)

    def _random_pause(self) -> None:
        running = [name for name in sorted(self._hosts) if self._hosts[name].running]
        self.pause(self._random.choice(running), self._duration())

    def _random_storm(self) -> None:
        weather = Weather(
            loss=self._random.choice([0.0, 0.05, 0.2, 0.5]),
            repetition=self._random.choice([0.0, 0.1, 0.3]),
            delay_min_ns=MS // 10,
            delay_max_ns=self._random.choice([2, 20, 100, 400]) * MS,
        )
        self.storm(weather, self._duration(), self._random.choice([PLANES, (TICKS,), (CONTROL,)]))

    def _random_crash(self, crashes_max: int) -> None:
        lives = [name for name in sorted(self._hosts) if self._hosts[name].running and name not in self.crashed]
        if len(self.crashed) < crashes_max and lives:
            leading = [name for name in lives if (raft := self._hosts[name].shard.raft) and raft.is_leader]
            self.crash(self._random.choice(leading if leading and self._random.random() < 0.4 else lives))

    def _random_restart(self) -> None:
        down = [name for name in sorted(self._hosts) if not self._hosts[name].running]
        if down:
            self.restart(self._random.choice(down))

    # -- bookkeeping -----------------------------------------------------------------------------------------------

    def _note(self, kind: str, whom: Sequence[str], duration: int) -> None:
        self.counts[kind] += 1
        self._world.tell(f"FAULT {kind}: {', '.join(whom)} for {duration / SECOND:.3f} s")

    def _silence(self, names: Iterable[str], duration: int) -> None:
        for name in names:
            self._silenced[name] += duration
