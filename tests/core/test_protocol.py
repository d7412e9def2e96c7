"""The wire: what is taken, what is refused and why."""

import re

import pytest

from palaver.core.errors import ProtocolError
from palaver.core.names import tidy_name
from palaver.core.protocol import (
    MAX_CONTENT,
    Ack,
    Close,
    Join,
    Pass,
    Say,
    decode_hub,
    decode_join,
    decode_member,
    encode,
)


@pytest.mark.parametrize("frame", [Say(content="hi", id="1"), Pass(turn=3, reason="no"), Ack(id="1", seq=2, room="r")])
def test_frames_survive_the_wire_with_their_type_first(frame: Say | Pass | Ack) -> None:
    raw = encode(frame)
    assert raw.startswith(b'{"type":"')
    assert (decode_hub(raw) if isinstance(frame, Ack) else decode_member(raw)) == frame


@pytest.mark.parametrize(
    ("raw", "problem"),
    [
        ('{"type":"message","content":"x","from":"Mod"}', "'from' is stamped by the hub"),
        ('{"type":"message","content":"x","role":"moderator"}', "'role' is stamped by the hub"),
        ('{"type":"message","content":"x","seq":1}', "'seq' is stamped by the hub"),
        ('{"type":"system","content":"x"}', "system"),
        ('{"type":"message","content":5}', "content"),
        ('{"type":"message","content":"x","colour":"red"}', "colour"),
        ("5", "object"),
        ("[]", "object"),
        ('"message"', "object"),
        ("{", "truncated"),
        ("", "truncated"),
        ('{"type":"message"}', "content"),
        ('{"type":"delta","turn":-1,"text":"x"}', "turn"),
        ('{"type":"floor_request","urgency":2}', "urgency"),
        (b"\xff\xfe", ""),
        ("[" * 5000, ""),
        ('{"type":"message","content":"x","meta":{"a":' + "[" * 32 + "]" * 32 + "}}", "nested more than 32 deep"),
        ('{"type":"message","content":"' + "x" * (MAX_CONTENT + 1) + '"}', "length"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(raw: str | bytes, problem: str) -> None:
    """A2.11"""
    with pytest.raises(ProtocolError) as raised:
        decode_member(raw)
    assert problem in str(raised.value)


def test_meta_may_be_nested_as_deep_as_it_says() -> None:
    """And no deeper: near Python's limit the hub could read what its own restart, or a client, could not."""
    deepest = '{"type":"message","content":"x","meta":{"a":' + "[" * 31 + "]" * 31 + "}}"
    assert isinstance(decode_member(deepest), Say)


def test_a_join_comes_back_tidied() -> None:
    assert decode_join('{"type":"join","name":"  Zen\\t Sage ","role":"model"}') == Join(name="Zen Sage", role="model")


@pytest.mark.parametrize(
    "name",
    ["", "   ", "system", "SYSTEM", "all", "Ada\u202e", "a\x00b", "x" * 65, 'A "B"', "\u200b", "ｓｙｓｔｅｍ"],
)
def test_names_that_deceive_are_refused(name: str) -> None:
    with pytest.raises(ProtocolError):
        tidy_name(name)


@pytest.mark.parametrize("raw", ["hello", "[]", '{"type":"message","content":"x"}', '{"type":"join","name":"Ada"}'])
def test_a_wrong_first_frame_is_told_what_a_right_one_is(raw: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        decode_join(raw)
    _, _, form = str(caught.value).partition("; a connection begins with ")
    right, _, others = form.partition("; the role may also be ")
    assert decode_join(right) == Join(name="Ada", role="model")
    assert set(re.findall(r"\w+", others)) - {"or"} == {"user_sim", "moderator", "observer"}


@pytest.mark.parametrize("room", ["", "a b", "../x", "-x", "x" * 65, "ä"])
def test_rooms_have_plain_names(room: str) -> None:
    with pytest.raises(ProtocolError, match="a room's name must have 1 to 64 letters, digits"):
        decode_join(f'{{"type":"join","name":"Ada","role":"model","room":"{room}"}}')


def test_close_codes_say_by_their_range_whether_to_come_back() -> None:
    returning = {"GOING_AWAY", "SLOW", "TAKEN_OVER", "LOG_UNAVAILABLE", "TOO_MANY"}
    assert {code.name for code in Close if code.may_return} == returning
    assert all(4000 <= code < 5000 for code in Close)
