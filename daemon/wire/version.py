"""The cluster versions that this Shoal writes and reads.

Daemons of two adjacent versions work together while a cluster is upgraded, one daemon after the other. So the *cluster
version* bounds what a daemon may write, to a peer, into the log or onto its disk: a number in the log that the tick
leader raises once every member can read what is new (`state/cluster_version`, `control/raising`).

A change of a format takes the next number. A record gets a new field at its end, with a default (`shoal/api/struct`),
a message or command a new class with `SINCE`; the codec writes each in the newest form that the cluster version allows
(`wire/codec`). Existing formats never change their meaning, and tags are never reused.
"""

from __future__ import annotations

from typing import Final

FIRST: Final = 4
"""The form that every version reads: shards use it until they know their cluster's version. It has no fields or classes
that are `since` a later one. It rises only with a change that ends compatibility with all older versions."""

OLDEST: Final = 4
"""The lowest cluster version that this Shoal supports: at most one below the newest, once there are several."""

NEWEST: Final = 4
"""The highest cluster version that this Shoal supports. Every `since` names this one or an earlier one."""
