"""Finds the programs of runs, and keeps their code away from the control loop until it has proved harmless.

A run names the digest of its program. A deployed program comes from the log's own bytes; any other has to be installed
here, in a file with that digest. A shard with another digest, or without the program, reports that and fails the run
before its first tick: shards that run different code would compute different results.

Importing a program, and instantiating it with a run's parameters, runs foreign code: it runs on a thread of its own,
and is bounded in time. Before a deployment, another process checks the file (`daemon.services.programs.check`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Never, TypeVar

from daemon.runtime.clock import Clock
from daemon.runtime.context import HostContext
from daemon.runtime.former_lives import FormerLives
from daemon.runtime.guard import MAKING, OTHER, READING, Guard, Place, Slot
from daemon.runtime.service import Service
from daemon.state import RunEnded
from daemon.state.programs import DESCRIBED_CHARACTERS_MAX
from daemon.state.records import RunRecord
from shoal.api.errors import BadProgram, ShoalError, UnknownProgram
from shoal.lockstep.interruptible import Interrupted, Section
from shoal.program.deployed import program_of
from shoal.program.failures import traceback_of, words_of
from shoal.program.installed import find_program, installed_digest
from shoal.program.program import Program, read_params

log = logging.getLogger("shoal.programs")

T = TypeVar("T")

ELSEWHERE = Place(OTHER, 0, 0)
"""Outside of any run: an operator's request, which nothing repeats automatically."""
DIGITS_SHOWN = 12
"""How much of a digest a sentence shows; `program show` and `run show` have all of it."""
ANSWER_BYTES_MAX = 2 * DESCRIBED_CHARACTERS_MAX
INTERRUPT_SECONDS, INTERRUPT_AGAIN_SECONDS = 1.0, 0.02


@dataclass(frozen=True, slots=True)
class Found:
    """A program that can be run here, and the digest by which other shards know it."""

    name: str
    program: type[Program]
    digest: str


@dataclass(frozen=True, slots=True)
class Declared:
    """What a new run needs to know of its program: the default number of ticks, phases as bits, columns to read."""

    ticks: int
    phases: int
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that can be deployed: what it defines, described as JSON."""

    name: str
    described: str


class Programs(Service[Never, RunEnded]):
    """The programs of one shard."""

    events = (RunEnded,)

    def __init__(
        self, context: HostContext, guard: Guard | None = None, former_lives: FormerLives | None = None
    ) -> None:
        self._context, self._programs, self._settings = context, context.state.programs, context.config.programs
        self._guard, self._former_lives = guard, former_lives
        self._loaded: dict[tuple[str, str], type[Program]] = {}
        self._checking = asyncio.Lock()

    # -- finding ---------------------------------------------------------------------------------------------------

    async def find(self, name: str) -> Found:
        """Returns the program for a new run of that name. Raises `UnknownProgram`."""
        version = self._programs.current.get(name)
        if version is not None:
            return Found(name, await self._deployed(name, version.digest), version.digest)
        return await self.aside(f"program '{name}'", lambda: self._installed(name))

    async def tried(self, found: Found, params: Mapping[str, Any]) -> Declared:
        """Checks that a program takes these parameters. Raises `BadParameter`, and whatever the program raises."""

        def try_it() -> Declared:
            program = found.program
            program(**params)
            phases = sum(1 << phase for phase in program.phases())
            columns = tuple(column.name for column in program.columns if not column.hidden)
            return Declared(program.ticks_default, phases, columns)

        return await self.aside(f"program '{found.name}'", try_it)

    async def make(self, run: RunRecord) -> Program:
        """Instantiates a run's program with its parameters. Raises what it raises, `UnknownProgram` or `Condemned`."""
        if self._former_lives is not None:
            self._former_lives.check(run.number)
        name, digest, at = run.program, run.digest, Place(MAKING, run.number, run.resumed)
        if self._programs.find(name, digest) is not None:
            program = await self._deployed(name, digest, at)
        else:
            program = await self.aside(f"program '{name}'", lambda: self._installed_as(name, digest), at=at)
        return await self.aside(f"program '{name}'", lambda: program(**read_params(run.params)), at=at)

    async def _deployed(self, name: str, digest: str, at: Place = ELSEWHERE) -> type[Program]:
        if not self._settings.deploy:
            raise UnknownProgram(
                f"program '{name}' is deployed, but this shard runs only installed programs: set programs.deploy = "
                "true in its configuration and restart it"
            )
        version = self._programs.find(name, digest)
        assert version is not None
        if (name, digest) not in self._loaded:
            program = await self.aside(f"program '{name}'", lambda: program_of(version.source, name), at=at)
            if program.name != name:
                raise UnknownProgram(f"the program deployed as '{name}' has the name '{program.name}': deploy it again")
            self._loaded.setdefault((name, digest), program)
        return self._loaded[name, digest]

    def _installed(self, name: str) -> Found:
        program = find_program(name, self._programs.current)
        return Found(name, program, installed_digest(program))

    def _installed_as(self, name: str, digest: str) -> type[Program]:
        """Returns the installed program, if it has this digest."""
        try:
            found = self._installed(name)
        except UnknownProgram as unknown:
            which = f" (the run uses digest {digest[:DIGITS_SHOWN]})" if digest else ""
            raise UnknownProgram(f"{unknown}{which}: install it on all machines, or deploy it") from unknown
        if digest and found.digest != digest:
            raise UnknownProgram(
                f"program '{name}' is installed here with digest {found.digest[:DIGITS_SHOWN]}, and the run uses "
                f"{digest[:DIGITS_SHOWN]}: install the same version on all machines, restart their daemons, and start "
                "the run again"
            )
        return found.program

    # -- checks ----------------------------------------------------------------------------------------------------

    async def check(self, source: bytes, label: str) -> Checked:
        """Checks a file before its deployment. Raises `BadProgram`."""
        async with self._checking:
            told = await self._told_of(source, label)
        if "error" in told:
            raise BadProgram(str(told["error"]))
        described = json.dumps(told["described"])
        if len(described) > DESCRIBED_CHARACTERS_MAX:
            raise BadProgram(f"{label}: its declarations exceed {DESCRIBED_CHARACTERS_MAX} characters")
        return Checked(str(told["name"]), described)

    async def _told_of(self, source: bytes, label: str) -> dict[str, Any]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "daemon.services.programs.check", label),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            start_new_session=True,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        seconds, answer = self._settings.import_timeout_ns / 1e9, b""
        try:
            async with asyncio.timeout(seconds):
                process.stdin.write(source)
                process.stdin.close()
                while len(answer) <= ANSWER_BYTES_MAX and (more := await process.stdout.read(ANSWER_BYTES_MAX)):
                    answer += more
        except TimeoutError:
            raise BadProgram(
                f"{label}: its import does not end within {seconds:g} s (programs.import_timeout): a program's file "
                "should only contain definitions"
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = await process.wait()
        if len(answer) > ANSWER_BYTES_MAX:
            raise BadProgram(f"{label}: its declarations, or its error, exceed {ANSWER_BYTES_MAX} bytes")
        try:
            told = json.loads(answer)
            assert isinstance(told, dict)
        except ValueError:
            how = f"signal {-status}" if status < 0 else f"status {status}"
            raise BadProgram(f"{label}: the process that imported it ended with {how} and without a message") from None
        return told

    # -- foreign code ----------------------------------------------------------------------------------------------

    async def read(self, run: RunRecord, tick: int, what: str, call: Callable[[], T]) -> T:
        """Lets a run's program compute rows of a table. Raises what it raises, `UnknownProgram` or `Condemned`."""
        if self._former_lives is not None:
            self._former_lives.check(run.number, reading=True)
        return await self.aside(what, call, "read", at=Place(READING, run.number, tick))

    def on_event(self, event: RunEnded) -> None:
        """Forgets a run that the log has ended."""
        if self._former_lives is not None:
            self._former_lives.forget(event.run.number)

    def _slot(self) -> AbstractContextManager[Slot | None]:
        return self._guard.borrowed() if self._guard is not None else contextlib.nullcontext()

    async def aside(
        self, what: str, call: Callable[[], T], done_to_it: str = "imported and made", at: Place = ELSEWHERE
    ) -> T:
        """Calls foreign code on a thread of its own, for at most `programs.import_timeout`. Raises what it raises.

        Raises `UnknownProgram` instead of an exception that would end more than the call, such as `SystemExit`, and for
        a call that does not return: `what` is not `done_to_it` in time.
        """
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        section: Section[str] = Section(place=lambda _: at)
        clock = self._context.clock

        def settle(result: T | None, error: BaseException | None) -> None:
            if answer.done():
                return
            if error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(result)  # type: ignore[arg-type]

        def work() -> None:
            try:
                with self._slot() as section.slot:
                    result = section.run(what, clock.monotonic_ns(), call)
            except Interrupted:
                log.warning("%s was interrupted", what)
            except Exception as error:
                self._context.soon(settle, None, error)
            except BaseException as error:  # SystemExit would end the awaiting task's loop
                told = f"{what} raised {type(error).__name__}: {words_of(error)}"
                self._context.soon(settle, None, UnknownProgram(told))
            else:
                self._context.soon(settle, result, None)

        self._context.aside(work)
        seconds = self._settings.import_timeout_ns / 1e9
        done, _ = await asyncio.wait([answer], timeout=seconds)
        if not done:
            answer.cancel()
            await _interrupted(section, clock)
            raise UnknownProgram(f"{what} is not {done_to_it} within {seconds:g} s (programs.import_timeout)")
        return answer.result()


async def _interrupted(section: Section[str], clock: Clock) -> None:
    """Interrupts a thread's Python code; native code continues on a thread that is never joined."""
    until_ns = clock.monotonic_ns() + int(INTERRUPT_SECONDS * 1e9)
    while (busy := section.busy) is not None and clock.monotonic_ns() < until_ns:
        section.interrupt(busy)
        await asyncio.sleep(INTERRUPT_AGAIN_SECONDS)


def failure_of(error: Exception) -> str:
    """Returns the text of a run's failure when its program is unavailable."""
    return words_of(error) if isinstance(error, ShoalError) else traceback_of(error)
