"""One pair of doors for all runs and loads of a shard."""

from __future__ import annotations

from daemon.transfer.chunks import LoadLimits, PieceArrived, PieceGone
from daemon.transfer.shipment import Shipment
from daemon.transfer.tick_plane import EARLY_BYTES_MAX, EARLY_MESSAGES_MAX, RUNS_FORGOTTEN_MAX, TickPlane
from shoal.lockstep.effects import HoldTick, PhaseLate, RunPhase, SendTick, StoreStates, TickHeld
from shoal.lockstep.machine import TickMachine
from shoal.lockstep.messages import (
    Checkpoint,
    CheckpointHeld,
    CheckpointMissing,
    CheckpointRequest,
    ChunksAcknowledged,
    PhaseDone,
    PhaseRequest,
    PieceBuilt,
    PieceDropped,
    PieceOffered,
)
from shoal.program.phase import Phase
from tests.shoal.lockstep.network import TIMING, nothing

LIMITS = LoadLimits(chunk_bytes=4096)


def machine(run: int, shard: str = "a") -> TickMachine:
    return TickMachine(run, shard, ("a", "b"), tuple(Phase), 9, TIMING)


def share(run: int, entry: int = 4) -> PhaseDone:
    return PhaseDone(run, entry, 0, b"", 0, "", 0, 0)


def test_runs_go_side_by_side() -> None:
    plane = TickPlane("a", LIMITS)
    for run in (1, 2):
        assert plane.begin(machine(run), 0) == [RunPhase(run, 0, Phase.ADVANCE)]
    plane.runs[2].computed(nothing(("b",)), 0, 0)
    plane.step("b", share(2), 0)
    assert plane.runs[2].lacking() == ()
    assert plane.runs[1].lacking() == ("b",)
    plane.validate()


def test_what_comes_before_its_run_is_kept_until_it_begins() -> None:
    plane = TickPlane("a", LIMITS)
    assert plane.step("b", share(1), 0) == []
    assert plane.step("b", PhaseRequest(1, 4), 0) == []
    plane.step("b", share(2), 0)
    plane.begin(machine(1), 0)
    assert plane.early(1) == [("b", share(1))]
    assert plane.early(1) == []
    plane.begin(machine(2), 0)
    assert plane.early(2) == [("b", share(2))]


def test_early_messages_have_a_limit_and_the_oldest_make_room() -> None:
    plane = TickPlane("a", LIMITS)
    plane.step("b", share(2, entry=8), 0)
    for _ in range(EARLY_MESSAGES_MAX):
        plane.step("b", share(1), 0)
    plane.validate()
    plane.begin(machine(2), 0)
    assert plane.early(2) == []
    plane.begin(machine(1), 0)
    assert plane.early(1) == [("b", share(1))] * EARLY_MESSAGES_MAX


def test_early_messages_have_a_limit_in_bytes() -> None:
    plane = TickPlane("a", LIMITS)
    half = bytes(EARLY_BYTES_MAX // 2)
    for partition in range(3):
        plane.step("b", Checkpoint(1, 4, 0, (partition,), (half,)), 0)
        plane.validate()
    plane.step("b", Checkpoint(1, 4, 0, (9,), (bytes(EARLY_BYTES_MAX + 1),)), 0)
    plane.begin(machine(1), 0)
    assert [m.partitions for _, m in plane.early(1) if isinstance(m, Checkpoint)] == [(1,), (2,)]
    plane.validate()


def test_a_forgotten_run_takes_nothing_more() -> None:
    plane = TickPlane("a", LIMITS)
    plane.begin(machine(1), 0)
    plane.forget(1)
    plane.step("b", share(3), 0)
    plane.forget(3)  # it was over before this shard could begin it
    for run in (1, 3):
        assert plane.step("b", share(run), 0) == []
        assert plane.step("b", Checkpoint(run, 1, 0, (0,), (b"x",)), 0) == []
        assert plane.early(run) == []
    assert plane.deadline is None
    for run in range(2 * RUNS_FORGOTTEN_MAX):
        plane.forget(run)
    plane.validate()


def test_a_run_begins_again_in_a_later_epoch_and_nothing_of_the_old_one_is_left() -> None:
    plane = TickPlane("a", LIMITS)
    plane.begin(machine(1), 0, {0: "b"})
    plane.begin(machine(2), 0)
    plane.ship([Shipment("mine", "b", b"", [b"x"], LIMITS)], 0)
    plane.step("b", PieceOffered("load", b"", (1,), 4096), 5)
    plane.step("b", share(7), 0)
    (store,) = plane.step("b", Checkpoint(1, 3, 0, (0,), (b"x",)), 0)
    assert isinstance(store, StoreStates)
    plane.forget(2)
    plane.leave_epoch()
    assert plane.runs == {}
    assert plane.early(7) == []
    assert plane.shipments.keys() == {("mine", "b")}
    assert plane.intake.deadline is not None
    assert plane.replication.stored(store.token, 0) == []
    plane.step("b", share(1, entry=16), 0)
    plane.step("b", share(2), 0)
    resumed = TickMachine(1, "a", ("a", "b"), tuple(Phase), 9, TIMING, tick=3)
    plane.begin(machine(2), 0)
    assert plane.begin(resumed, 0) == [RunPhase(1, 3, Phase.ADVANCE)]
    assert plane.early(1) == [("b", share(1, entry=16))]
    assert plane.early(2) == [("b", share(2))], "whichever of them begins first"
    plane.validate()


def test_a_checkpoint_that_comes_before_its_run_is_taken_when_it_begins() -> None:
    plane = TickPlane("a", LIMITS)
    checkpoint = Checkpoint(1, 3, 0, (0,), (b"x",))
    assert plane.step("b", checkpoint, 0) == []
    assert plane.step("b", CheckpointHeld(1, 3, 0), 0) == []
    plane.begin(machine(1), 0, {0: "b"})
    assert plane.early(1) == [("b", checkpoint)]
    (store,) = plane.step("b", checkpoint, 0)
    assert isinstance(store, StoreStates)
    assert plane.replication.stored(store.token, 0) == [SendTick("b", CheckpointHeld(1, 3, 0))]


def test_a_checkpoint_goes_from_plane_to_plane_and_names_who_lacks_it() -> None:
    plane = TickPlane("a", LIMITS)
    plane.begin(TickMachine(1, "a", ("a", "b"), tuple(Phase), 9, TIMING, tick=3), 0)
    held = plane.runs[1].computed(nothing(("b",)), 0, 0)
    assert held == [HoldTick(1, 3, 0)]
    message, store = plane.replication.hold(1, 3, 0, {5: b"five"}, {5: ("a", "b")}, 0)
    assert message == SendTick("b", Checkpoint(1, 3, 0, (5,), (b"five",)))
    assert isinstance(store, StoreStates)
    assert plane.replication.stored(store.token, 0) == []
    assert plane.deadline == 1_000_000_000 == TIMING.phase_timeout_ns
    effects = plane.wake(10**9)
    assert PhaseLate(1, 3, Phase.ADVANCE, ("b",), 10**9) in effects
    assert SendTick("b", CheckpointRequest(1, 3, 5, 1)) in effects
    assert plane.step("b", CheckpointMissing(1, 3, 5, 1), 0) == [message]
    assert plane.step("b", CheckpointHeld(1, 3, 5), 0) == [TickHeld(1, 3)]


def test_the_deadline_is_the_earliest_of_all() -> None:
    plane = TickPlane("a", LIMITS)
    plane.step("b", PieceOffered("load", b"", (1,), 4096), 5)
    assert plane.deadline == 5 + LIMITS.idle_timeout_ns
    plane.ship([Shipment("mine", "b", b"", [b"x"], LIMITS)], 7)
    assert plane.deadline == 7 + LIMITS.resend_interval_ns
    plane.begin(machine(1), 9)
    plane.runs[1].computed(nothing(("b",)), 0, 9)
    assert plane.deadline == 9 + TIMING.resend_interval_ns
    sent = plane.wake(10**12)
    assert SendTick("b", PhaseRequest(1, 4)) in sent
    assert plane.intake.deadline is None, "the idle piece is given up"


def test_a_load_goes_from_plane_to_plane() -> None:
    planes = {name: TickPlane(name, LIMITS) for name in "ab"}
    bag = [("a", e) for e in planes["a"].ship([Shipment("l", "b", b"spec", [b"x" * 5000, b""], LIMITS)], 0)]
    arrived = []
    while bag:
        sender, effect = bag.pop(0)
        if isinstance(effect, PieceArrived):
            arrived.append(effect)
            bag += [("b", e) for e in planes["b"].intake.built(PieceBuilt("l", "", 1, 2, 3, 4, 5))]
        elif isinstance(effect, SendTick):
            bag += [(effect.to, e) for e in planes[effect.to].step(sender, effect.message, 0)]  # type: ignore[arg-type]
    (piece,) = arrived
    assert [frame.tobytes() for frame in piece.frames] == [b"x" * 5000, b""]
    assert planes["a"].shipments["l", "b"].answer == PieceBuilt("l", "", 1, 2, 3, 4, 5)
    planes["a"].land("l")
    assert planes["a"].shipments == {}
    assert planes["a"].step("b", ChunksAcknowledged("l", 2), 0) == []
    assert planes["b"].step("a", PieceDropped("l"), 0) == [PieceGone("l")]


def test_what_a_peer_asks_for_twice_is_shipped_once() -> None:
    """The second look at the disk found a tick more: two pieces of one name."""
    plane = TickPlane("a", LIMITS)
    first, second = (Shipment("fetch/1", "b", spec, [spec * 5000], LIMITS) for spec in (b"1", b"2"))
    assert plane.ship_once(first, 0)[0] == SendTick("b", PieceOffered("fetch/1", b"1", (5000,), 4096))
    assert plane.ship_once(second, 1) == []
    assert plane.shipments == {("fetch/1", "b"): first}
    plane.step("b", PieceBuilt("fetch/1", "too many are on their way", 0, 0, 0, 0, 0), 2)
    assert plane.shipments == {}
    assert plane.ship_once(second, 3)[0] == SendTick("b", PieceOffered("fetch/1", b"2", (5000,), 4096))
