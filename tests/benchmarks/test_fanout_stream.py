"""The check of every receiver's bytes: a hub that loses, doubles, reorders or changes anything must not get by."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from load.dialects import Dialect, Nats, Palaver, stamp
from load.frames import PING, TEXT, frame_at
from load.stream import CommonStream, Reader


def frame(payload: bytes, opcode: int = TEXT) -> bytes:
    """A hub's frame, unmasked."""
    head = (
        bytes((opcode, len(payload))) if len(payload) < 126 else bytes((opcode, 126)) + len(payload).to_bytes(2, "big")
    )
    return head + payload


def said(counter: int, sender: int = 0) -> bytes:
    """One delivery of the bare hub."""
    return frame(stamp(sender, counter, 1000 + counter) + b"." * 100)


def stream() -> CommonStream:
    return CommonStream(Dialect(), senders=3)


def feed(common: CommonStream, reader: Reader, data: bytes) -> None:
    common.feed(reader, memoryview(data))


def test_receivers_that_get_the_same_are_counted_once_and_agree() -> None:
    common, one, other = stream(), Reader(), Reader()
    data = b"".join(said(counter) for counter in range(5))
    feed(common, one, data)
    feed(common, other, data)
    assert (common.count, common.gaps, common.duplicates) == (5, 0, 0)
    assert one.offset == other.offset == common.end
    assert common.sent_at == [1000, 1001, 1002, 1003, 1004]


def test_a_lost_message_is_a_gap() -> None:
    common = stream()
    feed(common, Reader(), said(0) + said(1) + said(4))
    assert (common.gaps, common.duplicates) == (2, 0)


def test_a_message_that_comes_twice_is_a_duplicate() -> None:
    common = stream()
    feed(common, Reader(), said(0) + said(1) + said(1) + said(2))
    assert (common.gaps, common.duplicates) == (0, 1)


def test_senders_are_counted_apart() -> None:
    common = stream()
    feed(common, Reader(), said(0, 0) + said(0, 1) + said(1, 0) + said(1, 1))
    assert (common.gaps, common.duplicates) == (0, 0)
    assert common.arrived == [0, 1, 0, 1]


def test_a_hole_in_the_hubs_own_numbers_is_a_gap() -> None:
    def numbered(counter: int, seq: int) -> bytes:
        content = stamp(0, counter, 1).decode()
        return frame(json.dumps({"type": "message", "seq": seq, "content": content}, separators=(",", ":")).encode())

    common = CommonStream(Palaver(), senders=1)
    feed(common, Reader(), numbered(0, 7) + numbered(1, 8) + numbered(2, 10))
    assert common.gaps == 1


@pytest.mark.parametrize(
    "theirs",
    [
        said(0) + said(2),
        said(0) + said(0) + said(1) + said(2),
        said(1) + said(0) + said(2),
        said(0) + said(1).replace(b"..", b"!!") + said(2),
    ],
    ids=["lost", "doubled", "reordered", "changed"],
)
def test_a_receiver_that_got_something_else_than_the_others_has_diverged(theirs: bytes) -> None:
    common, first, second = stream(), Reader(), Reader()
    feed(common, first, said(0) + said(1) + said(2))
    feed(common, second, theirs)
    assert second.diverged
    assert not first.diverged


def test_a_receiver_that_got_too_little_is_behind() -> None:
    common, first, second = stream(), Reader(), Reader()
    feed(common, first, said(0) + said(1))
    feed(common, second, said(0) + said(1)[:-1])
    assert not second.diverged
    assert second.offset < common.end


def test_pings_are_answered_and_no_delivery() -> None:
    common, reader = stream(), Reader()
    feed(common, reader, said(0) + frame(b"here?", PING) + said(1))
    assert common.count == 2
    assert reader.answers == [b"\x8a\x85\0\0\0\0here?"]


pieces = st.lists(st.integers(1, 60), min_size=1, max_size=60)


@given(cuts=pieces, private_after=st.integers(0, 6))
def test_however_the_bytes_are_cut_and_whatever_is_private_the_rest_agrees(cuts: list[int], private_after: int) -> None:
    common, first, second = stream(), Reader(), Reader(private=[])
    messages = [said(counter) for counter in range(6)]
    notice = frame(b'{"type":"ack","id":"1"}')
    theirs = [*messages[:private_after], notice, *messages[private_after:]]
    streams = {id(first): b"".join(messages), id(second): b"".join(theirs)}
    for number, size in enumerate([*cuts, 10_000, 10_000]):
        reader = (first, second)[number % 2]
        feed(common, reader, streams[id(reader)][:size])
        streams[id(reader)] = streams[id(reader)][size:]
    assert (common.count, common.gaps, common.duplicates) == (6, 0, 0)
    assert first.offset == second.offset == common.end
    assert not first.diverged
    assert not second.diverged
    assert second.private == [notice]


@given(cuts=pieces)
def test_units_of_nats_may_begin_and_end_anywhere_in_frames(cuts: list[int]) -> None:
    units = b"PING\r\n" + b"".join(b"MSG room 1 33\r\n%b\r\n" % stamp(0, counter, 1) for counter in range(4))
    data = b""
    for size in cuts:
        data, units = data + frame(units[:size]), units[size:]
    data += frame(units) if units else b""
    common, reader = CommonStream(Nats(), senders=1), Reader()
    for size in cuts:
        feed(common, reader, data[:size])
        data = data[size:]
    feed(common, reader, data)
    assert (common.count, common.gaps, common.duplicates) == (4, 0, 0)
    assert len(reader.answers) == 1


def test_what_everybody_has_is_forgotten_without_losing_the_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("load.stream.KEEP", 100)
    common, one, other = stream(), Reader(), Reader()
    for counter in range(10):
        feed(common, one, said(counter))
        feed(common, other, said(counter))
        common.trim(min(one.offset, other.offset))
    assert one.offset == other.offset == common.end == 10 * len(said(0))
    assert not other.diverged


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_frames_of_every_length_are_found(size: int) -> None:
    width = 0 if size < 126 else 2 if size < 65536 else 8
    length = bytes(({0: size, 2: 126, 8: 127}[width],)) + (size.to_bytes(width, "big") if width else b"")
    whole = bytes((TEXT,)) + length + b"x" * size
    assert frame_at(b"??" + whole + b"next", 2) == (3 + len(length), 2 + len(whole))
    assert frame_at(whole[:-1], 0) is None
