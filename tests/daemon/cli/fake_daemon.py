"""A process that stands where a daemon would: it reads a real configuration and answers `status` on its admin socket.

How it behaves is said by a word in the file `mood` beside its configuration: "stubborn" ignores SIGTERM, "dies" ends
with a last word, "alone" never joins.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from daemon.admin.registry import Registry
from daemon.admin.server import AdminServer
from daemon.config import load
from shoal.api.commands.cluster import Status


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path)
    path = parser.parse_args().config
    config = load(path)
    mood = (path.parent / "mood").read_text() if (path.parent / "mood").exists() else ""
    if mood == "dies":
        print("no disk left to stand on", file=sys.stderr)
        sys.exit(3)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, (lambda: None) if mood == "stubborn" else stop.set)

    async def status(_: Status) -> Any:
        joined = {"state": "joined", "epoch": 1, "leader": "shard-1"}
        alone = {"state": "starting", "epoch": 0, "leader": None}
        shown = alone if mood == "alone" else joined
        return {"shard": config.cluster.shard, "pid": os.getpid(), **shown}

    commands = Registry()
    commands.bind(Status.answered_by(status))
    server = AdminServer(commands, config.admin.socket, mode=config.admin.mode_bits)
    await server.start()
    await stop.wait()
    await server.close()


if __name__ == "__main__":
    asyncio.run(main())
