"""Tracks which disks have gone back, this shard's own included, and so which servers count in consensus.

    a member begins a life -> lives, promises -> it has forgotten -> not counted here, and notified (DiskForgets)
    notified, or detected at this shard -> silent -> once the others have a leader -> a new disk

A server that has forgotten its promises must not vote, and can't detect that alone. It goes silent as soon as it is
notified. It discards its consensus state, and comes back as a new disk, only once there is a leader without it: to a
majority, a silent shard and a missing one are the same, but without a leader an operator may still need what is on its
disk.
"""

from __future__ import annotations

from collections.abc import Iterable

from msgspec.structs import replace

import consensus
from consensus import Forgot, Raft
from daemon.control.effects import DiskWentBack, Effect, PeerWentBack, Send
from daemon.control.lives import Life, Lives, life_in
from daemon.control.messages import DiskForgets
from daemon.control.voters import server_of, shard_of
from daemon.membership.machine import Membership
from daemon.membership.messages import Member
from daemon.state import Registry
from daemon.state.commands import Identity

LOST_ITS_LAST_WRITES = "its database lacks writes that had been acknowledged: its write-ahead log was lost or torn"


class Trust:
    """One shard's trust in others' disks. `lost` says how it knows that its own disk went back; else it is empty."""

    def __init__(self, shard: Identity, life: Life, membership: Membership, registry: Registry) -> None:
        self.lost = LOST_ITS_LAST_WRITES if life.forgot else ""
        self._shard, self._life, self._membership, self._registry = shard, life, membership, registry
        self._lives = Lives()
        self._news: list[Effect] = []
        self._forgetful: dict[str, DiskForgets] = {}
        """For each shard that has forgotten something in its present life: what it forgot."""

    # -- the others ------------------------------------------------------------------------------------------------

    def meet(self, member: Member, raft: Raft) -> list[consensus.Effect]:
        """Checks a member, perhaps for the first time in its present life; returns consensus' effects."""
        life = life_in(member.tags)
        if life is None or member.name == self._shard.name:
            return []
        server = server_of(member.name, life.disk)
        known = self._forgetful.get(member.name)
        if known is not None and (known.server, known.generation) != (server, member.generation):
            del self._forgetful[member.name]
        is_known = self._lives.knows(member, life)  # if not, its promises may date from this very life
        is_new = self._lives.see(member, life) and is_known
        raft.reconnected(server)
        self.check(member, raft)
        return raft.started_again(server, life.term, life.last_index) if is_new else []

    def is_met(self, member: Member) -> bool:
        """Whether this life of a member has been checked. Its messages may arrive before gossip reports it alive."""
        life = life_in(member.tags)
        return life is None or self._lives.has_seen(member, life)

    def check(self, member: Member, raft: Raft) -> None:
        """Compares what a member's disk remembers with what is known by now."""
        life = life_in(member.tags)
        if life is None or member.name in self._forgetful or member.name == self._shard.name:
            return
        server = server_of(member.name, life.disk)
        lived = self._lives.forgotten(member, life, self._registry.disks.get(member.name))
        if lived or life.forgot or raft.promises.are_void(server):  # void: it had gone back, and is in use once more
            raft.promises.distrust(server)
            self._note(member, DiskForgets(server, member.generation, lived, 0, 0, False))

    def forgot(self, news: Forgot) -> None:
        """Takes note that a server holds less than it had promised to this one."""
        member = self._membership.member(shard_of(news.server))
        if member is not None:
            promised = news.promised_term, news.promised_index
            self._note(member, DiskForgets(news.server, member.generation, 0, *promised, False))

    def _note(self, member: Member, found: DiskForgets) -> None:
        self._forgetful[member.name] = found
        self._news.append(PeerWentBack(member.name))

    def news(self) -> list[Effect]:
        """Returns what has been found out about others since the last call."""
        news, self._news = self._news, []
        return news

    def tell(self, names: Iterable[str], leader: str | None) -> list[Effect]:
        """Notifies the forgetful ones among these shards; `leader` is the leader without them."""
        return [
            Send(name, replace(self._forgetful[name], is_led=leader not in (None, name)))
            for name in names
            if name in self._forgetful
        ]

    @property
    def forgetful(self) -> tuple[str, ...]:
        """Shards whose disk is known to have gone back, in their present life."""
        return tuple(sorted(self._forgetful))

    # -- this shard's own disk -------------------------------------------------------------------------------------

    def hear(self, sender: Identity, told: DiskForgets) -> list[Effect]:
        """Takes another shard's notice that this shard's disk has gone back."""
        mine = server_of(self._shard.name, self._life.disk)
        if (told.server, told.generation) != (mine, self._shard.generation) or sender.name == self._shard.name:
            return []
        self.lost = self.lost or f"{sender.name} knows it {self._how(told)}"
        return self.led() if told.is_led else []

    def led(self) -> list[Effect]:
        """A leader exists without this silent shard: it can join again as a new disk."""
        return [DiskWentBack(self.lost)]

    def check_own(self) -> list[Effect]:
        """Checks whether the log, as taught by a leader, names a life on this disk that the disk does not remember."""
        logged, life = self._registry.disks.get(self._shard.name), self._life
        if logged is None or logged.number != life.disk or self.lost:
            return []
        if not life.before < logged.generation < self._shard.generation:
            return []
        self.lost = f"the log knows it in generation {logged.generation}, and it remembers {life.before or 'none'}"
        return self.led()

    def _how(self, told: DiskForgets) -> str:
        if told.lived:
            return f"in generation {told.lived}, and it remembers {self._life.before or 'none'} as its last"
        if told.term:
            held = f"term {told.term}, entry {told.index}"
            return f"with a log up to {held}, and it has term {self._life.term}, entry {self._life.last_index}"
        return "from an earlier life on it"
