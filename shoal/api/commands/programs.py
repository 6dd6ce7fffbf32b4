"""Commands about programs."""

from __future__ import annotations

from typing import Annotated, Any, NotRequired, TypedDict

from shoal.api.command import Command, command
from shoal.api.commands.names import PROGRAM


class ParamRow(TypedDict):
    """A parameter of a program."""

    name: str
    type: str
    default: Any
    doc: str


class ProgramRow(TypedDict):
    """A program that can be run."""

    name: str
    summary: str
    columns: list[str]
    params: list[ParamRow]
    phases: list[str]
    origin: Annotated[str, "installed or deployed"]
    digest: Annotated[str, "of its file"]


class ProgramsReply(TypedDict):
    """All programs."""

    programs: list[ProgramRow]


@command("program list")
class ProgramList(Command[ProgramsReply]):
    """List the programs, their parameters and the columns they compute."""


class ProgramVersionRow(TypedDict):
    """A version of a deployed program."""

    digest: str
    is_current: bool
    deployed_unix_ns: int
    bytes: int
    runs: Annotated[list[str], "that use it"]


class ProgramReply(ProgramRow):
    """One program."""

    versions: NotRequired[Annotated[list[ProgramVersionRow], "of a deployed program"]]
    source: NotRequired[Annotated[str, "of a deployed program, if requested"]]


@command("program show")
class ProgramShow(Command[ProgramReply]):
    """Show the parameters, columns, digest and versions of a program."""

    program: Annotated[str, "name of a program (`program list`)", PROGRAM]
    source: Annotated[bool, "include the source of a deployed program"] = False


class DeployedProgram(ProgramRow):
    """A program that was deployed."""

    program: str
    state: Annotated[str, "deployed, replaced or unchanged"]
    replaced: Annotated[str | None, "its previous digest"]


@command(
    "program deploy",
    changes=True,
    frames=True,
    interrupted="interrupted: the program may have been deployed; `shoalctl program list` shows it",
)
class ProgramDeploy(Command[DeployedProgram]):
    """Deploy a program to all shards (for client libraries: the file follows as a frame).

    One frame contains the file: Python source of at most 64 KiB that defines one class derived from `shoal.Program`, or
    several and `PROGRAM = TheOne`. The daemon checks it in a separate process and refuses it, with the traceback, if it
    can't be imported. It also refuses if `programs.deploy` is not set; [operators.md](operators.md#programs) explains
    the consequences of that setting. Runs in progress keep the version they began with.
    """

    file: Annotated[str | None, "name of the file, for messages and tracebacks"] = None


class RemovedProgram(TypedDict):
    """A program that was removed."""

    program: str
    state: Annotated[str, "removed"]


@command(
    "program remove",
    reads="here",
    changes=True,
    interrupted="interrupted: {program} may have been removed; `shoalctl program list` shows it otherwise",
)
class ProgramRemove(Command[RemovedProgram]):
    """Remove a deployed program; refused while a run uses it.

    The results that the program has computed are kept.
    """

    program: Annotated[str, "name of a program (`program list`)", PROGRAM]
