"""Ranks the Debian packages with three daemons on this machine: `make demo`.

The ranking is PageRank over the dependencies of packages ("depends", "recommends" and so on). Three real `shoald`
processes each hold a third of the graph and a copy of another third, exchange messages over encrypted loopback sockets
and execute ticks in lockstep. During the run, the demo kills one of them with SIGKILL, and the other two resume from
the last checkpoint. It restarts the daemon from its disk and runs PageRank again on all three. Finally it computes the
same in its own process and compares the digests of all results.

All files are in one temporary folder. However the demo ends (normally, with an error, by Ctrl-C or SIGTERM, or because
a reader hangs up), it first stops the daemons and removes the folder; `Signals` guarantees this at any moment.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # nothing to clean up yet: end without a traceback

import os
import re
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table
from rich.text import Text

import shoal
from daemon.admin.path import PATH_BYTES_MAX
from daemon.cli.dev_cluster import DevCluster, DevError, DevShard
from shoal.client.admin_protocol import AdminConnection

DATA: Final = Path(__file__).parent / "data" / "debian"
SHARDS: Final = 3
TICKS: Final = 30
INTERVAL: Final = 0.1
"""Seconds a tick. Without it, all thirty ticks end before a reader can follow them."""
KILL_AT: Final = 12
"""The tick of the kill: late enough for a checkpoint, early enough to watch the others resume."""
BACK_SECONDS_MAX: Final = 30.0
LOOK: Final = 0.05
TOP: Final = 20
WIDTH_PIPED: Final = 110
SOCKET_NAME: Final = "1/admin.sock"
STORY: Final = (" joined ", "tick leader of", ": view ")
"""Parts of log lines about how the cluster formed,"""
DEATH: Final = (" suspected ", " has failed", "tick leader of", ": view ", " begins after ", "fetched: ", " completed ")
"""about a member that failed,"""
RETURN: Final = ("shoald ", "graph ", ": view ", "to be fetched: ", " completed ")
"""and about its return."""
LACKING: Final = re.compile(rb"to be fetched: (\d+) partitions")
RESUMED: Final = re.compile(rb" begins after tick (\d+)")

Figures = dict[int, Mapping[str, Any]]
"""The result of each tick, by tick."""


def demo(cluster: DevCluster, console: Console) -> bool:
    """Runs the demo and returns whether the cluster and the single process agree."""
    with console.status(f"starting {SHARDS} daemons"):
        shards = cluster.up(SHARDS)
    show_cluster(console, shards)
    *others, victim = shards
    with ExitStack() as stack:
        sessions = {shard: stack.enter_context(connect(shard)) for shard in shards}
        first = sessions[shards[0]]
        with console.status("reading the package graph, and handing it to the first daemon"):
            data = shoal.read_graph(nodes=DATA / "nodes.csv.gz", edges=DATA / "edges.csv.gz")
            graph = first.load("debian", data=data)
        show_graph(console, graph)

        chapter(console, f"PageRank: {TICKS} ticks, slowed to one each {INTERVAL * 1000:.0f} ms so that one can watch")
        mark = log_bytes(others[0])
        run = graph.start("pagerank", ticks=TICKS, interval=INTERVAL)
        death = Death(console, cluster, victim, witness=others[0])
        figures = follow(console, run.name, sessions, death)
        # Any daemon can return the result, not only the one that started the run.
        ranks = sessions[others[-1]].get_run(run.wait().name).result("rank")
        digests = {f"{victim.name} killed at tick {death.tick}": ranks.digest}
        show_log(console, f"What happened, from the log of {others[0].name}", others[0], DEATH, mark)
        show_top(console, ranks, data)
        show_traffic(console, graph, figures)

        mark = log_bytes(victim)
        bring_back(console, cluster, victim, witness=others[0])
        with connect(victim) as returned, console.status("once more on all three, as fast as they can"):
            unpaced = graph.run("pagerank", ticks=TICKS)
            digests["all three, unpaced"] = returned.get_run(unpaced.name).result("rank").digest
        show_return(console, victim, mark)
    with console.status("and once in this process, on one shard"), shoal.local() as session:
        alone = session.load("debian", data=data).run("pagerank", ticks=TICKS)
        digests["this process alone"] = alone.result("rank").digest
    return show_digests(console, digests)


def connect(shard: DevShard) -> shoal.Session:
    """Returns a session with one daemon."""
    return shoal.connect(str(shard.socket), 60.0)


# -- watching ----------------------------------------------------------------------------------------------------------


def follow(console: Console, run: str, sessions: Mapping[DevShard, shoal.Session], death: Death) -> Figures:
    """Polls all live daemons until the run is over and draws progress bars; off a terminal, a line every ten ticks."""
    figures: Figures = {}
    live = console.is_terminal and not console.is_dumb_terminal
    text = TextColumn("tick {task.completed:>2.0f} of {task.total:.0f}  {task.fields[doing]}")
    bars = Progress(TextColumn("{task.description}"), BarColumn(bar_width=40), text, console=console, disable=not live)
    rows = {shard: bars.add_task(shard.name, total=TICKS, doing="") for shard in sessions}
    done = 0
    with bars:
        while True:
            shown = {shard: look(sessions[shard], run) for shard in sessions if not death.has_met(shard)}
            for shard, stands in shown.items():
                bars.update(rows[shard], completed=stands["tick"], doing=doing(stands))
                if stands["last_tick"]:
                    figures[stands["last_tick"]["tick"]] = stands["last_tick"]
            slowest = min(stands["tick"] for stands in shown.values())
            if not live and slowest // 10 > done // 10:
                done = slowest
                console.print(f"tick {done} of {TICKS}: every shard has committed it; {crossed(figures[max(figures)])}")
            death.look(slowest)
            if death.has_met(death.victim):
                bars.update(rows[death.victim], doing="[red]killed[/]")
            if not any(stands["state"] in ("starting", "running", "stopping") for stands in shown.values()):
                return figures
            time.sleep(LOOK)


def look(session: shoal.Session, run: str) -> dict[str, Any]:
    """Returns the state of a run on one shard, which may not know the run yet."""
    try:
        return session.get_run(run).show()
    except shoal.UnknownRun:
        return {"state": "starting", "tick": 0, "phase": "", "last_tick": None, "totals": {}, "shards": {}}


def doing(stands: Mapping[str, Any]) -> str:
    """Returns the phase of a shard, and the bytes that crossed between all shards in the last tick."""
    phase = stands["phase"] or stands["state"]
    return f"{phase:9}  {crossed(stands['last_tick'])}"


def crossed(figures: Mapping[str, Any] | None) -> str:
    """Returns the bytes that crossed between all shards in a tick, if known."""
    return f"{figures['cross_bytes'] / 1e3:,.0f} kB crossed in it" if figures else ""


@dataclass(slots=True)
class Death:
    """Kills one daemon during a run and reports how another one reacts."""

    console: Console
    cluster: DevCluster
    victim: DevShard
    witness: DevShard
    tick: int = 0
    """The tick at which the daemon was killed; 0 while it is alive."""
    moment: float = 0.0
    mark: int = 0
    """The size of the witness's log at that moment."""
    stood: int = 0
    """The last tick seen before a view without the victim, which may have helped with one more."""
    found_out: bool = False
    over: bool = False

    def has_met(self, shard: DevShard) -> bool:
        """Returns whether a daemon is the one that was killed."""
        return bool(self.tick) and shard == self.victim

    def look(self, tick: int) -> None:
        """Kills the victim at its tick; afterwards reports the next view and when the run resumes."""
        if not self.tick:
            if tick >= KILL_AT:
                self._strike(tick)
        elif not self.found_out:
            self.stood, seen = tick, view(self.witness)
            if self.victim.name not in seen["members"]:
                self.found_out = True
                members = ", ".join(seen["members"])
                self.console.print(f"{self._since()} s after the kill: view {seen['epoch']} is {members}")
        elif not self.over and tick > self.stood:
            self.over = True
            begun = RESUMED.findall(self.witness.log.read_bytes()[self.mark :])
            after = f" from tick {int(begun[-1])}, its last checkpoint" if begun else ""
            self.console.print(f"{self._since()} s after the kill: the run goes on{after}, and is at tick {tick}")

    def _strike(self, tick: int) -> None:
        self.mark, self.tick, self.moment = log_bytes(self.witness), tick, time.monotonic()
        self.cluster.kill([self.victim.number])
        self.console.print(f"[bold red]kill -9 {self.victim.name}[/] at tick {tick}")

    def _since(self) -> str:
        return f"{time.monotonic() - self.moment:.2f}"


def view(shard: DevShard) -> dict[str, Any]:
    """Returns the view of a daemon."""
    with AdminConnection(shard.socket) as connection:
        return connection.call("view")[0]


def bring_back(console: Console, cluster: DevCluster, shard: DevShard, witness: DevShard) -> None:
    """Restarts a daemon that was killed, from its own folder, and waits until it is in the view again."""
    chapter(console, f"{shard.name} starts again")
    began = time.monotonic()
    with console.status(f"starting {shard.name}"):
        cluster.start([shard.number], wait=True, timeout_seconds=BACK_SECONDS_MAX)
        while shard.name not in (seen := view(witness))["members"]:
            if time.monotonic() - began > BACK_SECONDS_MAX:
                raise DevError(f"{shard.name} is not in the view of {witness.name}\n{shard.last_words()}")
            time.sleep(LOOK)
    took = time.monotonic() - began
    console.print(f"  {shard.name} is back after {took:.1f} s, in view {seen['epoch']}: {', '.join(seen['members'])}")


# -- showing -----------------------------------------------------------------------------------------------------------


def chapter(console: Console, title: str) -> None:
    """Prints a heading."""
    console.print(f"\n[bold]{title}[/]")


def table(*columns: str) -> Table:
    """Returns a plain table; a column whose name begins with '>' is for numbers."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        made.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    return made


def log_bytes(shard: DevShard) -> int:
    """Returns the size of a daemon's log."""
    return shard.log.stat().st_size


def show_log(console: Console, title: str, shard: DevShard, story: Sequence[str], mark: int = 0) -> None:
    """Prints the log lines of a daemon that belong to a story, from byte `mark` on."""
    chapter(console, title)
    for line in shard.log.read_bytes()[mark:].decode(errors="replace").splitlines():
        head, _, event = line.partition(": ")
        if any(part in line for part in story):
            console.print(f"  {head[11:23]}  {escape(event.rstrip())}", highlight=False)


def show_return(console: Console, shard: DevShard, mark: int) -> None:
    """Prints what a daemon found on its disk and what it had to fetch."""
    show_log(console, f"Its return, from the log of {shard.name}", shard, RETURN, mark)
    if LACKING.findall(shard.log.read_bytes()[mark:]) == [b"0"]:
        console.print("  Its partitions were all on its own disk; the states are results of the run that it missed.")


def show_cluster(console: Console, shards: Sequence[DevShard]) -> None:
    """Prints how the daemons formed a cluster, from the first one's log, and their status."""
    show_log(console, f"{len(shards)} daemons find each other (from the first one's log)", shards[0], STORY)
    chapter(console, "The status of each daemon")
    rows = table("shard", ">pid", "state", ">epoch of the view", "tick leader", ">term", ">members alive")
    for shard in shards:
        status = shard.status() or {}
        members = status.get("members", {}).get("alive")
        cells = (shard.name, shard.pid(), *map(status.get, ("state", "epoch", "leader", "term")), members)
        rows.add_row(*map(str, cells))
    console.print(rows)


def show_graph(console: Console, graph: shoal.Graph) -> None:
    """Prints what each shard holds."""
    chapter(console, f"The Debian package graph: {graph.node_count:,} packages, {graph.edge_count:,} dependencies")
    rows = table("shard", ">own nodes", ">edges that touch them", ">ghosts of others' nodes", ">MB")
    for name, held in graph.info["shards"].items():
        rows.add_row(
            name, f"{held['nodes']:,}", f"{held['edges']:,}", f"{held['ghosts']:,}", f"{held['bytes'] / 1e6:.1f}"
        )
    console.print(rows)


def show_top(console: Console, ranks: shoal.ColumnResult, data: shoal.GraphData) -> None:
    """Prints the packages with the highest ranks."""
    chapter(console, f"The {TOP} packages with the highest rank")
    about = zip(data.node_columns["section"].to_pylist(), data.node_columns["description"].to_pylist(), strict=True)
    known = dict(zip(data.ids.to_pylist(), about, strict=True))
    rows = table(">", ">rank", "package", "section")
    rows.add_column("description")  # the column that shrinks on a narrow terminal
    for place, (package, rank) in enumerate(ranks.top(TOP), 1):
        section, description = known[package]
        line = Text(description, no_wrap=True, overflow="ellipsis")
        rows.add_row(str(place), f"{rank:.6f}", package, section or "virtual", line)
    console.print(rows)


def show_traffic(console: Console, graph: shoal.Graph, figures: Figures) -> None:
    """Prints the traffic between shards and the time of each in each phase, for the ticks that were observed."""
    chapter(console, "What crossed between the shards")
    by_count: dict[int, str] = {}
    for tick in figures.values():
        count = len({shard for took in tick["phases"].values() for shard in took})
        by_count[count] = f"{tick['cross_bytes'] / 1e3:,.0f} kB between {count} shards"
    console.print(
        f"  {graph.info['cross_edges']:,} of {graph.edge_count:,} edges connect nodes on different shards.\n"
        f"  Each tick moved {', '.join(by_count[count] for count in sorted(by_count, reverse=True))}.\n"
        "  PageRank only gathers: it uses one of the four phases, Advance, and needs one exchange per tick.\n",
        highlight=False,
    )
    rows = table("phase", "shard", ">ticks looked at", ">computing, ms a tick", ">longest, ms")
    seconds: dict[tuple[str, str], list[float]] = {}
    for tick in figures.values():
        for phase, shards in tick["phases"].items():
            for shard, took in shards.items():
                seconds.setdefault((phase, shard), []).append(1e3 * took)
    for (phase, shard), all_took in sorted(seconds.items()):
        mean = sum(all_took) / len(all_took)
        rows.add_row(phase, shard, str(len(all_took)), f"{mean:.2f}", f"{max(all_took):.2f}")
    console.print(rows)


def show_digests(console: Console, digests: Mapping[str, str]) -> bool:
    """Prints digests and returns whether they are all the same."""
    chapter(console, "SHA-256 over all package names and ranks")
    for who, digest in digests.items():
        console.print(f"  {who:{max(map(len, digests))}}  {digest}", highlight=False)
    same = len(set(digests.values())) == 1
    console.print("  [bold green]The same to the bit.[/]" if same else "  [bold red]They differ: this is a bug.[/]")
    return same


# -- ending ------------------------------------------------------------------------------------------------------------


ENDING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(KeyboardInterrupt):
    """Raised by a signal that ends the demo. As a KeyboardInterrupt it passes handlers of errors."""


class Signals:
    """Raises `Interrupted` for the first SIGINT, SIGTERM or SIGHUP, and ignores later ones and all after `ignore`.

    So in ``try: (try: work, finally: ignore), finally: clean up`` nothing is raised during the cleanup: either the one
    exception was raised before, possibly on the way into `ignore`, or `ignore` has been called. A second exception
    would break this: signals that arrive during a long call are all delivered at the next function's entry, which is
    `ignore`'s. (An exception inside a finalizer is lost; the demo then continues to its end and cleans up there.)
    """

    def __init__(self) -> None:
        self.number = 0
        self._over = False

    def listen(self) -> None:
        """Installs the handlers. A SIGHUP that nohup ignores stays ignored."""
        for number in ENDING:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def ignore(self) -> None:
        """Ignores all further signals."""
        self._over = True

    def _arrived(self, number: int, _: FrameType | None) -> None:
        if not self._over:
            self._over, self.number = True, number
            raise Interrupted


def temporary_folder() -> Path:
    """Returns an unused path; the folder is created later, when its removal is guaranteed."""
    signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)  # tempfile tests the directory with a file and removes it
    folder = Path(tempfile.gettempdir(), f"shoal-demo-{secrets.token_hex(4)}")
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)
    too_long = len(os.fsencode(folder / SOCKET_NAME)) > PATH_BYTES_MAX
    return Path("/tmp", folder.name) if too_long else folder  # noqa: S108 - the name cannot be guessed


def main(console: Console | None = None) -> int:
    """Runs the demo and returns the exit status."""
    console = console or Console(width=None if sys.stdout.isatty() else WIDTH_PIPED)
    signals = Signals()
    folder = temporary_folder()
    cluster = DevCluster(folder)
    try:
        try:
            signals.listen()
            folder.mkdir(mode=0o700)
            same = demo(cluster, console)
        finally:
            signals.ignore()
    except Interrupted:
        return 128 + signals.number
    except (shoal.ShoalError, DevError) as error:
        console.print(f"[red]{escape(str(error))}[/]")
        for shard in cluster.shards():
            if shard.pid() is None and not isinstance(error, DevError):  # a DevError has their last words
                console.print(escape(shard.last_words()))
        return 1
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)
        console.show_cursor()
    console.print("\nThe daemons have stopped, and their folder has been removed.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
