"""Well-formed messages of any content, in any order, from any sender: no machine raises, and its state is bounded."""

from __future__ import annotations

from contextlib import suppress
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daemon.control.plane import ControlPlane
from daemon.control.routing import CLUSTER_MESSAGES, CONSENSUS_MESSAGES, MEMBERSHIP_MESSAGES
from daemon.control.settings import ShardSettings
from daemon.membership.config import MembershipConfig
from daemon.membership.machine import Membership
from daemon.membership.messages import Member
from daemon.state import NotApplied
from daemon.state.commands import FormView, Identity
from daemon.state.dispatch import TABLES
from daemon.state.envelope import CommandUnreadable
from daemon.transfer.chunks import LoadLimits
from daemon.transfer.intake import Intake
from daemon.transfer.tick_plane import TICK_MESSAGES, TickPlane
from daemon.wire import Rejected
from shoal.lockstep.messages import Chunk, PieceDropped, PieceOffered
from tests.daemon.state.registries import formed, mistake_in_snapshot
from tests.fuzz.values import BYTES, examples, messages

SENDERS = st.sampled_from(["alpha", "beta", "gamma", "nobody", ""])
STEPS = 12
SECOND = 10**9


def member(name: str) -> Member:
    return Member(name, 1, f"tcp://10.0.0.1:{7000 + len(name)}", f"tcp://10.0.0.1:{8000 + len(name)}", b"")


def any_of(classes: Any) -> st.SearchStrategy[Any]:
    return st.one_of(*(messages(cls) for cls in classes))


def told(classes: Any) -> st.SearchStrategy[list[tuple[str, int, Any, int]]]:
    """Draws messages with their senders, the senders' lives, and the time that passes before each."""
    passes = st.sampled_from([0, 1, SECOND // 10, 3 * SECOND, 100 * SECOND])
    return st.lists(st.tuples(SENDERS, st.integers(0, 3), any_of(classes), passes), max_size=STEPS)


@examples(30)
@given(told((*MEMBERSHIP_MESSAGES, *CONSENSUS_MESSAGES, *CLUSTER_MESSAGES)), st.integers(0, 99))
def test_a_shard(said: list[tuple[str, int, Any, int]], seed: int) -> None:
    now = SECOND
    shard = ControlPlane(member("alpha"), ["tcp://10.0.0.1:7004"], ShardSettings(), Random(seed), now)
    shard.wake(now)
    for sender, generation, message, passes in said:
        now += passes
        shard.step(Identity(sender, generation), message, now)
        if shard.deadline is not None and now >= shard.deadline:
            shard.wake(now)
        shard.validate()


@examples(30)
@given(told(MEMBERSHIP_MESSAGES), st.integers(0, 99))
def test_membership(said: list[tuple[str, int, Any, int]], seed: int) -> None:
    now = SECOND
    config = MembershipConfig(members_max=4)
    swim = Membership(member("alpha"), ["tcp://10.0.0.1:7004"], config, Random(seed), now)
    for sender, _, message, passes in said:
        now += passes
        swim.step(sender, message, now)
        swim.wake(now)
        assert len(list(swim.members())) <= 4 + config.dead_records_max


@examples(40)
@given(told(TICK_MESSAGES))
def test_the_tick_plane(said: list[tuple[str, int, Any, int]]) -> None:
    plane, now = TickPlane("alpha", LoadLimits(piece_bytes_max=1 << 16)), SECOND
    for sender, _, message, passes in said:
        now += passes
        plane.step(sender, message, now)
        plane.wake(now)
        plane.validate()
        assert plane.intake.bytes_coming <= 1 << 16


LOADS = st.sampled_from(["a", "b", "c", "d", "e"])
OFFERS = st.builds(
    PieceOffered,
    LOADS,
    BYTES,
    st.lists(st.sampled_from([0, 1, 5000, 30_000, 1 << 40, -1]), max_size=4).map(tuple),
    st.sampled_from([4096, 4097, 1 << 20, 0, -1, 1]),
)


def coming(offers: list[PieceOffered]) -> st.SearchStrategy[list[tuple[str, Any]]]:
    """Draws messages about these offers: themselves, chunks of these and others, and drops."""
    chunks = st.builds(
        Chunk,
        LOADS,
        st.sampled_from([0, 1, 2, 3, 7, -1, 2**63]),
        st.sampled_from([*(offer.digest() for offer in offers), 0, -1]),
        st.lists(st.sampled_from([b"", b"x", bytes(4096), bytes(904), bytes(5000)]), max_size=2).map(tuple),
    )
    said = st.sampled_from(offers) | chunks | st.builds(PieceDropped, LOADS)
    return st.lists(st.tuples(SENDERS, said), max_size=40)


@examples(75)
@given(st.lists(OFFERS, min_size=1, max_size=5).flatmap(coming))
def test_an_intake(said: list[tuple[str, Any]]) -> None:
    limits = LoadLimits(piece_bytes_max=1 << 16, pieces_max=3)
    intake = Intake(limits)
    for now, (sender, message) in enumerate(said):
        intake.step(sender, message, now)
        assert intake.bytes_coming <= limits.piece_bytes_max


def test_an_offer_of_millions_of_chunks_takes_nothing() -> None:
    """The system reserves the announced memory, touched only when data arrives; chunks' positions are computed."""
    import tracemalloc

    intake = Intake(LoadLimits())
    tracemalloc.start()
    intake.step("beta", PieceOffered("load", b"", (1 << 32,), 4096), 0)
    own = sum(stat.size for stat in tracemalloc.take_snapshot().statistics("filename") if "numpy" not in str(stat))
    tracemalloc.stop()
    assert intake.bytes_coming == 1 << 32
    assert own < (1 << 32) + 100_000
    intake.step("gamma", PieceOffered("more", b"", (1 << 33,), 4096), 0)
    assert intake.bytes_coming == 1 << 32, "together they are more than one may be"


COMMANDS = [kind for table in TABLES.values() for kind in table.values()]


@examples(100)
@given(st.lists(any_of(COMMANDS), max_size=12))
def test_whatever_stands_in_the_log_it_breaks_nothing(said: list[Any]) -> None:
    """Applies entries with any values that they can hold; the registry that remains can still be stored and sent."""
    log = formed()
    for drawn in said:
        epoch = {"epoch": log.registry.epoch + isinstance(drawn, FormView)} if hasattr(drawn, "epoch") else {}
        with suppress(Rejected, CommandUnreadable):  # values that no entry can hold, unknown cluster versions
            news = log.announced(replace(drawn, **epoch))
            assert not [one for one in news if isinstance(one, NotApplied)]
            assert mistake_in_snapshot(log.state.freeze()) is None
