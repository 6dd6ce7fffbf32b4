"""What the admin socket answers about how a cluster begins."""

from __future__ import annotations

import logging

from daemon.admin.registry import Refused, Registry, Reply, Request
from daemon.runtime.loop import Runtime

log = logging.getLogger("shoal.admin")


class FoundingOperations:
    """The handlers."""

    def __init__(self, runtime: Runtime, commands: Registry) -> None:
        self._runtime = runtime
        commands.bind("found", self.found)

    async def found(self, _: Request) -> Reply:
        reason = self._runtime.found()
        if reason:
            raise Refused(f"nothing is founded: {reason}")
        shard = self._runtime.shard
        log.info("founded a cluster, as %s, because an operator said so", shard.founding)
        return Reply({"shard": self._runtime.me.name, "founding": shard.founding})
