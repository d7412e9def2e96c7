"""What leaves a room: one write for each member, own frames in their places, no more than may wait."""

import asyncio
import json
from collections.abc import Iterable
from typing import Any

from palaver.core.message import Message
from palaver.core.protocol import Ack, Streamed, System, encode
from palaver.hub.outbox import WINDOW, Outbox
from palaver.hub.session import DELTA, MESSAGE, NOTICE, SOFT, Session


class Wire:
    """A transport that keeps what is written; `waiting` bytes lie there, and what is written while `stuck`."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []
        self.waiting = 0
        self.stuck = False

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        self.waiting += len(data) if self.stuck else 0

    def writelines(self, list_of_data: Iterable[bytes | memoryview]) -> None:
        self.write(b"".join(list_of_data))

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return False

    def abort(self) -> None: ...

    def get_extra_info(self, name: str) -> Any:
        return None


class Room:
    """An outbox with sessions that are up to date."""

    def __init__(self) -> None:
        self.behind: list[Session] = []
        self.outbox = Outbox(
            asyncio.get_running_loop(), on_flush=lambda deliveries, size: None, on_behind=self.behind.append
        )
        self.seq = 0

    def seat(self, name: str, view: int = MESSAGE | NOTICE | DELTA, **options: Any) -> tuple[Session, Wire]:
        wire = Wire()
        session = Session(ident=name, name=name, role="observer", room="main", transport=wire, view=view, **options)
        session.behind = False
        self.outbox.add(session)
        return session, wire

    def say(self, content: str, to: str | None = None) -> Message:
        self.seq += 1
        said = Message(
            room="main", seq=self.seq, id="", sender="Ann", role="moderator", to=to, content=content, timestamp=""
        )
        self.outbox.message(said, encode(said))
        return said


def words(wire: Wire) -> list[str]:
    """What the frames in all writes say, in order."""
    data, found = b"".join(wire.writes), []
    while data:
        length, bytes_of_length = data[1], {126: 2, 127: 8}.get(data[1], 0)
        start = 2 + bytes_of_length
        size = int.from_bytes(data[2:start], "big") if bytes_of_length else length
        frame = json.loads(data[start : start + size])
        found.append(frame.get("content") or frame.get("text") or frame.get("id"))
        data = data[start + size :]
    return found


async def test_own_frames_stand_in_their_places_among_the_common_ones() -> None:
    room = Room()
    ann, to_ann = room.seat("Ann")
    _, to_bob = room.seat("Bob")
    room.outbox.reply(ann, Ack(id="first"))
    room.say("one")
    room.outbox.reply(ann, Ack(id="second"))
    room.outbox.reply(ann, Ack(id="third"))
    room.say("two")
    room.outbox.notice(System(content="three"))
    room.outbox.reply(ann, Ack(id="last"))
    room.outbox.flush()
    assert words(to_ann) == ["first", "one", "second", "third", "two", "three", "last"]
    assert words(to_bob) == ["one", "two", "three"]
    assert len(to_ann.writes) == len(to_bob.writes) == 1


async def test_acknowledgements_leave_behind_the_messages_but_before_all_else() -> None:
    room = Room()
    ann, to_ann = room.seat("Ann")
    late, to_late = room.seat("Late")
    old, to_old = room.seat("Old", legacy=True)
    late.behind = True
    for session in (ann, late, old):
        room.outbox.acknowledge(session, Ack(id="of one"))
    room.say("one")
    room.outbox.acknowledge(ann, Ack(id="of two"))
    room.say("two")
    room.outbox.reply(ann, System(content="for her"))
    room.outbox.acknowledge(ann, Ack(id="of three"))
    room.say("three")
    room.outbox.notice(System(content="for all"))
    room.outbox.acknowledge(ann, Ack(id="last"))
    room.say("four")
    room.outbox.flush()
    room.outbox.acknowledge(ann, Ack(id="alone"))
    room.outbox.flush()
    said = ["one", "two", "of one", "of two", "for her", "three", "of three", "for all", "four", "last", "alone"]
    assert words(to_ann) == said
    assert words(to_late) == ["of one"]  # it learns that it was heard, however far behind it reads
    assert words(to_old) == ["one", "two", "three", "for all", "four"]  # a word it does not know
    assert [len(wire.writes) for wire in (to_ann, to_late, to_old)] == [2, 1, 1]


async def test_members_with_the_same_view_share_the_same_bytes() -> None:
    room = Room()
    _, to_bob = room.seat("Bob")
    _, to_cem = room.seat("Cem", MESSAGE | NOTICE)
    room.say("one")
    room.say("two")
    room.outbox.flush()
    assert to_bob.writes[0] is to_cem.writes[0]  # no delta was in it: what both see is one object


async def test_each_view_gets_its_kinds_of_frames() -> None:
    room = Room()
    ann, to_ann = room.seat("Ann", NOTICE)  # deafened
    _, to_bob = room.seat("Bob", MESSAGE | NOTICE)  # wants no streamed text
    _, to_cem = room.seat("Cem")
    room.outbox.delta(1, Streamed(sender="Dan", turn=1, text="stream"))
    room.outbox.notice(System(content="notice"))
    room.outbox.reply(ann, Ack(id="own"))
    room.say("message")
    room.outbox.flush()
    assert words(to_ann) == ["notice", "own"]
    assert words(to_bob) == ["notice", "message"]
    assert words(to_cem) == ["notice", "stream", "message"]


async def test_a_message_flushes_the_streamed_text_before_it() -> None:
    room = Room()
    _, to_bob = room.seat("Bob")
    room.outbox.delta(1, Streamed(sender="Dan", turn=1, text="stream"))
    room.outbox.flush()
    assert not to_bob.writes
    room.say("message")
    room.outbox.flush()
    assert words(to_bob) == ["stream", "message"]


async def test_streamed_text_waits_one_window_and_no_longer() -> None:
    room = Room()
    _, to_bob = room.seat("Bob")
    loop = asyncio.get_running_loop()
    begin = loop.time()
    room.outbox.delta(1, Streamed(sender="Dan", turn=1, text="stream"))
    while not to_bob.writes:
        assert loop.time() < begin + 5
        await asyncio.sleep(0)
    assert loop.time() - begin >= WINDOW * 0.9


async def test_silenced_text_that_still_waits_never_leaves() -> None:
    room = Room()
    _, to_bob = room.seat("Bob")
    room.outbox.delta(1, Streamed(sender="Dan", turn=1, text="silenced"))
    room.outbox.delta(2, Streamed(sender="Eve", turn=2, text="heard"))
    room.outbox.silence(1)
    room.say("message")
    room.outbox.flush()
    assert words(to_bob) == ["heard", "message"]


async def test_a_whisper_goes_to_its_reader_in_its_place_and_to_nobody_else() -> None:
    room = Room()
    _, to_bob = room.seat("Bob")
    _, to_cem = room.seat("Cem")
    room.say("one")
    room.say("hush", to="Bob")
    room.say("three")
    room.outbox.flush()
    assert words(to_bob) == ["one", "hush", "three"]
    assert words(to_cem) == ["one", "three"]
    assert room.outbox.recent.after(0, 10_000) == []  # not for everybody: it is not kept for whoever falls behind


async def test_one_that_does_not_read_is_set_aside_with_what_it_has() -> None:
    room = Room()
    deaf, wire = room.seat("Deaf")
    room.say("one")
    room.outbox.flush()
    wire.waiting = SOFT + 1
    room.say("two")
    room.outbox.reply(deaf, Ack(id="own"))
    room.outbox.flush()
    assert room.behind == [deaf]
    assert words(wire) == ["one", "own"]  # its own frames still come, messages do not
    assert deaf.delivered == 1
    passes = room.outbox.recent.after(1, 10_000)
    assert [(one.first, one.last) for one in passes] == [(2, 2)]


async def test_clients_of_llm_party_chat_get_what_they_understand() -> None:
    room = Room()
    _, wire = room.seat("Bob", legacy=True)
    room.say("one")
    room.outbox.notice(System(content="two"))
    room.outbox.flush()
    assert words(wire) == ["one", "two"]
