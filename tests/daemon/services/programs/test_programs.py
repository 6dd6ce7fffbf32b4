"""Finding the program of a run, and looking a file over: on threads and in a process that may do what they like."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import TypeVar

import psutil
import pytest
from msgspec.structs import replace

from daemon.config import ProgramsSection
from daemon.services.programs.programs import Programs
from daemon.state.commands import AddProgram, ProgramVersion, StartRun
from daemon.state.records import RunRecord, begun
from shoal.api.errors import BadParameter, BadProgram, UnknownProgram
from shoal.program.deployed import digest_of
from shoal.program.installed import find_program, installed_digest
from tests.daemon.services.contexts import context_of
from tests.daemon.state.registries import Log

T = TypeVar("T")

SOURCE = b'''
import numpy as np
from shoal import Column, Param, Program

class Zero(Program):
    """Nothing."""
    name = "zero"
    columns = (Column("nothing", np.int64), Column("hidden", np.int64, hidden=True))
    much = Param(1, "how much", least=0)
    def __init__(self, **given):
        super().__init__(**given)
        while self.much == 7:
            pass
        if self.much == 8:
            raise SystemExit("enough")
    def start(self, ws): ws.set("nothing", 0)
    def act(self, ws): ...
'''
RUN = begun(StartRun("zero", "web", "load-1", (), 9, 0, False, 8, (), digest=digest_of(SOURCE)), 1, 1, 77)
ON = ProgramsSection(deploy=True)


def within(work: Callable[[Programs], Awaitable[T]], settings: ProgramsSection = ON, *sources: bytes) -> T:
    """Do it in a loop whose registry has these programs, of the names that `zero` and its like have."""

    async def run() -> T:
        log = Log()
        for source in sources:
            assert not log.apply(AddProgram(ProgramVersion("zero", source, "{}", 0)))
        return await work(Programs(context_of(log.state, config=SimpleNamespace(programs=settings))))

    return asyncio.run(run())


def with_param(much: int) -> RunRecord:
    return replace(RUN, params=(("much", json.dumps(much)),))


# -- finding -----------------------------------------------------------------------------------------------------------


def test_a_deployed_program_is_made_of_the_logs_own_bytes() -> None:
    async def work(programs: Programs) -> None:
        found = await programs.find("zero")
        assert (found.name, found.digest) == ("zero", digest_of(SOURCE))
        declared = await programs.tried(found, {"much": 3})
        assert (declared.columns, declared.phases) == (("nothing",), 0b1010)
        with pytest.raises(BadParameter, match="'much': -1 is out of bounds"):
            await programs.tried(found, {"much": -1})
        made = await programs.make(with_param(3))
        assert made.params == {"much": 3}
        assert type(made) is found.program, "loaded once"

    within(work, ON, SOURCE)


def test_an_installed_program_has_to_be_the_very_one() -> None:
    wcc = find_program("wcc")
    run = replace(RUN, program="wcc", digest=installed_digest(wcc))

    async def work(programs: Programs) -> None:
        assert type(await programs.make(run)) is wcc
        assert type(await programs.make(replace(run, digest=""))) is wcc
        told = (
            f"program 'wcc' is installed here with digest {run.digest[:12]}, and the run uses beefbeefbeef: install "
            "the same version on all machines, restart their daemons, and start the run again"
        )
        with pytest.raises(UnknownProgram, match=told):
            await programs.make(replace(run, digest="beef" * 16))

    within(work)


def test_a_program_that_is_not_here_is_named_with_its_digest() -> None:
    async def work(programs: Programs) -> None:
        with pytest.raises(
            UnknownProgram, match=r"no program is called 'zer'; did you mean 'zero'\?; .*deployed: zero"
        ):
            await programs.find("zer")
        told = rf"no program is called 'zero'.* \(the run uses digest {'ab' * 6}\): install it on all machines, or"
        with pytest.raises(UnknownProgram, match=told):
            await programs.make(replace(RUN, digest="ab" * 32))

    within(work, ON, SOURCE)


def test_a_shard_that_allows_no_deployed_programs_runs_none() -> None:
    async def work(programs: Programs) -> None:
        for ask in (lambda: programs.find("zero"), lambda: programs.make(RUN)):
            with pytest.raises(UnknownProgram, match=r"runs only installed programs: set programs\.deploy = true"):
                await ask()

    within(work, ProgramsSection(), SOURCE)


def test_what_a_program_does_when_it_is_made_harms_nobody() -> None:
    async def work(programs: Programs) -> None:
        began, beats = time.monotonic(), 0

        async def beat() -> None:
            nonlocal beats
            while True:
                beats += 1
                await asyncio.sleep(0.02)

        heart = asyncio.create_task(beat())
        with pytest.raises(UnknownProgram, match=r"program 'zero' is not imported and made within 0.5 s"):
            await programs.make(with_param(7))
        assert time.monotonic() - began < 5
        assert beats > 5, "the loop went on"
        heart.cancel()
        with pytest.raises(UnknownProgram, match="program 'zero' raised SystemExit: enough"):
            await programs.make(with_param(8))

    within(work, ProgramsSection(deploy=True, import_timeout_ns=500_000_000), SOURCE)


# -- looking over ------------------------------------------------------------------------------------------------------


def test_a_good_file_is_described() -> None:
    checked = within(lambda programs: programs.check(SOURCE, "zero.py"))
    described = json.loads(checked.described)
    assert checked.name == described["name"] == "zero"
    assert (described["columns"], described["phases"], described["summary"]) == (
        ["nothing"],
        ["act", "advance"],
        "Nothing.",
    )
    assert [param["name"] for param in described["params"]] == ["much"]


BAD = {
    b"import os\nos._exit(3)\n": "bad.py: the process that imported it ended with status 3 and without a message",
    b"print('x' * 10_000_000)\nclass A: ...\n": "bad.py: defines no public class",
    SOURCE.replace(b'columns = (Column("nothing", np.int64),', b"columns = (7,"): "its declarations can't be read",
    b"import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()\nx = y\n": "NameError: name 'y'",
    b"x = bytearray(6 << 30)\n": "MemoryError",
    b"raise ValueError('x' * 10_000_000)\n": "bad.py: its declarations, or its error, exceed",
}


def test_a_bad_file_is_refused_with_a_sentence() -> None:
    async def work(programs: Programs) -> None:
        for source, told in BAD.items():
            with pytest.raises(BadProgram) as caught:
                await programs.check(source, "bad.py")
            assert told in str(caught.value)

    within(work)


def test_a_file_that_hangs_is_ended_with_all_that_it_started() -> None:
    hanging = b"import subprocess, time\nsubprocess.Popen(['sleep', '61.0625'])\nwhile True: pass\n"

    async def work(programs: Programs) -> None:
        with pytest.raises(BadProgram, match="its import does not end within 3 s"):
            await programs.check(hanging, "hangs.py")
        assert not [each for each in psutil.process_iter(["cmdline"]) if "61.0625" in (each.info["cmdline"] or ())]

    within(work, ProgramsSection(deploy=True, import_timeout_ns=3_000_000_000))
