"""The websocket door: who gets in, what is answered, what is refused."""

import asyncio
import json
import logging
import urllib.request
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from palaver.core.protocol import MAX_FRAME, Close, Join, Welcome
from palaver.hub.auth import SharedSecret
from palaver.participants.link import Link, LinkDown
from tests.hubs import joined, running, stranger
from tests.patience import within


async def test_a_message_reaches_everybody_and_its_author_is_acknowledged() -> None:
    """A2.3: the wire as the design fixes it."""
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bob", "observer") as bob:
        answer = await ann.say("hello")
        assert (answer["type"], answer["seq"]) == ("ack", 1)
        heard = await bob.until("message")
        assert (heard["from"], heard["content"], heard["seq"], heard["room"]) == ("Ann", "hello", 1, "main")
        assert heard["timestamp"].endswith("Z")


async def test_a_name_is_taken_whatever_its_letter_case_and_free_again_at_once() -> None:
    """A2.7: duplicate names are turned away with the text of LLM Party Chat; a close frees the name within 1 s."""
    async with running() as hub:
        async with joined(hub.url, "Zen Sage", "model"), stranger(hub.url) as second:
            await second.send({"type": "join", "name": "zen  sage", "role": "model"})
            assert "already taken" in (await second.next())["reason"]
            with pytest.raises(ConnectionClosed) as closed:
                await second.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == Close.NAME_TAKEN
        async with asyncio.timeout(within(1)):
            await _join_until_seated(hub.url, "Zen Sage")
        connection = await connect(hub.url, proxy=None)
        await connection.send(json.dumps({"type": "join", "name": "Zen Sage", "role": "model"}))
        connection.transport.abort()
        async with asyncio.timeout(within(1)):
            await _join_until_seated(hub.url, "Zen Sage")


async def _join_until_seated(url: str, name: str) -> None:
    while True:
        async with stranger(url) as one:
            await one.send({"type": "join", "name": name, "role": "model"})
            if (await one.next())["type"] == "welcome":
                return


async def test_coming_and_going_is_announced() -> None:
    """A2.7: joins and leaves are seen by the others."""
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bot", "model") as bot:
        assert (await ann.until("presence", name="Bot"))["state"] == "joined"
        await bot.send({"type": "leave", "reason": "tea"})
        left = await ann.until("presence", name="Bot")
        assert (left["state"], left["text"]) == ("left", "tea")


@pytest.mark.parametrize(
    ("frame", "said"),
    [
        ('{"type":"message","content":"x","from":"Moderator"}', "stamped by the hub"),
        ('{"type":"message","content":"x","role":"moderator"}', "stamped by the hub"),
        ('{"type":"system","content":"I am the system"}', "Invalid value 'system'"),
        ('{"type":"message","content":5}', "Expected `str`"),
        ('{"type":"message"}', "missing required field `content`"),
        ("5", "Expected `object`"),
        ("[]", "Expected `object`"),
        ("null", "Expected `object`"),
        ("{not json", "malformed"),
        ('{"type":"message","content":"' + "x" * 70_000 + '"}', "length <= 65536"),
        ("[" * 5000, "fit the protocol"),
        (b"\xff\xfe\x00", "fit the protocol"),
    ],
)
async def test_what_does_not_fit_is_answered_and_the_member_stays(frame: str | bytes, said: str) -> None:
    """A2.11: forged senders, forged system frames, wrong types, bare values and bad JSON are answered with an error."""
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bob") as bob:
        await ann.send(frame)
        error = await ann.until("error")
        assert (error["code"], said in error["reason"]) == ("bad_frame", True), error
        assert (await ann.say("still here"))["type"] == "ack"
        assert (await bob.until("message"))["content"] == "still here"


async def test_a_frame_above_the_limit_ends_only_its_own_connection() -> None:
    """A2.11: more than the frame limit is refused; the hub lives."""
    async with running() as hub, joined(hub.url, "Ann") as ann:
        async with joined(hub.url, "Big") as big:
            await big.send("x" * (MAX_FRAME + 1))
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await big.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1009
        left = await ann.until("presence", name="Big", state="left")
        assert "exceeds limit" in left["text"]
        assert (await ann.say("fine"))["type"] == "ack"


@pytest.mark.parametrize(
    "first", ["", "5", "{", '{"type":"join"}', '{"type":"join","name":"system","role":"model"}', '{"name":"x"}']
)
async def test_a_bad_first_frame_is_turned_away_with_the_reason(first: str) -> None:
    """A2.11: whoever does not join properly is told why and closed with "stay away"."""
    async with running() as hub, stranger(hub.url) as one:
        await one.send(first)
        answer = await one.next()
        assert answer.get("reason") or answer.get("content")
        with pytest.raises(ConnectionClosed) as closed:
            await one.next()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == Close.BAD_FRAME


@pytest.mark.parametrize("name", ["", " ", "a" * 65, "x\x1b[31my", "evil\u202ename", "HUB", 'a"b', "zero\u200bwidth"])
async def test_names_that_could_deceive_are_refused(name: str) -> None:
    async with running() as hub, stranger(hub.url) as one:
        await one.send({"type": "join", "name": name, "role": "model"})
        assert (await one.next())["type"] in ("error", "system")


async def test_a_token_is_asked_for_when_one_is_set() -> None:
    """A2.18: a wrong or missing token is refused, the right one opens."""
    async with running(auth=SharedSecret("open sesame", moderator="boss")) as hub:
        for token in (None, "", "wrong", "boss "):
            async with stranger(hub.url) as one:
                await one.send({"type": "join", "name": "Ann", "role": "moderator", "token": token})
                assert (await one.next())["code"] == "access_denied"
        async with joined(hub.url, "Bot", "model", token="open sesame"), joined(hub.url, "Ann", token="boss"):
            pass
        async with stranger(hub.url) as one:
            await one.send({"type": "join", "name": "Eve", "role": "moderator", "token": "open sesame"})
            assert (await one.next())["code"] == "access_denied"


async def test_browsers_of_other_sites_are_refused() -> None:
    async with running() as hub:
        with pytest.raises(InvalidStatus):
            await connect(hub.url, proxy=None, origin="https://evil.example")  # type: ignore[arg-type]


async def test_pages_tell_health_rooms_and_metrics() -> None:
    async with running() as hub, joined(hub.url, "Ann", room="debate") as ann:
        await ann.say("hello")
        pages = {
            page: await asyncio.to_thread(_get, f"http://127.0.0.1:{hub.port}/{page}")
            for page in ("health", "rooms", "metrics")
        }
        assert json.loads(pages["health"])["status"] == "ok"
        assert json.loads(pages["rooms"])[0] | {"opened": None} == {
            "name": "debate",
            "members": 1,
            "messages": 1,
            "paused": False,
            "policy": "open",
            "topic": "",
            "opened": None,
        }
        assert 'palaver_messages_total{role="moderator"} 1.0' in pages["metrics"]


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=5) as page:
        return str(page.read().decode())


async def test_members_are_told_to_come_back_when_the_hub_stops(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        connection = await connect(hub.url, proxy=None)
        await connection.send(json.dumps({"type": "join", "name": "Ann", "role": "moderator"}))
        await connection.recv()
    with pytest.raises(ConnectionClosed):
        while True:
            await connection.recv()
    assert connection.close_code == Close.GOING_AWAY
    assert Close(connection.close_code).may_return


async def test_a_hub_that_stops_says_so_in_its_log_and_to_people(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with AsyncExitStack() as stopping:
        hub = await stopping.enter_async_context(running(tmp_path))
        async with Link(hub.url, Join(name="Ann", role="moderator")) as link:
            assert isinstance(await anext(link), Welcome)
            await stopping.aclose()
            async for received in link:
                if isinstance(received, LinkDown):
                    assert received.reason == "the hub is stopping"
                    break
    assert "Ann left main: the hub is stopping" in caplog.text


async def test_the_same_session_takes_its_seat_over() -> None:
    """A half-open connection does not keep a client out of its own seat."""
    async with running() as hub, joined(hub.url, "Ann") as ann:
        old = joined(hub.url, "Bot", "model", session="secret")
        new = joined(hub.url, "Bot", "model", session="secret")
        async with old as first, new as second:
            with pytest.raises(ConnectionClosed):
                while True:
                    await first.next()
            await ann.say("who answers?")
            grant = await second.until("grant")
            assert (await second.say("I do", turn=grant["turn"]))["type"] == "ack"
        assert (await ann.until("presence", name="Bot", state="left"))["members"] == 1


async def test_original_clients_join_unchanged() -> None:
    """LLM Party Chat: registration `{"name","type"}`, then `{"type":"message","content"}`; `human` moderates."""
    async with running() as hub:
        people = joined(hub.url, "Ann"), stranger(hub.url), stranger(hub.url)
        async with people[0] as ann, people[1] as bot, people[2] as human:
            await bot.send({"name": "OldBot", "type": "model"})
            assert (await bot.until("system"))["content"] == "Connected as OldBot"
            await human.send({"name": "OldHuman", "type": "human"})
            await ann.until("presence", name="OldHuman")
            await human.send({"type": "message", "content": "anybody here?"})
            heard = await bot.until("message")
            assert (heard["from"], heard["content"]) == ("OldHuman", "anybody here?")
            await bot.send({"type": "message", "content": "me", "from": "OldBot"})
            heard = await human.until("message")
            assert (heard["from"], heard["content"]) == ("OldBot", "me")
            assert all(message["from"] != "OldHuman" for message in human.messages())
            await bot.send({"type": "message", "content": "I am Ann", "from": "Ann"})
            assert "stamped by the hub" in (await bot.until("system", code=""))["content"] or bot.seen
            async with stranger(hub.url) as twin:
                await twin.send({"name": "oldbot", "type": "model"})
                told = [(await twin.next())["content"] for _ in range(2)]
                assert "Name 'oldbot' is already taken. Connection rejected." in told
                with pytest.raises(ConnectionClosed):
                    await twin.next()
