"""Real daemons whose tick plane loses every word of an entry: gossip on the control plane has it all the same."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import pytest

import daemon.life as main
import shoal
from daemon.config import Config, load
from daemon.observe.notify import Notifier
from daemon.runtime.tick_thread import TickThread
from shoal.lockstep.messages import BarrierRaised, PhaseDone, PhaseSent

TICKS = 3


def configs(folder: Path) -> list[Config]:
    probes = [socket.socket() for _ in range(4)]
    for probe in probes:
        probe.bind(("127.0.0.1", 0))
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    found = []
    for own, other, name, peer in ((0, 2, "a", "b"), (2, 0, "b", "a")):
        (folder / f"{name}.toml").write_text(f"""
            [cluster]
            shard = "{name}"
            expect = 2
            seeds = ["{peer}@tcp://127.0.0.1:{ports[other]}"]
            data = "{name}.data"
            [listen]
            control = "tcp://127.0.0.1:{ports[own]}"
            ticks = "tcp://127.0.0.1:{ports[own + 1]}"
            [security]
            encryption = "none"
            [admin]
            socket = "{name}.sock"
            [metrics]
            listen = ""
        """)
        found.append(load(folder / f"{name}.toml", {}))
    return found


def use(config: Config) -> list[Any]:
    """Runs a program whose every tick is a checkpoint, so that entries come behind the data."""
    with shoal.connect(config.admin.socket) as session:
        graph = session.load("ring", data=shoal.from_arrays(["a", "b", "c"], ["b", "c", "a"]))
        run = graph.run("pagerank", ticks=TICKS, checkpoint=1, timeout=30)
        return run.result("rank").top(3)


def is_joined(config: Config) -> bool:
    if not config.admin.socket.exists():
        return False
    with shoal.connect(config.admin.socket) as session:
        return bool(session.status()["state"] == "joined")


async def serve(both: list[Config]) -> list[Any]:
    daemons = [main.Daemon(config, Notifier()) for config in both]
    running = [asyncio.ensure_future(each.run()) for each in daemons]
    try:
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(is_joined, both[0]):
                await asyncio.sleep(0.02)
            return await asyncio.to_thread(use, both[0])
    finally:
        for each, end in reversed(
            [*zip(daemons, running, strict=True)]
        ):  # signal handlers are given back in this order
            each._told_to_stop()
            each._told_to_stop()  # the second one waits for no drain
            await end


def test_a_run_goes_on_by_gossip_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encode, lost, shares = TickThread._encode, [0], [0]

    def loses_entries(thread: TickThread, message: object) -> list[Any]:
        if isinstance(message, BarrierRaised | PhaseSent):
            lost[0] += 1
            return []
        shares[0] += isinstance(message, PhaseDone)
        return encode(thread, message)

    monkeypatch.setattr(TickThread, "_encode", loses_entries)
    top = asyncio.run(serve(configs(tmp_path)))
    assert [node for node, _ in top] == ["a", "b", "c"]
    assert shares[0] == 2 * (TICKS + 1), "nothing had to be sent twice"
    assert lost[0] >= 2 * TICKS
