"""The operators' wire without a wire: what may be on its way, and what is no message."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.client import tunnel
from shoal.client.tunnel import BadMessage, Message, Receiving, Sending, header, parsed


def data(length: int, sequence: int = 0) -> Message:
    return parsed([header(tunnel.DATA, sequence), bytes(length)])


@given(st.lists(st.binary(max_size=12), max_size=4) | st.tuples(st.binary(min_size=5, max_size=5), st.binary()))
def test_what_is_no_message_is_said_to_be_none(parts: list[bytes]) -> None:
    try:
        message = parsed(parts)
    except BadMessage:
        return
    assert message.kind in (tunnel.OPEN, tunnel.DATA, tunnel.CREDIT, tunnel.END)
    assert 0 < len(message.body) <= tunnel.CHUNK if message.kind == tunnel.DATA else not message.body


@pytest.mark.parametrize(
    "parts",
    [[], [b""], [header(tunnel.DATA)], [header(tunnel.DATA), b""], [header(tunnel.DATA), bytes(tunnel.CHUNK + 1)],
     [header(tunnel.OPEN), b"x"], [header(0)], [header(5)], [header(tunnel.DATA), b"x", b"y"]],
)  # fmt: skip
def test_messages_of_a_wrong_shape(parts: list[bytes]) -> None:
    with pytest.raises(BadMessage):
        parsed(parts)


@given(st.lists(st.integers(1, 2 * tunnel.CHUNK), min_size=1, max_size=200), st.randoms(use_true_random=False))
def test_a_stream_never_exceeds_its_window_and_never_stands_still(lengths: list[int], random: object) -> None:
    """Whatever is written in whatever pieces, and however far the other side lags behind."""
    sending, receiving = Sending(), Receiving()
    wire: deque[Message] = deque()
    credits: deque[int] = deque()
    passed = 0
    todo = deque(lengths)
    while todo or wire:
        choices = [name for name, there in (("send", todo and sending.room), ("use", wire), ("hear", credits)) if there]
        match random.choice(choices):  # type: ignore[attr-defined]
            case "send":
                piece = min(todo[0], sending.room)
                todo[0] -= piece
                if not todo[0]:
                    todo.popleft()
                message = parsed([sending.sent(piece), bytes(piece)])
                receiving.took(message)
                wire.append(message)
            case "use":
                length = len(wire.popleft().body)
                passed += length
                credit = receiving.used_up(length)
                if credit is not None:
                    credits.append(parsed([credit]).number)
            case "hear":
                sending.credited(credits.popleft())
        assert sum(tunnel.cost(len(message.body)) for message in wire) <= tunnel.WINDOW
        assert len(wire) + len(credits) < tunnel.QUEUE_MESSAGES
    assert passed == sum(lengths)


def test_single_bytes_fit_a_queue_too() -> None:
    sending, count = Sending(), 0
    while sending.room:
        sending.sent(1)
        count += 1
    assert count == tunnel.WINDOW // (tunnel.MESSAGE_COST + 1) < tunnel.QUEUE_MESSAGES


def test_a_message_that_is_missing_is_noticed() -> None:
    receiving = Receiving()
    receiving.took(data(1))
    with pytest.raises(BadMessage, match="missing"):
        receiving.took(data(1, 2))


def test_more_than_the_window_is_noticed() -> None:
    receiving = Receiving()
    fit = tunnel.WINDOW // tunnel.cost(tunnel.CHUNK)
    for sequence in range(fit):
        receiving.took(data(tunnel.CHUNK, sequence))
    with pytest.raises(BadMessage, match="more than the window"):
        receiving.took(data(tunnel.CHUNK, fit))


@pytest.mark.parametrize("amount", [0, tunnel.cost(1) + 1, tunnel.WINDOW, 2**32 - 1])
def test_credit_for_what_was_not_sent_is_noticed(amount: int) -> None:
    sending = Sending()
    sending.sent(1)
    with pytest.raises(BadMessage, match="credit"):
        sending.credited(amount)
