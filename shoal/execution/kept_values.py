"""What nodes and agents may keep from tick to tick: plain values that belong to nobody else. See native/plain.c.

State is kept by value, so a list under two names is two lists when a run goes on from a checkpoint. Whoever makes one
is told in the tick that made it, on one shard as on eight, with checkpoints or without, and not by another answer after
a machine was lost.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from shoal import _native

HELD_ELSEWHERE: Final = (
    "under another name, by another node or agent, or by the program; each would be a thing of its own once the run"
    " goes on from a checkpoint: keep a copy, such as list(x) or dict(x)"
)


class Unkept(NamedTuple):
    """What can't be kept: in which of the dicts that were looked at, the way to it, and why."""

    place: int
    path: str
    why: str


def first_unkept(
    dicts: list[dict[Any, Any]],
    plain: str,
    *,
    held: int = 0,
    skip: str | None = None,
    tuples: bool = True,
    shared: bool = False,
) -> Unkept | None:
    """The first thing in any of the dicts that is not plain, or held by others, too; `plain` says what is.

    `held` is how many hold the dicts themselves, the list that is given among them; 0 does not look. `skip` is an entry
    that is not looked at. `shared`: others may hold what is in them, for it is copied at once.
    """
    found = _native.plain(dicts, held, skip, tuples, shared)
    if found is None:
        return None
    place, path, why, kind = found
    if "elsewhere" in why:
        return Unkept(place, path, f"is a {kind.__name__} and {why.removeprefix('is ')}: {HELD_ELSEWHERE}")
    if why == "is not plain":
        return Unkept(place, path, f"is of type {kind.__name__}; {plain}")
    return Unkept(place, path, why)
