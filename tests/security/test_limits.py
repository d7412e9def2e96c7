"""What one address and one member may ask of a hub, and what happens beyond."""

import asyncio
import json
import resource
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.frames import Frame, Opcode

from palaver.cli import server
from palaver.cli.limits import allow_many_connections, limits_of
from palaver.core.limits import MOST_HISTORY, Limits
from palaver.core.protocol import Ack, Close, Join
from palaver.hub.limits import TOLD, Bucket, Gate
from palaver.participants.link import Link
from tests.hubs import Member, RunningHub, joined, running, stranger

USUAL = Limits()


@asynccontextmanager
async def open_to_others(**limits: Any) -> AsyncIterator[RunningHub]:
    """A hub that takes this machine for another."""
    chosen = replace(USUAL, **limits)
    async with running(limits=chosen, gate=Gate(chosen, is_exempt=lambda address: False)) as hub:
        yield hub


def test_a_bucket_gives_what_time_brings_and_tells_each_when_to_come_again() -> None:
    bucket = Bucket(rate=10.0, burst=2.0, now=0.0)
    assert [bucket.take(0.0) for _ in range(2)] == [0.0, 0.0]
    waits = [bucket.take(0.0) for _ in range(3)]
    assert waits == pytest.approx([0.1, 0.2, 0.3])
    assert bucket.refused == 3.0
    assert [bucket.take(wait) for wait in waits] == [0.0, 0.0, 0.0]
    assert bucket.refused == pytest.approx(0.0)
    bucket.take(100.0)
    assert [bucket.take(100.0) > 0 for _ in range(2)] == [False, True]


def test_a_house_is_one_address_and_a_neighbour_another() -> None:
    gate = Gate(Limits(connections=1))
    assert gate.arrive("2001:db8::1") == ""
    assert "more than 1 connections" in str(gate.arrive("2001:db8::ffff"))
    assert gate.arrive("2001:db8:0:1::1") == ""
    assert gate.arrive("192.0.2.1") == ""
    assert "more than 1" in str(gate.arrive("::ffff:192.0.2.1"))
    assert [gate.arrive("127.0.0.1") for _ in range(5)] == [""] * 5


async def test_more_connections_than_one_address_may_have_are_told_and_then_reset() -> None:
    async with open_to_others(connections=3) as hub:
        kept = [await connect(hub.url, proxy=None) for _ in range(3)]
        with pytest.raises(InvalidStatus) as refused:
            await connect(hub.url, proxy=None)
        assert refused.value.response.status_code == 503
        assert b"more than 3 connections from your address" in (refused.value.response.body or b"")
        await kept.pop().close()
        async with joined(hub.url, "Ann"):
            pass
        held = [_silent(hub.port) for _ in range(TOLD + 1)]
        with pytest.raises((InvalidHandshake, ConnectionError)):
            await connect(hub.url, proxy=None)
        for one in held:
            one.close()
        await asyncio.gather(*(one.close() for one in kept))


def _silent(port: int) -> socket.socket:
    """Half a request, and then nothing more: what a slowloris sends."""
    one = socket.create_connection(("127.0.0.1", port))
    one.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
    one.setblocking(False)
    return one


def _is_held(one: socket.socket) -> bool:
    """Whether the hub has not reset it."""
    try:
        return bool(one.recv(1))
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


async def test_more_joins_a_minute_are_told_to_come_back() -> None:
    async with open_to_others(joins=3) as hub:
        for _ in range(3):
            async with joined(hub.url, "Ann"):
                pass
        async with stranger(hub.url) as one:
            await one.send({"type": "join", "name": "Ann", "role": "moderator"})
            assert "come back in" in (await one.next())["reason"]
            with pytest.raises(ConnectionClosed) as closed:
                await one.next()
        assert closed.value.rcvd is not None and closed.value.rcvd.code == Close.TOO_MANY
        assert Close.TOO_MANY.may_return


async def test_refused_joins_count_so_that_secrets_cannot_be_tried_out() -> None:
    async with open_to_others(joins=2) as hub:
        for expected in ("bad_frame", "bad_frame", "too_many"):
            async with stranger(hub.url) as one:
                await one.send('{"type":"join"}')
                assert (await one.next())["code"] == expected


async def test_whoever_connects_and_says_nothing_is_closed() -> None:
    async with open_to_others(join_seconds=0.2) as hub, stranger(hub.url) as one:
        assert (await one.next())["code"] == "join_timeout"


async def test_the_unjoined_are_bounded_in_all_and_members_stay() -> None:
    """A thousand half-open joins: no more than the bound are held, and whoever sits in a room goes on talking."""
    async with running(limits=replace(USUAL, unjoined=200)) as hub, joined(hub.url, "Ann") as ann:
        silent = []
        for _ in range(50):
            silent += [_silent(hub.port) for _ in range(20)]
            await asyncio.sleep(0)
        async with asyncio.timeout(5):
            while sum(map(_is_held, silent)) > 200:  # noqa: ASYNC110  a reset is not told to anybody but them
                await asyncio.sleep(0.01)
        assert (await ann.say("still here"))["type"] == "ack"
        assert not await _can_join(hub.url)
        for one in silent:
            one.close()
        async with asyncio.timeout(5):
            while not await _can_join(hub.url):
                pass


async def _can_join(url: str) -> bool:
    try:
        async with joined(url, "Bob", "observer"):
            return True
    except (InvalidHandshake, ConnectionError):
        return False


async def test_a_seat_given_back_frees_its_place_before_the_door() -> None:
    gate = Gate(USUAL)
    async with running(gate=gate) as hub:
        for _ in range(5):
            async with joined(hub.url, "Ann"):
                assert gate.unjoined == 0
            async with stranger(hub.url) as one:
                await one.send("{")
                await one.next()
        await _until_nobody(gate)


async def _until_nobody(gate: Gate) -> None:
    async with asyncio.timeout(5):
        while gate.unjoined or gate._open:  # noqa: ASYNC110  nothing tells of it
            await asyncio.sleep(0)


@asynccontextmanager
async def paced(**limits: Any) -> AsyncIterator[tuple[RunningHub, Member, Member]]:
    """A hub that takes five frames a second of each, and two members."""
    options = replace(USUAL, **{"frames": 5.0, **limits})
    async with running(limits=options) as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bob") as bob:
        yield hub, ann, bob


async def test_messages_that_come_too_fast_are_refused_with_when_to_come_again() -> None:
    async with paced() as (hub, ann, bob):
        for number in range(15):
            await ann.send({"type": "message", "id": str(number), "content": str(number)})
        answers = sorted([await _answer(ann) for _ in range(15)], key=lambda answer: int(answer["id"]))
        assert [answer["type"] for answer in answers] == ["ack"] * 10 + ["nack"] * 5
        assert {answer["code"] for answer in answers[10:]} == {"rate_limited"}
        waits = [answer["retry_after"] for answer in answers[10:]]
        assert waits == sorted(waits) and 0 < waits[0] <= 0.2
        assert (await bob.say("not me"))["type"] == "ack"
        assert 'palaver_nacks_total{code="rate_limited"} 5.0' in hub.hub.metrics.text()


async def _answer(member: Member) -> dict[str, Any]:
    while (frame := await member.next())["type"] not in ("ack", "nack"):
        pass
    return frame


async def test_a_client_of_ours_waits_as_told_and_loses_nothing() -> None:
    async with running(limits=replace(USUAL, frames=40.0)) as hub, joined(hub.url, "Bob") as bob:
        async with Link(hub.url, Join(name="Fast", role="moderator")) as link:

            async def listen() -> None:
                async for _ in link:
                    pass

            listening = asyncio.create_task(listen())
            answers = await asyncio.gather(*(link.say(str(number)) for number in range(120)))
            assert all(isinstance(answer, Ack) for answer in answers)
            listening.cancel()
        said = {(await bob.until("message"))["content"] for _ in range(120)}
        assert said == {str(number) for number in range(120)}


async def test_streamed_text_beyond_the_rate_is_dropped_in_silence_and_counts_a_tenth() -> None:
    async with paced() as (hub, ann, _):
        for _ in range(150):
            await ann.send({"type": "delta", "turn": 1, "text": "x"})
        await ann.send({"type": "message", "id": "m", "content": "and?"})
        assert (await _answer(ann))["type"] == "nack"
        assert all(frame["type"] != "error" for frame in ann.seen)
        assert 'code="rate_limited"} 51.0' in hub.hub.metrics.text()


async def test_other_frames_and_bad_ones_beyond_the_rate_are_answered_with_an_error() -> None:
    async with paced() as (_, ann, _):
        for _ in range(10):
            await ann.send("{")
        await ann.send({"type": "status", "state": "ready"})
        while (error := await ann.until("error"))["code"] == "bad_frame":
            pass
        assert error["code"] == "rate_limited" and "come again in" in error["reason"]


async def test_large_frames_count_more() -> None:
    async with paced() as (_, ann, _):
        for number in range(3):
            await ann.send({"type": "message", "id": str(number), "content": "x" * 60_000})
        assert sorted([(await _answer(ann))["type"] for _ in range(3)]) == ["ack", "ack", "nack"]


async def test_a_flood_ends_with_its_own_connection() -> None:
    async with paced(refusals=100) as (_, ann, bob):
        hearing = asyncio.create_task(_drain(ann.connection))
        with pytest.raises(ConnectionClosed):
            for number in range(100_000):
                await ann.send({"type": "message", "id": str(number), "content": "spam"})
                await asyncio.sleep(0)
        await hearing
        assert ann.connection.close_code == Close.FLOOD
        assert not Close.FLOOD.may_return
        left = await bob.until("presence", name="Ann", state="left")
        assert "frames a second" in left["text"]
        assert len(bob.messages()) <= 15


async def test_who_floods_is_told_each_refusal_before_the_connection_ends() -> None:
    """All of it comes at once: the flood is seen before anything of this pass of the event loop has left."""
    words = [json.dumps({"type": "message", "id": str(number), "content": "spam"}) for number in range(200)]
    async with paced(refusals=100) as (_, ann, _):
        frames = [Frame(Opcode.TEXT, word.encode()).serialize(mask=True) for word in words]
        ann.connection.transport.write(b"".join(frames))
        with pytest.raises(ConnectionClosed):
            await ann.until("never")
        assert ann.connection.close_code == Close.FLOOD
        kinds = [frame["type"] for frame in ann.seen]
        assert kinds.count("nack") >= 100 and kinds[-1] == "error"


async def _drain(connection: ClientConnection) -> None:
    with pytest.raises(ConnectionClosed):
        while True:
            json.loads(await connection.recv())


async def test_rooms_are_bounded() -> None:
    async with running(max_rooms=1) as hub, joined(hub.url, "Ann"), stranger(hub.url) as one:
        await one.send({"type": "join", "name": "Bob", "role": "moderator", "room": "another"})
        assert "1 rooms open and opens no more" in (await one.next())["reason"]


def test_limits_are_flags_with_defaults_in_one_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert limits_of(server.parser().parse_args([])) == USUAL
    some = server.parser().parse_args(["--max-joins", "5", "--max-frame-rate", "0.5", "--max-unjoined", "0"])
    assert limits_of(some) == replace(USUAL, joins=5, frames=0.5, unjoined=0)
    for flags in (["--max-joins", "-1"], ["--max-frame-rate", "nan"], ["--history", str(MOST_HISTORY + 1)]):
        with pytest.raises(SystemExit):
            server.parser().parse_args(flags)
    assert "argument --history: 10001 is not within 0 to 10000" in capsys.readouterr().err


def test_a_hub_opens_as_many_connections_as_the_system_allows() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        allow_many_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
