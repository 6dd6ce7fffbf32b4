"""Runs: start, watch, wait, step, stop and read what came out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from daemon.cli.result import result, ticks
from daemon.cli.search import search
from daemon.cli.session import DURATION, TIMEOUT, PairType, Said, Session, in_words, json_option, words
from daemon.cli.table import table

ANSWER_SECONDS: Final = 5.0
"""After a timeout has run out: for the daemon to say so."""


class CheckpointType(click.ParamType[int]):
    """How often a run's state is kept: so many ticks, or "time" (0), or "end" (-1)."""

    name = "n|time|end"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if value in CHECKPOINTS:
            return CHECKPOINTS[value]
        if not (value.isascii() and value.isdecimal() and 0 < int(value) < 2**31):
            self.fail(f"{value!r} should be a number of ticks from 1 on, or 'time', or 'end'", param, ctx)
        return int(value)


CHECKPOINTS: Final = {"time": 0, "end": -1}


@click.group()
def run() -> None:
    """Runs of programs: start, list, show, wait, step, stop, result, table, search."""


@run.command()
@click.argument("program")
@click.option("--graph", required=True, help="Which graph.")
@click.option("--ticks", type=click.IntRange(0), help="How many at most; without, until the program halts.")
@click.option("--param", "params", multiple=True, type=PairType(), help="KEY=VALUE of the program; may be repeated.")
@click.option("--interval", type=DURATION, help="Shortest time from one tick's start to the next, such as 20ms.")
@click.option("--paced", is_flag=True, help="Tick only when told to, with `run step`.")
@click.option(
    "--checkpoint",
    type=CheckpointType(),
    metavar="N|time|end",
    help="Keep its state on disk every N ticks, by time (the default), or at its end only.",
)
@click.option("--queue", is_flag=True, help="Wait for its turn if as many runs go on as may.")
@click.option("--wait", "waits", is_flag=True, help="Wait until it has finished.")
@click.option("--timeout", type=TIMEOUT, help="Give up waiting after; the run goes on.")
@json_option
@click.pass_obj
def start(
    session: Session,
    program: str,
    graph: str,
    ticks: int | None,
    params: tuple[tuple[str, Any], ...],
    interval: float | None,
    paced: bool,
    checkpoint: int | None,
    queue: bool,
    waits: bool,
    timeout: float | None,
) -> None:
    """Run PROGRAM on a graph."""
    if paced and waits:
        raise click.UsageError("--paced and --wait: a paced run waits for you; start it and use `run step`")
    started = session.ask(
        "run start",
        {
            "program": program,
            "graph": graph,
            "ticks": ticks,
            "params": dict(params) or None,
            "interval_seconds": interval,
            "paced": paced or None,
            "checkpoint_ticks": checkpoint,
            "queue": queue or None,
        },
    )
    if waits:
        _wait(session, str(started["run"]), timeout)
    else:
        session.show("run start", started)


@run.command()
@click.argument("name")
@click.option("--timeout", type=TIMEOUT, help="Give up after; the run goes on.")
@json_option
@click.pass_obj
def wait(session: Session, name: str, timeout: float | None) -> None:
    """Wait until a run has finished. Exit 1 unless it completed."""
    _wait(session, name, timeout)


def _wait(session: Session, name: str, timeout: float | None) -> None:
    shown = sys.stderr.isatty() and not session.as_json
    asked = {"run": name} if timeout is None else {"run": name, "timeout_seconds": timeout}
    # The daemon gives up by itself; but a paused or hanging one would be waited for with all patience.
    silence = None if timeout is None else min(session.timeout_seconds, timeout + ANSWER_SECONDS)
    try:
        with in_words(), session.connect(silence) as connection:
            stream = connection.stream("run wait", asked)
            for event in stream:
                if shown:
                    click.echo(f"\r\x1b[K{name}  {_where(event)}", err=True, nl=False)
            result = stream.result
    except KeyboardInterrupt:
        words(f"\n{name} goes on. Wait again: shoalctl run wait {name}; end it: shoalctl run stop {name}")
        raise SystemExit(130) from None
    finally:
        if shown:
            click.echo("\r\x1b[K", err=True, nl=False)
    session.show("run wait", result)
    if (result.get("outcome") or result.get("state")) != "completed":  # its result may have expired since
        raise Said(f"{name} {result.get('state')}: {_in_short(result.get('error') or 'it did not run to its end')}")


def _where(event: Mapping[str, Any]) -> str:
    place = event.get("place")
    return f"queued, place {place}" if place else f"tick {event.get('tick')}  {event.get('phase') or ''}"


def _in_short(error: str) -> str:
    """A failure in a line: where, and, if there is a traceback, what it ends with. All of it is in the result."""
    where, *trace = error.partition("\n\n")[0].rstrip().splitlines()
    if not (trace and trace[0].startswith("Traceback")):
        return error
    last_frame = max(at for at, line in enumerate(trace) if at == 0 or line.startswith(" "))
    return ": ".join([where, *trace[last_frame + 1 :][:1]])  # what else there is are notes


@run.command("list")
@json_option
@click.pass_obj
def list_runs(session: Session) -> None:
    """Runs, the newest last."""
    session.answer("run list")


@run.command()
@click.argument("name")
@json_option
@click.pass_obj
def show(session: Session, name: str) -> None:
    """Where a run stands, on each shard."""
    session.answer("run show", {"run": name})


@run.command()
@click.argument("name")
@json_option
@click.pass_obj
def step(session: Session, name: str) -> None:
    """One tick of a paced run."""
    session.answer("run step", {"run": name})


@run.command()
@click.argument("name")
@click.option("--force", is_flag=True, help="Interrupt its program in the middle of a phase; there is no result.")
@json_option
@click.pass_obj
def stop(session: Session, name: str, force: bool) -> None:
    """Stop a run after the tick it is in."""
    session.answer("run stop", {"run": name, "force": force or None})


run.add_command(result)
run.add_command(ticks)
run.add_command(table)
run.add_command(search)
