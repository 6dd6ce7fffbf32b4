"""Handles the admin socket's commands about backups."""

from __future__ import annotations

import asyncio
from pathlib import Path

from daemon.admin.registry import Registry
from daemon.runtime.context import HostContext
from daemon.services.backup.backup import Backup
from daemon.services.graphs.fetch import Fetching
from shoal.api import commands as api
from shoal.api.command import Exchange
from shoal.api.errors import Refused


class BackupCommands:
    """The handler."""

    def __init__(self, context: HostContext, fetching: Fetching, commands: Registry) -> None:
        self._context, self._fetching = context, fetching
        self._backing_up = asyncio.Lock()
        commands.bind(api.cluster.Backup.followed_by(self.backup))

    async def backup(self, asked: api.cluster.Backup, exchange: Exchange) -> api.cluster.BackupReply:
        if self._backing_up.locked():
            raise Refused("another backup is in progress here: wait for its end, or ask another daemon")
        async with self._backing_up:
            return await Backup(self._context, self._fetching, Path(asked.dir), exchange.emit).run()
