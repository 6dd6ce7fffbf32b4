"""One pair of doors for all runs and loads of a shard."""

from __future__ import annotations

from daemon.protocol.load import LoadLimits, PieceArrived, PieceGone, Shipment
from daemon.protocol.tick import TickMachine
from daemon.protocol.tick_effects import RunPhase, SendTick
from daemon.protocol.tick_messages import ChunksTaken, PhaseDone, PhaseWanted, PieceBuilt, PieceDropped, PieceOffered
from daemon.protocol.tick_plane import EARLY_MESSAGES_MAX, TickPlane
from shoal.phase import Phase
from tests.daemon.protocol.lockstep import TIMING, nothing

LIMITS = LoadLimits(chunk_bytes=4096)


def machine(run: int, shard: str = "a") -> TickMachine:
    return TickMachine(run, shard, ("a", "b"), tuple(Phase), 9, TIMING)


def share(run: int, entry: int = 4) -> PhaseDone:
    return PhaseDone(run, entry, 0, b"", False, "", 0, 0)


def test_runs_go_side_by_side() -> None:
    plane = TickPlane(LIMITS)
    for run in (1, 2):
        assert plane.begin(machine(run), 0) == [RunPhase(run, 0, Phase.ADVANCE)]
    plane.runs[2].computed(nothing(("b",)), 0, 0)
    plane.step("b", share(2), 0)
    assert plane.runs[2].lacking() == ()
    assert plane.runs[1].lacking() == ("b",)
    plane.validate()


def test_what_comes_before_its_run_is_kept_until_it_begins() -> None:
    plane = TickPlane(LIMITS)
    assert plane.step("b", share(1), 0) == []
    assert plane.step("b", PhaseWanted(1, 4), 0) == []
    plane.step("b", share(2), 0)
    plane.begin(machine(1), 0)
    assert plane.early(1) == [("b", share(1))]
    assert plane.early(1) == []
    plane.begin(machine(2), 0)
    assert plane.early(2) == [("b", share(2))]


def test_early_messages_have_a_limit_and_old_ones_make_room() -> None:
    plane = TickPlane(LIMITS)
    for _ in range(2 * EARLY_MESSAGES_MAX):
        plane.step("b", share(1), 0)
    plane.begin(machine(3), 0)  # runs 1 and 2 were over before this shard heard of them
    assert plane.early(3) == []
    plane.validate()
    plane.step("b", share(4), 0)
    plane.step("b", share(2), 0)
    plane.begin(machine(4), 0)
    assert plane.early(4) == [("b", share(4))]


def test_a_forgotten_run_takes_nothing_more() -> None:
    plane = TickPlane(LIMITS)
    plane.begin(machine(1), 0)
    plane.forget(1)
    assert plane.step("b", share(1), 0) == []
    assert plane.early(1) == []
    assert plane.deadline is None


def test_the_deadline_is_the_earliest_of_all() -> None:
    plane = TickPlane(LIMITS)
    plane.step("b", PieceOffered("load", b"", (1,), 4096), 5)
    assert plane.deadline == 5 + LIMITS.idle_timeout_ns
    plane.ship([Shipment("mine", "b", b"", [b"x"], LIMITS)], 7)
    assert plane.deadline == 7 + LIMITS.resend_interval_ns
    plane.begin(machine(1), 9)
    plane.runs[1].computed(nothing(("b",)), 0, 9)
    assert plane.deadline == 9 + TIMING.resend_interval_ns
    sent = plane.wake(10**12)
    assert SendTick("b", PhaseWanted(1, 4)) in sent
    assert plane.intake.deadline is None, "the idle piece is given up"


def test_a_load_goes_from_plane_to_plane() -> None:
    planes = {name: TickPlane(LIMITS) for name in "ab"}
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
    assert planes["a"].step("b", ChunksTaken("l", 2), 0) == []
    assert planes["b"].step("a", PieceDropped("l"), 0) == [PieceGone("l")]
