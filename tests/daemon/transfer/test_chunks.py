"""Pieces on their way: every byte once, in any order; what does not fit an offer is dropped."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from msgspec import structs

from daemon.transfer.chunks import ChunkPlaces, LoadEffect, LoadLimits, PieceArrived, PieceGone
from daemon.transfer.intake import Intake
from daemon.transfer.shipment import Shipment
from shoal.lockstep.effects import SendTick
from shoal.lockstep.messages import Chunk, ChunksAcknowledged, PieceBuilt, PieceDropped, PieceOffered

LIMITS = LoadLimits(chunk_bytes=4096, window=3, resend_interval_ns=100, idle_timeout_ns=1000, pieces_max=2)
BUILT = PieceBuilt("l", "", 1, 2, 3, 4, 5)
FULL = b"x" * 4096


def messages(effects: list[LoadEffect]) -> list[object]:
    return [effect.message for effect in effects if isinstance(effect, SendTick)]


def numbers(effects: list[LoadEffect]) -> list[int]:
    """Of the chunks that are sent."""
    return [message.number for message in messages(effects) if isinstance(message, Chunk)]


def test_chunks_are_numbered_through_all_frames() -> None:
    places = ChunkPlaces([5, 0, 8, 3], 4)
    assert [places[number] for number in range(len(places))] == [
        (0, 0, 4),
        (0, 4, 5),
        (2, 0, 4),
        (2, 4, 8),
        (3, 0, 3),
    ]
    assert len(ChunkPlaces([], 4)) == 0


def test_only_a_window_is_on_its_way() -> None:
    shipment = Shipment("l", "b", b"spec", [b"x" * 4096 * 5], LIMITS)
    effects = shipment.begin(0)
    assert messages(effects)[0] == PieceOffered("l", b"spec", (4096 * 5,), 4096)
    assert numbers(effects) == [0, 1]
    assert numbers(shipment.step(ChunksAcknowledged("l", 1), 9)) == [2, 3], "it grows with what is acknowledged"
    assert numbers(shipment.step(ChunksAcknowledged("l", 1, (2, 3)), 9)) == [], "a chunk too far is no use"
    assert numbers(shipment.step(ChunksAcknowledged("l", 2, (2, 3)), 9)) == [4]
    assert shipment.progress == (2, 5)


@pytest.mark.parametrize(
    "had", [ChunksAcknowledged("l", 2), ChunksAcknowledged("l", 0, (1,)), ChunksAcknowledged("l", 1, (2,))]
)
def test_a_receiver_that_has_given_the_piece_up_is_sent_all_of_it_again(had: ChunksAcknowledged) -> None:
    shipment = Shipment("l", "b", b"spec", [b"x" * 4096 * 4], LIMITS)
    shipment.begin(0)
    shipment.step(had, 50)
    due = shipment.deadline
    assert due is not None
    shipment.wake(due)
    effects = shipment.step(ChunksAcknowledged("l", 0, (), 1), due + 1)
    assert numbers(effects)[:2] == [0, 1], "it has begun anew at the offer, and has nothing"
    assert shipment.progress == (0, 4)


def test_after_silence_the_offer_alone_is_repeated_and_its_answer_says_what_is_lost() -> None:
    shipment = Shipment("l", "b", b"spec", [b"x" * 4096 * 4], LIMITS)
    shipment.begin(0)
    assert numbers(shipment.step(ChunksAcknowledged("l", 0, (1,)), 50)) == [2]
    due = shipment.deadline
    assert due is not None
    assert shipment.wake(due - 1) == []
    assert messages(shipment.wake(due)) == [PieceOffered("l", b"spec", (4096 * 4,), 4096, 1)]
    assert shipment.deadline is not None
    assert shipment.deadline - due > due - 50, "ever more rarely"
    assert numbers(shipment.step(ChunksAcknowledged("l", 0, (1,)), due + 1)) == [], "an answer to something sent before"
    assert numbers(shipment.step(ChunksAcknowledged("l", 0, (1,), 1), due + 2)) == [0, 2]
    assert numbers(shipment.step(ChunksAcknowledged("l", 0, (1,), 1), due + 3)) == [], "they are under way once more"


def test_what_others_have_overtaken_is_lost() -> None:
    limits = replace(LIMITS, window=8)
    shipment = Shipment("l", "b", b"spec", [b"x" * 4096 * 9], limits)
    shipment.begin(0)
    assert numbers(shipment.step(ChunksAcknowledged("l", 0, (1,)), 9)) == [2, 3], "it may only have come too early"
    assert numbers(shipment.step(ChunksAcknowledged("l", 0, (1, 2, 3)), 10)) == [4, 5, 6, 7]
    assert numbers(shipment.step(ChunksAcknowledged("l", 0, (1, 2, 3, 4)), 11)) == [0]


def test_an_acknowledgement_that_is_late_or_mad_changes_nothing() -> None:
    shipment = Shipment("l", "b", b"spec", [b"x" * 4096 * 4], LIMITS)
    shipment.begin(0)
    shipment.step(ChunksAcknowledged("l", 2), 0)
    for upto in (1, -1, 5, 99):
        assert shipment.step(ChunksAcknowledged("l", upto), 0) == []
    assert shipment.progress == (2, 4)


def test_the_first_answer_counts_and_ends_it() -> None:
    shipment = Shipment("l", "b", b"spec", [], LIMITS)
    shipment.begin(0)
    shipment.step(BUILT, 0)
    shipment.step(structs.replace(BUILT, error="later"), 0)
    assert (shipment.answer, shipment.deadline, shipment.wake(10**9)) == (BUILT, None, [])


def test_a_piece_without_bytes_arrives_with_its_offer() -> None:
    (taken, arrived) = Intake(LIMITS).step("a", PieceOffered("l", b"spec", (0, 0), 4096), 0)
    assert taken == SendTick("a", ChunksAcknowledged("l", 0))
    assert isinstance(arrived, PieceArrived)
    assert [len(frame) for frame in arrived.frames] == [0, 0]


def test_the_answer_is_repeated_as_long_as_the_offer_is() -> None:
    intake, offer = Intake(LIMITS), PieceOffered("l", b"spec", (), 4096)
    intake.step("a", offer, 0)
    assert messages(intake.step("a", offer, 0)) == [ChunksAcknowledged("l", 0)], "handed over once"
    assert intake.built(BUILT) == [SendTick("a", BUILT)]
    assert intake.step("a", offer, 0) == [SendTick("a", BUILT)]
    intake.forget("l")
    assert intake.built(BUILT) == []
    assert intake.step("a", offer, 0) == [SendTick("a", BUILT)], "one that comes late begins nothing"
    assert intake.step("thief", offer, 0) == []
    assert intake.deadline is None


def test_a_piece_that_was_dropped_is_not_begun_anew_by_a_late_offer() -> None:
    intake, offer = Intake(LIMITS), PieceOffered("l", b"spec", (4096,), 4096)
    intake.step("a", offer, 0)
    assert intake.progress("l") == 0
    assert intake.step("a", PieceDropped("l"), 0) == [PieceGone("l")]
    (answer,) = messages(intake.step("a", offer, 0))
    assert isinstance(answer, PieceBuilt)
    assert answer.error
    assert (intake.progress("l"), intake.deadline) == (None, None)


def test_what_does_not_fit_the_offer_is_dropped() -> None:
    intake, offer = Intake(LIMITS), PieceOffered("l", b"spec", (4097,), 4096)
    intake.step("a", offer, 0)
    of = offer.digest()
    bad = [
        Chunk("l", 0, of, (b"short",)),
        Chunk("l", 0, of, ()),
        Chunk("l", 0, of, (FULL, b"")),
        Chunk("l", -1, of, (FULL,)),
        Chunk("l", 2, of, (FULL,)),
        Chunk("other", 0, of, (FULL,)),
        Chunk("l", 0, of + 1, (FULL,)),
    ]
    assert [intake.step("a", chunk, 0) for chunk in bad] == [[]] * 7
    assert intake.step("thief", Chunk("l", 0, of, (FULL,)), 0) == []
    assert intake.step("thief", PieceOffered("l", b"", (), 4096), 0) == []
    assert intake.step("thief", PieceDropped("l"), 0) == []
    assert messages(intake.step("a", Chunk("l", 0, of, (FULL,)), 0)) == [ChunksAcknowledged("l", 1)]


OFFER = PieceOffered("l", b"spec", (4096, 4096), 4096)


@pytest.mark.parametrize(
    "other",
    [
        structs.replace(OFFER, spec=b"other"),
        structs.replace(OFFER, frame_sizes=(4096, 4096, 4096)),
        structs.replace(OFFER, frame_sizes=(8192,)),
        structs.replace(OFFER, chunk_bytes=8192),
    ],
)
def test_two_pieces_of_one_name_are_never_mixed(other: PieceOffered) -> None:
    intake, last = Intake(LIMITS), len(ChunkPlaces(other.frame_sizes, other.chunk_bytes)) - 1
    intake.step("a", OFFER, 0)
    assert intake.step("a", Chunk("l", last, other.digest(), (b"y" * 4096,)), 0) == [], "it came before its offer"
    assert messages(intake.step("a", Chunk("l", 0, OFFER.digest(), (FULL,)), 0)) == [ChunksAcknowledged("l", 1)]
    assert messages(intake.step("a", structs.replace(OFFER, probe=1), 0)) == [ChunksAcknowledged("l", 1, (), 1)], (
        "only repeated"
    )
    assert messages(intake.step("a", other, 0)) == [ChunksAcknowledged("l", 0)], "it begins anew"
    assert intake.step("a", Chunk("l", 1, OFFER.digest(), (FULL,)), 0) == [], "of the one before, and late"
    assert intake.bytes_coming == sum(other.frame_sizes)


def test_a_piece_that_is_being_built_is_not_begun_anew() -> None:
    intake = Intake(LIMITS)
    intake.step("a", structs.replace(OFFER, frame_sizes=()), 0)
    assert intake.step("a", OFFER, 0) == [], "it was handed over, and once"
    intake.built(BUILT)
    assert intake.step("a", OFFER, 0) == [SendTick("a", BUILT)]


def test_another_piece_in_its_place_has_to_fit_as_well() -> None:
    intake = Intake(LIMITS)
    intake.step("a", OFFER, 0)
    (refusal,) = messages(intake.step("a", structs.replace(OFFER, frame_sizes=(LIMITS.piece_bytes_max + 1,)), 0))
    assert isinstance(refusal, PieceBuilt)
    assert (intake.progress("l"), intake.bytes_coming) == (None, 0)


@pytest.mark.parametrize(
    ("offer", "told"),
    [
        (PieceOffered("l", b"", (-1,), 4096), "bytes"),
        (PieceOffered("l", b"", (LIMITS.piece_bytes_max + 1,), 4096), "graph.load_bytes_max"),
        (PieceOffered("l", b"", (1,), 1), "not those of this version"),
        (PieceOffered("l", b"", (0,) * (LIMITS.frames_max + 1), 4096), "not those of this version"),
    ],
)
def test_an_offer_beyond_the_limits_is_refused_in_words(offer: PieceOffered, told: str) -> None:
    intake = Intake(LIMITS)
    (refusal,) = messages(intake.step("a", offer, 0))
    assert isinstance(refusal, PieceBuilt)
    assert told in refusal.error
    assert intake.deadline is None


def test_only_so_many_pieces_come_at_once_and_idle_ones_are_given_up() -> None:
    intake = Intake(LIMITS)
    intake.step("a", PieceOffered("1", b"", (9,), 4096), 0)
    intake.step("a", PieceOffered("2", b"", (9,), 4096), 500)
    (refusal,) = messages(intake.step("b", PieceOffered("3", b"", (9,), 4096), 600))
    assert isinstance(refusal, PieceBuilt)
    assert "2 loads are already in progress" in refusal.error
    assert intake.deadline == 1000
    assert intake.wake(999) == []
    assert intake.wake(1000) == [PieceGone("1")]
    assert intake.deadline == 1500
    assert messages(intake.step("b", PieceOffered("3", b"", (9,), 4096), 1000)) == [ChunksAcknowledged("3", 0)]


def test_what_was_built_is_kept_however_long_the_others_take() -> None:
    """The log may decide long after this shard was done: only the sender takes back what it was told is here."""
    intake = Intake(LIMITS)
    (arrived,) = [
        effect for effect in intake.step("a", PieceOffered("l", b"", (), 4096), 0) if not isinstance(effect, SendTick)
    ]
    assert isinstance(arrived, PieceArrived)
    assert intake.wake(10 * LIMITS.idle_timeout_ns) == [], "it is being built"
    now = 20 * LIMITS.idle_timeout_ns
    assert messages(intake.built(BUILT)) == [BUILT]
    assert intake.wake(now) == []
    assert intake.deadline is None, "it is not counted among those on their way any more"
    assert messages(intake.step("a", PieceOffered("l", b"", (), 4096), now)) == [BUILT]
    assert intake.step("b", PieceDropped("l"), now) == []
    assert intake.step("a", PieceDropped("l"), now) == [PieceGone("l")]


@pytest.mark.parametrize("seed", range(15))
def test_all_bytes_arrive_over_a_bad_link(seed: int) -> None:
    random = Random(seed)
    frames = [random.randbytes(random.choice([0, 1, 4095, 4096, 9000, 40_000])) for _ in range(random.randint(0, 5))]
    strewn = [_strewn(random, frame) if random.random() < 0.5 else frame for frame in frames]
    shipment, intake = Shipment("l", "b", b"spec", strewn, LIMITS), Intake(LIMITS)
    bag = messages(shipment.begin(0))
    arrived: list[PieceArrived] = []
    now = 0
    while shipment.answer is None:
        assert now < 10**6, "it does not arrive"
        if not bag:
            now += 100
            bag += messages(shipment.wake(now))
            continue
        message = bag.pop(random.randrange(len(bag)))
        if random.random() < 0.2:
            continue
        if random.random() < 0.2:
            bag.append(message)
        if isinstance(message, ChunksAcknowledged | PieceBuilt):
            bag += messages(shipment.step(message, now))
            continue
        assert isinstance(message, PieceOffered | Chunk)
        for effect in intake.step("a", message, now):
            if isinstance(effect, PieceArrived):
                arrived.append(effect)
                bag += messages(intake.built(BUILT))
            elif isinstance(effect, SendTick):
                bag.append(effect.message)
    (piece,) = arrived
    assert [frame.tobytes() for frame in piece.frames] == frames


def _strewn(random: Random, frame: bytes) -> list[bytes]:
    """A frame in several buffers, some of them empty."""
    cuts = sorted(random.randint(0, len(frame)) for _ in range(random.randint(0, 6)))
    return [frame[begin:end] for begin, end in zip([0, *cuts], [*cuts, len(frame)], strict=True)]


def test_what_the_disk_has_no_room_for_is_refused_before_it_is_sent() -> None:
    intake = Intake(LIMITS)
    intake.room_bytes = 10_000
    assert isinstance(messages(intake.step("a", PieceOffered("l", b"", (6000,), 4096), 0))[0], ChunksAcknowledged)
    (refused,) = messages(intake.step("a", PieceOffered("m", b"", (6000,), 4096), 0))
    assert isinstance(refused, PieceBuilt)
    assert "its disk has room for 4000 bytes more, and 6000 are needed" in refused.error
    intake.room_bytes = 20_000
    assert isinstance(messages(intake.step("a", PieceOffered("m", b"", (6000,), 4096), 0))[0], ChunksAcknowledged)
