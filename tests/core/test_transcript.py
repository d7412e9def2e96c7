"""Transcripts there and back."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import ProtocolError
from palaver.core.message import Message
from palaver.core.transcript import from_lines, markdown_of, to_line, to_markdown
from tests.core.test_prompt import message, rooms


@given(messages=rooms())
def test_a_transcript_replays_to_the_same_messages(messages: list[Message]) -> None:
    """A2.12"""
    assert list(from_lines(to_line(one) for one in messages)) == messages


def test_the_last_word_on_a_message_counts() -> None:
    lines = [to_line(message(1, "Ada", "secret")), to_line(message(2, "Bob", "b"))]
    lines.append(to_line(message(1, "Ada", "", redacted="rude")))
    assert [one.redacted for one in from_lines(lines)] == ["rude", None]


def test_a_line_cut_off_by_a_crash_is_left_out_at_the_end_only() -> None:
    whole, cut = to_line(message(1, "Ada", "a")), to_line(message(2, "Bob", "b"))[:20]
    assert [one.seq for one in from_lines([whole, cut])] == [1]
    with pytest.raises(ProtocolError, match="line 1"):
        list(from_lines([cut, whole]))


@given(text=st.text())
def test_a_message_cannot_pretend_to_be_another_in_markdown(text: str) -> None:
    lines = markdown_of(message(1, "Ada", text)).splitlines()
    assert lines[0].startswith("**Ada**") and all(line.startswith(">") or not line for line in lines[1:])


def test_markdown_shows_whispers_and_redactions() -> None:
    pieces = list(to_markdown([message(1, "Ada", "psst", to="Bob"), message(2, "Bob", "", redacted="rude")], title="T"))
    assert pieces[0] == "# T\n\n" and "(to Bob)" in pieces[1] and "*redacted: rude*" in pieces[2]


def test_markdown_says_who_wrote_in_another_s_name() -> None:
    said = msgspec.structs.replace(message(1, "Bob", "I quit."), meta={"sent_as": True, "by": "Ada"})
    assert markdown_of(said).startswith("**Bob** (written by Ada) · ")
