"""Each service is broken in one place, and some seed of a scenario must detect it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from daemon.services.cluster.view_change import ViewChange
from daemon.services.graphs.fetch import Fetching
from daemon.services.graphs.messages import StatesRequest
from daemon.services.graphs.repair import Repair
from daemon.services.graphs.staging import Staging
from daemon.services.runs.checkpoints import Checkpoints
from daemon.services.runs.controller import RunController
from daemon.state.commands import Identity
from daemon.state.records import RunRecord, View
from shoal.lockstep.effects import StoreStates
from tests.simulator.scenarios import SCENARIOS, Scenario

SEEDS = 40
"""The maximum: the first failing seed is enough."""

answer, ask, begin, connect = Fetching.on_message, Fetching._ask, RunController._begin_run, ViewChange._connect
keep, tell = Checkpoints.keep, Checkpoints._tell


async def _states_are_not_sent(self: Fetching, sender: Identity, message: Any) -> Any:
    return None if isinstance(message, StatesRequest) else await answer(self, sender, message)


async def _the_wrong_holder_is_asked(self: Fetching, source: str, wanted: Any) -> Any:
    names = self._context.state.registry.view.names  # type: ignore[union-attr]
    return await ask(self, names[names.index(source) - 1] if source in names else source, wanted)


def _a_run_is_begun_but_once(self: RunController, run: RunRecord, view: View) -> None:
    if not run.resumed and run.epoch == run.begun_in:
        begin(self, run, view)


def _one_peer_is_not_spoken_to(self: ViewChange, view: View) -> None:
    connect(self, View(view.epoch, view.members[:-1], view.virtual_nodes, view.replicas))


def _it_is_durable_before_it_is_written(self: Checkpoints, states: StoreStates, lost: Callable[[str], None]) -> None:
    self._context.ticks.order(lambda: self._context.ticks.stored(states.token))
    keep(self, states, lost)


def _nothing_is_held(self: Checkpoints, asked: Any, held: Any, reached: Any) -> None:
    tell(self, asked, {}, reached)


def _nothing(*_: Any) -> None:
    """Does nothing."""


@pytest.mark.parametrize(
    ("service", "name", "broken", "scenario"),
    [
        (Fetching, "on_message", _states_are_not_sent, "kill-and-go-on"),
        (Fetching, "_ask", _the_wrong_holder_is_asked, "join-and-grow"),
        (RunController, "_begin_run", _a_run_is_begun_but_once, "kill-and-go-on"),
        (RunController, "_forget_states", _nothing, "graph-replaced"),
        (ViewChange, "_connect", _one_peer_is_not_spoken_to, "join-and-grow"),
        (Checkpoints, "keep", _it_is_durable_before_it_is_written, "kill-and-go-on"),
        (Checkpoints, "_tell", _nothing_is_held, "kill-and-go-on"),
        (Repair, "_look_for_results", _nothing, "rolling-restart"),
        (Staging, "_drop_undecided", _nothing, "lossy-load"),
    ],
)
def test_a_broken_service_is_noticed(
    monkeypatch: pytest.MonkeyPatch, service: type, name: str, broken: Callable[..., object], scenario: str
) -> None:
    monkeypatch.setattr(service, name, broken)
    with pytest.raises(AssertionError):
        _try_seeds(SCENARIOS[scenario])


def _try_seeds(scenario: Scenario) -> None:
    for seed in range(SEEDS):
        scenario(seed, False)
