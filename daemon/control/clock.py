"""Keeps runs in step: grants ticks and gossips progress.

Combines `pacing` and `progress`, and expresses both as effects of the control plane.
"""

from __future__ import annotations

from collections.abc import Iterable
from random import Random
from typing import assert_never

from daemon.control.effects import Answered, BeginRun, Effect, GrantTicks, HealBarrier, Send
from daemon.control.messages import Grant, Progress, StepReply, StepRequest
from daemon.control.pacing import Pacing
from daemon.control.progress import ProgressGossip
from daemon.state.records import RunRecord, View


class Clock:
    """The pacing and progress of one shard's runs."""

    def __init__(self, shard: str, interval_ns: int, targets: int, random: Random) -> None:
        self._shard = shard
        self._view: View | None = None
        self.pacing = Pacing()
        self.progress = ProgressGossip(shard, interval_ns, targets, random)

    @property
    def deadline(self) -> int | None:
        """When the next grant or gossip is due."""
        return min((at for at in (self.pacing.deadline, self.progress.deadline) if at is not None), default=None)

    def wake(self, now: int) -> list[Effect]:
        """Grants what is due, and gossips."""
        return [*self._grant(now), *(Send(to, message) for to, message in self.progress.gossip(now))]

    def enter_view(self, view: View) -> None:
        """Continues runs among the members of this view."""
        self._view = view
        self.progress.enter_view(view.epoch, view.names)

    def begin(self, run: RunRecord, view: View, now: int) -> BeginRun:
        """Begins a run in the view, for the first time or again."""
        self.progress.begin(run.number, now)
        return BeginRun(run, view, self.pacing.begin(run, now))

    def end(self, run: int) -> None:
        """Ends a run."""
        self.progress.end(run)
        self.pacing.end(run)

    def committed(self, run: int, tick: int, now: int) -> list[Effect]:
        """Notes that this shard committed a tick of a paced run."""
        self.pacing.committed(run, tick)
        return self._grant(now)

    def hear(self, sender: str, message: Grant | StepRequest | StepReply | Progress, now: int) -> list[Effect]:
        """Processes a member's message about ticks."""
        match message:
            case Grant():
                return self.hear_grant(message)
            case StepRequest():
                return self.step(sender, message, now)
            case StepReply():
                return self.hear_step(message)
            case Progress():
                return self.hear_progress(message, now)
            case _:
                assert_never(message)

    def hear_grant(self, grant: Grant) -> list[Effect]:
        """Applies a grant, from the leader or inferred from gossip."""
        return [GrantTicks(grant.run, grant.tick)] if self.pacing.hear(grant) else []

    def hear_progress(self, progress: Progress, now: int) -> list[Effect]:
        """Applies gossip. Any tick that a shard is in was granted: so a grant survives a leader that was cut off."""
        news = self.progress.hear(progress, now)
        heal: list[Effect] = [HealBarrier(progress.run, tuple(news))] if news else []
        granted = max((shard.tick for shard in progress.shards), default=0)
        return heal + self.hear_grant(Grant(progress.run, granted))

    def step(self, asker: str, asked: StepRequest, now: int) -> list[Effect]:
        """Leader only: grants one more tick of a stepped run."""
        tick = self.pacing.step(asked.run, asked.request, now)
        if tick is None:
            return []
        answer: Effect = Answered(asked.request, "", tick=tick)
        if asker != self._shard:
            answer = Send(asker, StepReply(asked.request, asked.run, tick))
        return [*self._spread([Grant(asked.run, tick)]), answer]

    def hear_step(self, granted: StepReply) -> list[Effect]:
        """Processes the leader's answer to a step requested here."""
        answer = Answered(granted.request, "", tick=granted.tick)
        return [*self.hear_grant(Grant(granted.run, granted.tick)), answer]

    def _grant(self, now: int) -> list[Effect]:
        return self._spread(self.pacing.wake(now))

    def _spread(self, grants: Iterable[Grant]) -> list[Effect]:
        peers = [name for name in self._view.names if name != self._shard] if self._view else []
        effects: list[Effect] = []
        for grant in grants:
            effects.append(GrantTicks(grant.run, grant.tick))
            effects += [Send(peer, grant) for peer in peers]
        return effects
