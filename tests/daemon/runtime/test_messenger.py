"""How much of the loop a peer's messages may take, at a post with a clock of our own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from daemon.config.keys import AllowedKeys, KeyPair, generate
from daemon.observe.metrics import Metrics
from daemon.runtime import messenger as module
from daemon.runtime.messenger import OUTSIDERS_SHARE, Messenger
from daemon.services.results.messages import KeptTicksRequest
from daemon.state.commands import Identity
from daemon.transport.control import ControlTransport
from daemon.transport.security import Curve
from daemon.transport.sockets import TransportLimits
from daemon.vocabulary import CONTROL_TYPES
from daemon.wire import Codec

SECOND = 1_000_000_000
WORK = SECOND // 100


class Office:
    """A post whose messages come by hand, and cost what the test says."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = self.worked = 0
        self.heard: Counter[str] = Counter()
        self.metrics = Metrics()
        clock = SimpleNamespace(monotonic_ns=lambda: self.now, thread_time_ns=lambda: self.worked)
        monkeypatch.setattr(module, "time", clock)
        pair: KeyPair = generate(folder, "alpha")
        (folder / "allowed_keys").write_text((folder / "alpha.public_key").read_text())
        allowed = AllowedKeys(folder / "allowed_keys")
        self.codec = Codec("demo", CONTROL_TYPES)
        connect = partial(
            ControlTransport, "tcp://127.0.0.1:*", curve=Curve(pair, allowed.name_of), limits=TransportLimits()
        )
        self.messenger = Messenger(Identity("alpha", 1), self.codec, connect, allowed, {}, self.metrics, self._hear)

    def _hear(self, sender: Identity, _: Any) -> None:
        self.heard[sender.name] += 1
        self.worked += WORK

    def say(self, name: str, seconds: float, a_second: int = 50) -> int:
        """So many messages, evenly; how many were heard."""
        before = self.heard[name]
        for _ in range(int(seconds * a_second)):
            self.now += SECOND // a_second
            self.messenger._deliver(name, self.codec.encode(1, name, 1, KeptTicksRequest("q", 1)))
        return self.heard[name] - before


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Office], None]], None]:
    def run(test: Callable[[Office], None]) -> None:
        async def main() -> None:
            made = Office(tmp_path, monkeypatch)
            try:
                test(made)
            finally:
                made.messenger.close()

        asyncio.run(main())

    return run


def test_who_is_not_in_the_view_has_little_and_members_have_enough(office: Any) -> None:
    def test(office: Office) -> None:
        office.messenger.enter_view(0, frozenset({"alpha", "beta"}))
        assert office.say("mallory", 100) < (OUTSIDERS_SHARE * 100 + 1) * SECOND / WORK
        dropped = office.metrics.registry.get_sample_value("shoal_dropped_total", {"reason": "flood"})
        assert dropped is not None
        assert dropped > 4000
        assert office.say("beta", 100, a_second=15) == 1500
        assert office.say("gamma", 4) > 50, "another's flood is not charged to it"

    office(test)


def test_who_is_in_no_view_yet_hears_all_as_members(office: Any) -> None:
    def test(office: Office) -> None:
        assert office.say("leader", 100, a_second=15) == 1500

    office(test)


def test_a_leader_is_never_silenced_for_long(office: Any) -> None:
    """However much what it said has cost: silence would be taken for its death."""

    def test(office: Office) -> None:
        office.messenger.enter_view(0, frozenset({"leader"}))
        office.say("leader", 0.02)
        office.worked += 100 * SECOND
        office.messenger._insiders.spent("leader", 100 * SECOND, office.now)
        office.now += SECOND // 3
        assert office.say("leader", 0.02) == 1

    office(test)


def test_who_said_what_is_dropped_is_told(office: Any) -> None:
    said: list[str | None] = []

    def test(office: Office) -> None:
        office.messenger._deliver("mallory", [b"\xc1"])
        office.messenger._deliver("mallory", office.codec.encode(1, "beta", 1, KeptTicksRequest("q", 1)))
        refusals = office.messenger._told._refusals
        assert refusals.deadline is not None
        said.append(refusals.due(refusals.deadline))

    office(test)
    assert said == ["control: 2 messages dropped: 1 impostor (mallory), 1 malformed (mallory)"]


def test_a_key_that_gossip_tells_of_is_used_only_if_it_is_allowed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def run() -> None:
        office = Office(tmp_path, monkeypatch)
        allowed = AllowedKeys(tmp_path / "allowed_keys").key_of("alpha")
        assert allowed is not None
        assert office.messenger.key_of(allowed) == allowed
        assert office.messenger.key_of(generate(tmp_path, "stranger").public) is None
        office.messenger.close()

    asyncio.run(run())
