"""A few commands of another daemon than ours, for tests of what carries them."""

from __future__ import annotations

from typing import Annotated, Any

from shoal.api.command import Command, command


@command("status")
class Status(Command[Any]):
    """s"""


@command("graph load", frames=True, changes=True, events=dict)
class Load(Command[Any]):
    """l"""

    name: Annotated[str, "n"]


@command("run wait", events=dict)
class Wait(Command[Any]):
    """w"""


@command("large")
class Large(Command[Any]):
    """l"""


@command("refuse")
class Refuse(Command[Any]):
    """r"""


@command("fail")
class Fail(Command[Any]):
    """f"""


@command("broken")
class Broken(Command[Any]):
    """b"""


@command("nobody")
class Nobody(Command[Any]):
    """n"""
