"""Three daemons on this machine rank the Debian packages: `make demo`.

A package matters as much as the packages that need it: PageRank over "depends", "recommends" and their kin. Three real
`shoald` processes hold a third of the graph each, speak over encrypted loopback sockets and work in lockstep. At the
end this process computes the same alone, and the digests tell whether the answers are the same to the bit.

Everything lives in one temporary folder. Whatever ends the demo (its end, an error, Ctrl-C, SIGTERM, a reader that
hangs up) ends the daemons and removes the folder first; `Signals` is how that holds at any moment.
"""

from __future__ import annotations

import signal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # there is nothing to tidy up yet: just end, without a traceback

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
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
from daemon.dev_cluster import DevCluster, DevError, DevShard

DATA: Final = Path(__file__).parent / "data" / "debian"
SHARDS: Final = 3
TICKS: Final = 30
INTERVAL: Final = 0.1
"""Seconds a tick. Unpaced, all thirty are over before there is anything to see."""
LOOK: Final = 0.05
TOP: Final = 20
WIDTH_PIPED: Final = 110
SOCKET_NAME: Final = "1/admin.sock"
STORY: Final = (" joined ", "tick leader of", "view ")
"""What a daemon's log says of how the cluster came to be."""

Figures = dict[int, Mapping[str, Any]]
"""What each tick cost, by tick."""


def demo(cluster: DevCluster, console: Console) -> bool:
    """The whole show; whether the cluster and the single process agree."""
    with console.status(f"starting {SHARDS} daemons"):
        shards = cluster.up(SHARDS)
    show_cluster(console, shards)
    with ExitStack() as stack:
        sessions = [stack.enter_context(shoal.connect(str(shard.socket), 60.0)) for shard in shards]
        first, last = sessions[0], sessions[-1]
        with console.status("reading the package graph, and handing it to the first daemon"):
            data = shoal.read_graph(nodes=DATA / "nodes.csv.gz", edges=DATA / "edges.csv.gz")
            graph = first.load("debian", data=data)
        show_graph(console, graph)

        chapter(console, f"PageRank: {TICKS} ticks, slowed to one each {INTERVAL * 1000:.0f} ms so that one can watch")
        run = graph.start("pagerank", ticks=TICKS, interval=INTERVAL)
        figures = follow(console, run.name, sessions)
        ranks = last.get_run(run.wait().name).result("rank")  # any daemon can be asked, not only the one that was told
        show_top(console, ranks, data)
        show_traffic(console, run.show(), figures)

        with console.status("once more, as fast as they can"):
            unpaced = graph.run("pagerank", ticks=TICKS)
            digests = {"three daemons": ranks.digest, "three daemons, unpaced": unpaced.result("rank").digest}
    with console.status("and once in this process, on one shard"), shoal.local() as session:
        alone = session.load("debian", data=data).run("pagerank", ticks=TICKS)
        digests["this process alone"] = alone.result("rank").digest
    return show_digests(console, digests)


# -- watching ----------------------------------------------------------------------------------------------------------


def follow(console: Console, run: str, sessions: Sequence[shoal.Session]) -> Figures:
    """Ask every daemon where it stands until the run is over, and draw it; off a terminal, a line every ten ticks."""
    figures: Figures = {}
    live = console.is_terminal and not console.is_dumb_terminal
    text = TextColumn("tick {task.completed:>2.0f} of {task.total:.0f}  {task.fields[doing]}")
    bars = Progress(TextColumn("{task.description}"), BarColumn(bar_width=40), text, console=console, disable=not live)
    rows = [bars.add_task(f"shard-{i + 1}", total=TICKS, doing="") for i in range(len(sessions))]
    told = 0
    with bars:
        while True:
            shown = [look(session, run) for session in sessions]
            for row, stands in zip(rows, shown, strict=True):
                bars.update(row, completed=stands["tick"], doing=doing(stands))
                if stands["last_tick"]:
                    figures[stands["last_tick"]["tick"]] = stands["last_tick"]
            slowest = min(stands["tick"] for stands in shown)
            if not live and slowest // 10 > told // 10:
                told = slowest
                crossed = shown[0]["totals"]["cross_bytes"]
                console.print(
                    f"tick {told} of {TICKS}: every shard has committed it, {crossed / 1e6:.1f} MB have crossed"
                )
            if not any(stands["state"] in ("starting", "running", "stopping") for stands in shown):
                return figures
            time.sleep(LOOK)


def look(session: shoal.Session, run: str) -> dict[str, Any]:
    """Where a run stands on one shard, which may not have heard of it yet."""
    try:
        return session.get_run(run).show()
    except shoal.UnknownRun:
        nothing = {"cross_bytes": 0}
        return {"state": "starting", "tick": 0, "phase": "", "last_tick": None, "totals": nothing, "shards": {}}


def doing(stands: Mapping[str, Any]) -> str:
    """The phase that a shard is in, and the cluster's traffic as far as it knows."""
    phase = stands["phase"] or stands["state"]
    return f"{phase:9}  {stands['totals']['cross_bytes'] / 1e6:5.1f} MB have crossed"


# -- showing -----------------------------------------------------------------------------------------------------------


def chapter(console: Console, title: str) -> None:
    """A heading."""
    console.print(f"\n[bold]{title}[/]")


def table(*columns: str) -> Table:
    """A plain table; a column whose name begins with '>' is for numbers."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in columns:
        made.add_column(name.lstrip(">"), justify="right" if name.startswith(">") else "left", no_wrap=True)
    return made


def show_cluster(console: Console, shards: Sequence[DevShard]) -> None:
    """How the daemons found each other, in the words of the first one's log, and what they agreed on."""
    chapter(console, f"{len(shards)} daemons find each other (from the first one's log)")
    for line in shards[0].log.read_text().splitlines():
        moment, _, event = line.partition(" runtime: ")
        if any(part in event for part in STORY):
            console.print(f"  {moment[11:23]}  {escape(event)}", highlight=False)
    chapter(console, "What each says of the cluster")
    rows = table("shard", ">pid", "state", ">epoch of the view", "tick leader", ">term", ">members alive")
    for shard in shards:
        said = shard.status() or {}
        members = said.get("members", {}).get("alive")
        cells = (shard.name, shard.pid(), said.get("state"), said.get("epoch"), said.get("leader"), said.get("term"))
        rows.add_row(*map(str, cells), str(members))
    console.print(rows)


def show_graph(console: Console, graph: shoal.Graph) -> None:
    """What each shard holds."""
    chapter(console, f"The Debian package graph: {graph.node_count:,} packages, {graph.edge_count:,} dependencies")
    rows = table("shard", ">own nodes", ">edges that touch them", ">ghosts of others' nodes", ">MB")
    for name, held in graph.info["shards"].items():
        rows.add_row(
            name, f"{held['nodes']:,}", f"{held['edges']:,}", f"{held['ghosts']:,}", f"{held['bytes'] / 1e6:.1f}"
        )
    console.print(rows)


def show_top(console: Console, ranks: shoal.ColumnResult, data: shoal.GraphData) -> None:
    """The packages that matter most."""
    chapter(console, f"The {TOP} packages that others rest on most")
    about = zip(data.node_columns["section"].to_pylist(), data.node_columns["description"].to_pylist(), strict=True)
    known = dict(zip(data.ids.to_pylist(), about, strict=True))
    rows = table(">", ">rank", "package", "section")
    rows.add_column("description")  # the one that gives way on a narrow terminal
    for place, (package, rank) in enumerate(ranks.top(TOP), 1):
        section, description = known[package]
        line = Text(description, no_wrap=True, overflow="ellipsis")
        rows.add_row(str(place), f"{rank:.6f}", package, section or "virtual", line)
    console.print(rows)


def show_traffic(console: Console, run: Mapping[str, Any], figures: Figures) -> None:
    """What crossed between the shards, and how long each computed in each phase."""
    chapter(console, "What crossed between the shards")
    totals, ticks = run["totals"], run["tick"]
    console.print(
        f"  {totals['cross_edges']:,} of {totals['edges']:,} edges have their ends on two shards; "
        f"{totals['cross_bytes'] / 1e6:.1f} MB crossed, {totals['cross_bytes'] / ticks / 1e3:,.0f} kB a tick",
        highlight=False,
    )
    console.print("  PageRank only gathers: of the four phases it uses Advance, and pays one exchange a tick.\n")
    rows = table("phase", "shard", ">computing, ms a tick", ">longest, ms")
    for phase, shards in run["last_tick"]["phases"].items():
        for shard in shards:
            took = [1e3 * tick["phases"][phase][shard] for tick in figures.values()]
            rows.add_row(phase, shard, f"{sum(took) / len(took):.2f}", f"{max(took):.2f}")
    console.print(rows)


def show_digests(console: Console, digests: Mapping[str, str]) -> bool:
    """Whether all computed the same."""
    chapter(console, "SHA-256 over all package names and ranks")
    for who, digest in digests.items():
        console.print(f"  {who:23} {digest}", highlight=False)
    same = len(set(digests.values())) == 1
    console.print("  [bold green]The same to the bit.[/]" if same else "  [bold red]They differ: this is a bug.[/]")
    return same


# -- ending ------------------------------------------------------------------------------------------------------------


class Interrupted(KeyboardInterrupt):
    """A signal asks for the end. As a KeyboardInterrupt it passes whatever handles mere errors."""


class Signals:
    """The first SIGINT, SIGTERM or SIGHUP becomes an `Interrupted`; all later ones, and all after `ignore`, nothing.

    So in ``try: (try: work, finally: ignore), finally: tidy up`` nothing is raised while tidying up: either the one
    exception was raised before, be it on the way into `ignore`, or `ignore` has been called. Allowing a second one
    breaks this: signals that arrive in a long call are all delivered at the next function's entry, and that is
    `ignore`'s. (An exception inside a finalizer is lost; then the demo goes on to its end, and tidies up there.)
    """

    def __init__(self) -> None:
        self.number = 0
        self._over = False

    def listen(self) -> None:
        """From now on. A hang-up that nohup has us ignore stays ignored."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._arrived)

    def ignore(self) -> None:
        """Too late to be interrupted: what is running now is the end."""
        self._over = True

    def _arrived(self, number: int, _: FrameType | None) -> None:
        if not self._over:
            self._over, self.number = True, number
            raise Interrupted


def temporary_folder() -> Path:
    """A name that nobody has; made later, when whatever happens leads to its removal."""
    folder = Path(tempfile.gettempdir(), f"shoal-demo-{secrets.token_hex(4)}")
    too_long = len(os.fsencode(folder / SOCKET_NAME)) > PATH_BYTES_MAX
    return Path("/tmp", folder.name) if too_long else folder  # noqa: S108 - the name cannot be guessed


def main(console: Console | None = None) -> int:
    """Run the demo; the exit status."""
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
            if shard.pid() is None and not isinstance(error, DevError):  # which has their last words in it
                console.print(escape(shard.last_words()))
        return 1
    finally:
        cluster.down()
        shutil.rmtree(folder, ignore_errors=True)
        console.show_cursor()
    console.print("\nThe daemons have left, and their folder is removed.")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
