"""Text that others have written: what is sent can be said, and what is shown does nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.api.errors import BadParameter
from shoal.api.text import encodable, fault_in, json_printable, printable
from shoal.program.failures import failure

ANY_TEXT = st.text(st.characters(codec=None), max_size=30) | st.text("a\x1b\ud800\udce9\u202e\x9b\x00é", max_size=12)


@given(ANY_TEXT)
def test_what_is_encodable_is_utf_8_and_only_that_is_changed_which_was_not(text: str) -> None:
    encodable(text).encode("utf-8")
    assert (encodable(text) == text) == (not fault_in(text))


@given(ANY_TEXT)
def test_what_is_printable_moves_no_cursor(text: str) -> None:
    shown = printable(text, "\n")
    shown.encode("utf-8")
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202a\u202e\u2066\u200e" for c in shown if c != "\n")


@given(ANY_TEXT.filter(lambda text: not any("\ud800" <= c <= "\udbff" for c in text)))  # two halves would be one
def test_a_line_of_json_stays_the_same_object(text: str) -> None:
    line = json_printable(json.dumps({"a": text}, ensure_ascii=False))
    line.encode("utf-8")
    assert json.loads(line) == {"a": text}


@pytest.mark.parametrize("text", ["Grüße", "日本語", "می\u200cخواهم", "👩\u200d👩", "a\u00a0b", "plain"])
def test_what_people_write_is_shown_as_it_is(text: str) -> None:
    assert printable(text) == text


class Evil(BadParameter):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Node:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


def _raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:
        return caught


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("no label caf\udce9"), "no label caf\\udce9"),
        (BadParameter("no column \ud800"), "no column \\ud800"),
        (KeyError("\udfff"), "udfff"),
        (Evil("x"), "Evil, which can't be shown: RuntimeError"),
        (UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates"), "surrogates"),
    ],
)
def test_whatever_a_program_raises_its_failure_can_be_sent(error: Exception, said: str) -> None:
    told = failure(_raised(error), "advance of tick 1")
    told.encode("utf-8")
    assert said in told


def test_a_node_that_can_not_be_shown_is_not_shown() -> None:
    error = ValueError("it broke")
    error.shoal_node = Node()  # type: ignore[attr-defined]
    assert failure(_raised(error), "advance of tick 1").startswith("advance of tick 1 failed\n")
    error.shoal_node = "caf\udce9"  # type: ignore[attr-defined]
    failure(_raised(error), "advance of tick 1").encode("utf-8")
