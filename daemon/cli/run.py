"""Runs: start, watch, wait, step, stop and read what came out."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from daemon.cli.declared import command_of, complete, taking
from daemon.cli.result import result
from daemon.cli.session import TIMEOUT, PairType, Said, Session, in_words, json_option, words
from daemon.cli.table import table
from shoal.api.commands.names import GRAPH
from shoal.api.commands.runs import RunStart, RunWait

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


@run.command(help=RunStart.contract.summary)
@taking(RunStart, without=("graph", "params", "checkpoint_ticks", "load"))
@click.option("--graph", required=True, shell_complete=complete(GRAPH), help="Which graph.")
@click.option("--param", "params", multiple=True, type=PairType(), help="KEY=VALUE of the program; may be repeated.")
@click.option(
    "--checkpoint",
    "checkpoint_ticks",
    type=CheckpointType(),
    metavar="N|time|end",
    help="Keep its state on disk every N ticks, by time (the default), or at its end only.",
)
@click.option("--wait", "waits", is_flag=True, help="Wait until it has finished.")
@click.option("--timeout", type=TIMEOUT, help="Give up waiting after; the run goes on.")
@json_option
@click.pass_obj
def start(
    session: Session,
    /,
    params: tuple[tuple[str, Any], ...],
    paced: bool,
    waits: bool,
    timeout: float | None,
    **given: Any,
) -> None:
    if paced and waits:
        raise click.UsageError("--paced and --wait: a paced run waits for you; start it and use `run step`")
    asked: RunStart = command_of(RunStart, {**given, "paced": paced, "params": dict(params) or None})
    started = session.ask(asked)
    if waits:
        _wait(session, started["run"], timeout)
    else:
        session.show("run start", started)


@run.command(help=f"{RunWait.contract.summary} Exit 1 unless it completed.")
@taking(RunWait)
@json_option
@click.pass_obj
def wait(session: Session, run: str, timeout_seconds: float | None) -> None:
    _wait(session, run, timeout_seconds)


def _wait(session: Session, name: str, timeout: float | None) -> None:
    shown = sys.stderr.isatty() and not session.as_json
    contract, asked = RunWait.contract, RunWait(name, timeout)
    # The daemon gives up by itself; but a paused or hanging one would be waited for with all patience.
    silence = None if timeout is None else min(session.timeout_seconds, timeout + ANSWER_SECONDS)
    try:
        with in_words(), session.connect(silence) as connection:
            stream = connection.stream(contract.name, contract.args(asked))
            for event in stream:
                if shown:
                    click.echo(f"\r\x1b[K{name}  {_where(event)}", err=True, nl=False)
            result = stream.result
    except KeyboardInterrupt:
        words("\n" + contract.after_interrupt(asked))
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


run.add_command(result)
run.add_command(table)
