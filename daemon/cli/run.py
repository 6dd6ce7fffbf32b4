"""Commands for runs: start, watch, wait, step, stop and read results."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, Final

import click

from daemon.cli.declared import command_of, complete, taking
from daemon.cli.result import result
from daemon.cli.session import TIMEOUT, CommandFailed, PairType, Session, interrupted, json_option, reported_errors
from daemon.cli.table import table
from shoal.api.commands.names import GRAPH
from shoal.api.commands.runs import RunStart, RunWait

ANSWER_SECONDS: Final = 5.0
"""The time that the daemon has to report an expired timeout."""


class CheckpointType(click.ParamType[int]):
    """The distance between checkpoints: a number of ticks, or "time" (0), or "end" (-1)."""

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
    """Start, watch, step and stop runs of programs, and read their results."""


@run.command(help=RunStart.contract.summary)
@taking(RunStart, without=("graph", "params", "checkpoint_ticks", "load"))
@click.option("--graph", required=True, shell_complete=complete(GRAPH), help="Name of a graph.")
@click.option(
    "--param", "params", multiple=True, type=PairType(), help="A parameter KEY=VALUE of the program; may be repeated."
)
@click.option(
    "--checkpoint",
    "checkpoint_ticks",
    type=CheckpointType(),
    metavar="N|time|end",
    help="Write a checkpoint every N ticks, by time (the default), or at the end only.",
)
@click.option("--wait", "waits", is_flag=True, help="Wait for the end of the run.")
@click.option("--timeout", type=TIMEOUT, help="Stop waiting after this time; the run continues.")
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
        raise click.UsageError("--paced and --wait: a paced run waits for `run step`: start it without --wait")
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
    # The daemon reports an expired timeout itself; this bounds the wait for a paused or hanging daemon.
    silence = None if timeout is None else min(session.timeout_seconds, timeout + ANSWER_SECONDS)
    try:
        with reported_errors(), session.connect(silence) as connection:
            stream = connection.stream(contract.name, contract.args(asked))
            for event in stream:
                if shown:
                    click.echo(f"\r\x1b[K{name}  {_where(event)}", err=True, nl=False)
            result = stream.result
    except KeyboardInterrupt:
        raise interrupted(asked) from None
    finally:
        if shown:
            click.echo("\r\x1b[K", err=True, nl=False)
    session.show("run wait", result)
    if (result.get("outcome") or result.get("state")) != "completed":  # its result may have expired since
        raise CommandFailed(f"{name} {result.get('state')}: {_in_short(result.get('error') or 'it did not complete')}")


def _where(event: Mapping[str, Any]) -> str:
    place = event.get("place")
    return f"queued, place {place}" if place else f"tick {event.get('tick')}  {event.get('phase') or ''}"


def _in_short(error: str) -> str:
    """Returns a failure in one line: the place and, if there is a traceback, its last line."""
    where, *trace = error.partition("\n\n")[0].rstrip().splitlines()
    if not (trace and trace[0].startswith("Traceback")):
        return error
    last_frame = max(at for at, line in enumerate(trace) if at == 0 or line.startswith(" "))
    return ": ".join([where, *trace[last_frame + 1 :][:1]])  # the rest are notes


run.add_command(result)
run.add_command(table)
