"""The composition root of the control plane: membership, consensus, registry, pacing and progress of one shard.

Machines never call each other; the control plane routes between them, by two components of its own (`Replica` and
`Following`). It is a pure machine with the same interface, so the daemon's runtime and the simulator host the very same
code. The path of a message::

    step -> membership -------------------------------------------------> effects
         -> replica (consensus, the log) -> registry -> following ------> effects
         -> following (reports, grants, progress) ----------------------> effects
    read -> replica (how far the log is to be applied) -----------------> effects
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from random import Random
from typing import Any, assert_never

from consensus import Persist, Raft
from daemon.control.clock import Clock
from daemon.control.effects import Answered, Effect, KeepPromise, Send, SendToAddress
from daemon.control.following import Following
from daemon.control.holdings import Holdings
from daemon.control.leader.messages import RunReport
from daemon.control.leader.resume import StatesHeld
from daemon.control.lives import LIFE_TAG
from daemon.control.messages import DiskForgets, Progress, Proposal, ReadIndexReply, ReadIndexRequest, StepRequest
from daemon.control.pacing import Pacing
from daemon.control.progress import ProgressGossip
from daemon.control.replica import Replica
from daemon.control.routing import CONSENSUS_MESSAGES, LEADERS_ANSWERS, MEMBERSHIP_MESSAGES
from daemon.control.seat import LEAVING_TAG, Seat
from daemon.control.settings import NOTHING_ON_DISK, OnDisk, ShardSettings
from daemon.control.trust import Trust
from daemon.control.versions import VERSION_TAG, version_in_sight, why_kept_out
from daemon.membership import effects as swim
from daemon.membership.machine import Membership
from daemon.membership.messages import Member
from daemon.state import ReplicatedState
from daemon.state.commands import Identity
from daemon.state.machine import Command
from daemon.state.programs import DeployedPrograms
from daemon.state.registry import Registry
from daemon.wire import Rejected

FOLLOW_UPS_MAX = 64
"""In one door; what is left waits for the next."""


class ControlPlane:
    """One shard's control plane."""

    def __init__(
        self,
        member: Member,
        seeds: Sequence[str],
        settings: ShardSettings,
        random: Random,
        now: int,
        on_disk: OnDisk = NOTHING_ON_DISK,
    ) -> None:
        self.identity = Identity(member.name, member.generation)
        self._is_lone = all(seed == member.control for seed in seeds)
        self._expect, self._version = settings.expect, settings.version
        life = on_disk.life
        self._seat = Seat(
            member.name,
            on_disk.disk,
            settings.expect,
            settings.consensus.voters_max,
            {VERSION_TAG: settings.version.tag, **dict(member.tags), LIFE_TAG: life.tag},
            is_lone=self._is_lone,
            promise=on_disk.promise,
        )
        tags = self._seat.tags if on_disk.stored is not None else self._seat.declaration()
        member = replace(member, tags=tuple(sorted(tags.items())))
        self.membership = Membership(
            member, seeds, settings.membership, random, now, is_authenticated=settings.is_authenticated
        )
        self._state = ReplicatedState(newest=settings.version.newest)
        self._following = Following(self.identity, self.registry, settings, on_disk, random)
        self.trust = Trust(self.identity, life, self.membership, self.registry)
        self._replica = Replica(
            self.identity,
            self._seat,
            self.membership,
            self._state,
            self._following,
            self.trust,
            settings,
            random,
            now,
        )
        self._out: list[Effect] = []
        if on_disk.stored is not None:
            self._decided(self._replica.start(on_disk.stored, now), now)

    # -- doors -----------------------------------------------------------------------------------------------------

    @property
    def deadline(self) -> int | None:
        """The earliest of all machines."""
        times = [self.membership.deadline, self._replica.deadline, self._following.deadline]
        return min((time for time in times if time is not None), default=None)

    def step(self, sender: Identity, message: Any, now: int) -> list[Effect]:
        """Take a message that the codec has let through. What makes no sense here and now changes nothing."""
        if isinstance(message, MEMBERSHIP_MESSAGES):
            self._take_membership(self.membership.step(sender.name, message, now), now)
        elif not self._may_say(sender, message):
            self._out.append(swim.Counted("control_unauthorized"))
        elif isinstance(message, CONSENSUS_MESSAGES):
            if self.founding:  # before, there is no telling whether it is from the cluster that this shard waits for
                self._decided(self._replica.step(sender, message, now), now)
        elif isinstance(message, Proposal):
            self._decided(self._replica.propose_for(sender, message, now), now)
        elif isinstance(message, ReadIndexRequest):
            self._decided(self._replica.read_for(sender, message, now), now)
        elif isinstance(message, ReadIndexReply):
            self._decided(self._replica.told(message, now), now)
        elif isinstance(message, DiskForgets):
            self._out += self.trust.hear(sender, message)
        else:
            self._out += self._following.hear(sender, message, now)
        return self._flush(now)

    def _may_say(self, sender: Identity, message: Any) -> bool:
        """Whether a message of its kind counts from this sender. One that was sent in good faith is sent again."""
        if isinstance(message, LEADERS_ANSWERS):
            return sender.name == self.leader
        return not isinstance(message, Progress) or self.registry.has_member(sender)

    def wake(self, now: int) -> list[Effect]:
        """Let every machine look at the time."""
        self._take_membership(self.membership.wake(now), now)
        if self.raft is None and (self._is_lone or (self._seat.promise is not None and self._seat.promise.is_alone)):
            self._try_to_found(now)  # nobody need ever join or change, which is when the others try
        self._decided(self._replica.wake(now), now)
        self._decided(self._replica.send_proposals(now), now)
        self._out += self._following.wake(self.leader, now)
        return self._flush(now)

    def persisted(self, persist: Persist, now: int) -> list[Effect]:
        """A `Persist`, or what was made of several, is durable; the host says so in their order."""
        self._decided(self._replica.persisted(persist, now), now)
        return self._flush(now)

    def snapshot_taken(self, index: int, chunks: tuple[bytes, ...] | None, now: int) -> list[Effect]:
        """The chunks of a `TakeSnapshot`, or None: it could not be written, and is taken again later."""
        self._decided(self._replica.snapshot_taken(index, chunks, now), now)
        return self._flush(now)

    # -- orders of the host ----------------------------------------------------------------------------------------

    def propose(self, request: str, command: Command, give_up_ns: int, now: int) -> list[Effect]:
        """Get a command into the log; an `Answered` with that name of the host's follows, now or later."""
        try:
            if not self._following.proposals.add(request, command, give_up_ns):
                self._out.append(Answered(request, "too many requests are waiting for the tick leader"))
        except Rejected as rejected:
            self._out.append(Answered(request, f"it can't be put into the log: {rejected.detail}"))
        self._decided(self._replica.send_proposals(now), now)
        return self._flush(now)

    def read(self, request: str, give_up_ns: int, now: int) -> list[Effect]:
        """Have the registry see all that was decided anywhere by now; an `Answered` follows once it does."""
        self._decided(self._replica.read(request, give_up_ns, now), now)
        return self._flush(now)

    def step_run(self, request: str, run: int, now: int) -> list[Effect]:
        """Ask the tick leader for one more tick of a stepped run."""
        leader = self.leader
        if leader is None:
            self._out.append(Answered(request, "there is no tick leader at the moment: try again"))
        elif leader == self.identity.name:
            self._out += self.clock.step(leader, StepRequest(request, run), now)
        else:
            self._out.append(Send(leader, StepRequest(request, run)))
        return self._flush(now)

    def run_over(self, report: RunReport, now: int) -> list[Effect]:
        """A run has ended on this shard's tick plane: tell the leader until the log says so, if it has not already."""
        if self._following.goes_on(report.run):
            self._following.reporting.over(report, now)
            self._out += self._following.report(self.leader, now)
        return self._flush(now)

    def tick_committed(self, run: int, tick: int, now: int) -> list[Effect]:
        """A tick of a paced run was committed here."""
        self._out += self.clock.committed(run, tick, now)
        return self._flush(now)

    def states_held(
        self,
        epoch: int,
        held: Mapping[int, StatesHeld],
        now: int,
        reached: Mapping[int, int] | None = None,
    ) -> list[Effect]:
        """The states on disk, by run, of the runs that wait in the view of this epoch.

        `reached` are, by run, the last ticks that were seen committed here.
        """
        if epoch == self.registry.epoch:
            self._following.reporting.hold(epoch, held, reached or {}, now)
            self._out += self._following.report(self.leader, now)
        return self._flush(now)

    def parts_gained(self, load: str, partitions: frozenset[int], now: int) -> list[Effect]:
        """Partitions of a load are durable on this shard's disk."""
        self._out += self._following.custody.gained(self.registry, load, partitions)
        return self._flush(now)

    def results_looked_for(self, epoch: int, now: int) -> list[Effect]:
        """In the view of this epoch, the results that this shard should have were looked for, all of them."""
        self._following.looked_for_results(epoch)
        return self._flush(now)

    def found(self, now: int) -> tuple[list[Effect], str]:
        """Found a cluster without waiting for others, as the operator says; and why not, if that can't be."""
        reason = self._why_not_found()
        promise = None if reason else self._seat.alone(self.membership)
        if promise is None:
            return [], reason or "a cluster is being founded in sight of this shard, which is to let it in"
        self._out.append(KeepPromise(promise))
        self._try_to_found(now)
        return self._flush(now), ""

    def give_up_seat(self, now: int) -> list[Effect]:
        """Ask to be no server of consensus any more: this shard is not coming back."""
        self._seat.tags[LEAVING_TAG] = "1"
        self._set_tags(self._seat.tags, now)
        return self._flush(now)

    def leave(self, now: int) -> list[Effect]:
        """Say goodbye to the members."""
        self._take_membership(self.membership.leave(now), now)
        return self._flush(now)

    def set_clock(self, unix_offset_ns: int) -> None:
        """What is to be added to the times that the host gives for Unix time: whoever leads says what time it is."""
        self._replica.unix_offset_ns = unix_offset_ns

    # -- read ------------------------------------------------------------------------------------------------------

    @property
    def registry(self) -> Registry:
        """What the log has decided of views, disks, graphs and runs."""
        return self._state.registry

    @property
    def programs(self) -> DeployedPrograms:
        """The programs that the log has deployed."""
        return self._state.programs

    @property
    def state(self) -> ReplicatedState:
        """All that the log has decided."""
        return self._state

    @property
    def raft(self) -> Raft | None:
        """This shard's server of consensus, once there is a cluster."""
        return self._replica.raft

    @property
    def founding(self) -> str:
        """The cluster that this shard belongs to or waits for, by the id of its founding; empty before there is one."""
        return self.registry.cluster or self._seat.waits_for

    @property
    def awaited_founders(self) -> tuple[str, ...]:
        """Whom this shard has promised to found a cluster with and does not hear the same from."""
        return self._seat.awaited(self.membership) if self.raft is None else ()

    @property
    def promised_founders(self) -> tuple[str, ...]:
        """With whom this shard is to found a cluster, itself among them."""
        promise = self._seat.promise if self.raft is None else None
        return tuple(founder.name for founder in promise.founders) if promise is not None else ()

    @property
    def waits_to_be_let_in(self) -> bool:
        """Whether it founds no cluster by itself, and sees none."""
        return self.raft is None and self._expect == 1 and self._seat.promise is None and not self._is_lone

    @property
    def kept_out(self) -> str:
        """Why the version of its cluster, or of the one that it waits for, keeps this shard out; empty if none does."""
        version = version_in_sight([record.member for record in self.membership.live()], self.founding)
        if not version or self._version.covers(version):
            return ""
        return why_kept_out(self.identity.name, self._version, version)

    @property
    def held_back(self) -> Mapping[str, tuple[int, int]]:
        """Whom this shard, which leads, does not let into the view yet: how often they have gone, and until when."""
        return self._following.leading.views.held_back

    @property
    def leader(self) -> str | None:
        """The tick leader's name, as far as is known here."""
        return self._replica.leader

    @property
    def clock(self) -> Clock:
        """What keeps runs in step."""
        return self._following.clock

    @property
    def holdings(self) -> Holdings:
        """What is on this shard's disk, and what it should have."""
        return self._following.custody.holdings

    @property
    def progress(self) -> ProgressGossip:
        """Who is where in each run."""
        return self.clock.progress

    @property
    def pacing(self) -> Pacing:
        """What has been granted to each run."""
        return self.clock.pacing

    @property
    def in_view(self) -> bool:
        """Whether this very life of the shard is a member of the view."""
        return self._following.in_view

    @property
    def has_seat(self) -> bool:
        """Whether this shard is a server of consensus."""
        return self.raft is not None and self._seat.server in self.raft.configuration.members

    @property
    def applied_index(self) -> int:
        """How far the log has been applied here."""
        return self._replica.applied

    def missing_members(self) -> list[str]:
        """Members of the view that membership does not hold alive in that life."""
        view = self.registry.view
        live = {(record.name, record.generation) for record in self.membership.live()}
        return [m.name for m in view.members if (m.name, m.generation) not in live] if view else []

    def validate(self) -> None:
        """Assert the invariants of every machine."""
        self.membership.validate()
        self._replica.validate()
        assert not self._out, "every door hands out all its effects"

    # -- membership ------------------------------------------------------------------------------------------------

    def _take_membership(self, effects: Iterable[swim.Effect], now: int) -> None:
        changed = False
        for effect in effects:
            match effect:
                case swim.SendTo():
                    self._out.append(Send(effect.name, effect.message))
                case swim.SendToAddress():
                    self._out.append(SendToAddress(effect.address, effect.message, effect.name))
                case swim.Counted():
                    self._out.append(effect)
                case swim.MemberJoined():
                    changed = True
                    self._out.append(effect)
                    self._decided(self._replica.met(effect.member, now), now)
                case (
                    swim.MemberUpdated()
                    | swim.MemberSuspected()
                    | swim.MemberRecovered()
                    | swim.MemberFailed()
                    | swim.MemberLeft()
                    | swim.NameHeld()
                    | swim.Superseded()
                ):
                    changed = True
                    self._out.append(effect)
                case _:
                    assert_never(effect)
        if changed:
            self._following.lead_due = True
            self._replica.look(now)
            if self.raft is None:
                self._try_to_found(now)
            elif not self.founding:
                self._seat.choose(self.membership)
            self._belong(now)

    def _belong(self, now: int) -> None:
        """Have membership take no part in another cluster than this shard's."""
        if self.membership.cluster != self.founding:
            self._take_membership(self.membership.belong(self.founding, now), now)

    def _try_to_found(self, now: int) -> None:
        """Found a cluster, or take part in one that there is."""
        promise = self._seat.consider(self.membership)
        if promise is not None:
            self._out.append(KeepPromise(promise))
        self._set_tags(self._seat.declaration(), now)
        stored = self._seat.beginning(self.membership)
        if stored is not None:
            self._decided(self._replica.start(stored, now), now)

    def _why_not_found(self) -> str:
        """Why no operator may have this shard found a cluster, in words; empty if one may."""
        if self.registry.cluster:
            return "this shard belongs to a cluster"
        if self.founding:
            return "there is a cluster in sight, which is to let this shard in"
        if self.raft is not None:
            return (
                "this shard has seen a cluster and waits to be let in: start that one's shards; or, if it is gone for"
                " good, move this shard's data folder away and start it again"
            )
        if self._expect > 1:
            return f"cluster.expect is {self._expect}: as soon as so many shards see each other, they found a cluster"
        return ""

    def _set_tags(self, tags: Mapping[str, str], now: int) -> None:
        own = self.membership.member(self.identity.name)
        if own is not None and dict(own.tags) != tags:
            self._take_membership(self.membership.set_tags(sorted(tags.items()), now), now)

    # -- what was decided ------------------------------------------------------------------------------------------

    def _decided(self, effects: Iterable[Effect], now: int) -> None:
        self._out += effects
        if self._replica.tags_due:
            self._replica.tags_due = False
            self._set_tags(self._seat.tags, now)
            self._belong(now)
        self.membership.claims.is_established |= self.in_view

    def _flush(self, now: int) -> list[Effect]:
        """Do what has become due; a lone shard's proposals are decided at once, and more may follow from each."""
        following, replica = self._following, self._replica
        for _ in range(FOLLOW_UPS_MAX):
            if following.custody.is_due:
                self._out += following.tend(now)
            elif following.proposals_due:
                following.proposals_due = False
                self._decided(replica.send_proposals(now), now)
            elif following.lead_due and replica.leads:
                following.lead_due = False
                self._decided(replica.lead(now), now)
            else:
                break
        out, self._out = self._out, []
        return out
