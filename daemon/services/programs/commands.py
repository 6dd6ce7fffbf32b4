"""Handles the admin socket's commands about programs.

Anyone who can write to the socket is an operator: its file mode decides who can. There is no other way to deploy.
"""

from __future__ import annotations

import json
from typing import cast

from daemon.admin.registry import Registry
from daemon.runtime.context import HostContext
from daemon.services.known import Known
from daemon.services.programs.programs import Programs
from daemon.state.commands import AddProgram, DropProgram, ProgramVersion
from daemon.state.programs import DeployedPrograms
from shoal.api.command import Exchange
from shoal.api.commands import programs as api
from shoal.api.errors import BadProgram, Failed, Refused, ShoalError, UnknownProgram, Usage, did_you_mean
from shoal.client.local_replies import program_row
from shoal.program.deployed import SOURCE_BYTES_MAX
from shoal.program.installed import installed_digest, installed_programs, is_installed


class ProgramCommands:
    """The handlers."""

    def __init__(self, context: HostContext, known: Known, programs: Programs, commands: Registry) -> None:
        self._context, self._known, self._programs = context, known, programs
        commands.bind(
            api.ProgramList.answered_by(self.program_list),
            api.ProgramShow.answered_by(self.program_show),
            api.ProgramDeploy.followed_by(self.program_deploy),
            api.ProgramRemove.answered_by(self.program_remove),
        )

    @property
    def _deployed(self) -> DeployedPrograms:
        return self._context.state.programs

    async def program_list(self, _: api.ProgramList) -> api.ProgramsReply:
        deployed = [self._row(version) for version in self._deployed.current.values()]
        rows = [*await self._installed(), *deployed]
        return {"programs": sorted(rows, key=lambda row: row["name"])}

    async def program_show(self, asked: api.ProgramShow) -> api.ProgramReply:
        name = asked.program
        version = self._deployed.current.get(name)
        if version is not None:
            runs = self._context.state.registry.runs.values()
            versions: list[api.ProgramVersionRow] = [
                {
                    "digest": one.digest,
                    "is_current": one.is_current,
                    "deployed_unix_ns": one.added_unix_ns,
                    "bytes": len(one.source),
                    "runs": [run.name for run in runs if (run.program, run.digest) == (one.name, one.digest)],
                }
                for one in self._deployed.versions.values()
                if one.name == name
            ]
            shown = cast(api.ProgramReply, {**self._row(version), "versions": versions})
            if asked.source:
                shown["source"] = version.source.decode()
            return shown
        installed = {row["name"]: row for row in await self._installed()}
        if name in installed:
            return cast(api.ProgramReply, installed[name])
        hint = did_you_mean(name, [*installed, *self._deployed.current])
        raise UnknownProgram(f"no program is called '{name}'{hint}; `program list` shows them")

    async def program_deploy(self, asked: api.ProgramDeploy, exchange: Exchange) -> api.DeployedProgram:
        if not self._context.config.programs.deploy:
            raise Refused(
                "this daemon takes no programs: set programs.deploy = true in its configuration, on all machines, and "
                "restart it"
            )
        if len(exchange.frames) != 1 or exchange.frames[0].nbytes > SOURCE_BYTES_MAX:
            raise Usage(f"program deploy takes the bytes of one file, at most {SOURCE_BYTES_MAX >> 10} KiB")
        source = bytes(exchange.frames[0])
        checked = await self._programs.check(source, asked.file or "the file")
        if is_installed(checked.name):
            raise BadProgram.installed(checked.name)
        before = self._deployed.current.get(checked.name)
        version = ProgramVersion(checked.name, source, checked.described, 0)
        await self._known.decided(AddProgram(version))
        after = self._deployed.current[checked.name]
        replaced = before.digest if before is not None and before.digest != after.digest else None
        state = "replaced" if replaced else "deployed" if before is None else "unchanged"
        return {"program": after.name, "state": state, **self._row(after), "replaced": replaced}

    async def program_remove(self, asked: api.ProgramRemove) -> api.RemovedProgram:
        name = asked.program

        def look_again() -> None:
            if name not in self._deployed.current and is_installed(name):
                raise Refused(f"program '{name}' is installed, not deployed: uninstall its package on every machine")

        await self._known.decided(DropProgram(name), look_again)  # the log decides: nothing is read before
        return {"program": name, "state": "removed"}

    # -- within ----------------------------------------------------------------------------------------------------

    async def _installed(self) -> list[api.ProgramRow]:
        """Returns the programs installed here; importing them is foreign code."""

        def look() -> list[api.ProgramRow]:
            programs = installed_programs().values()
            return [program_row(one, "installed", installed_digest(one)) for one in programs]

        try:
            return await self._programs.aside("an installed program", look)
        except ShoalError as error:
            raise Failed(str(error)) from error

    def _row(self, version: ProgramVersion) -> api.ProgramRow:
        described = json.loads(version.described)
        return cast(api.ProgramRow, {**described, "origin": "deployed", "digest": version.digest})
