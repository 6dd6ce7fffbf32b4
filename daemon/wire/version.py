"""The cluster versions that this Shoal writes and reads.

Daemons of two adjacent versions work together while a cluster is upgraded, one daemon after the other. So what a daemon
may write, to a peer, into the log or onto its disk, is bounded by the *cluster version*: a number in the log that the
tick leader raises once every member can read what is new (`state/cluster_version`, `control/raising`).

A change of a format takes the next number. A record gets a new field at its end, with a default (`shoal/api/struct`),
a message or command a new class with `SINCE`; the codec writes each in the newest form that the cluster version allows
(`wire/codec`). Nothing that there is changes its meaning, and no tag is given out twice.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 4
"""The form that every version reads: what shards say that don't know their cluster's version yet. It has no fields or
classes that are `since` a later one. It rises only with a change that cuts all ties with older versions."""

OLDEST: Final = 4
"""The lowest version of a cluster that this Shoal can be a member of: at most one below the newest, once there are
several."""

NEWEST: Final = 4
"""The highest one. Whatever is `since` a version is since this one or an earlier one."""
