"""What a member can do to the others: forge, look alike, take a seat over, read what is not for it."""

import asyncio
import http.client
import json
from pathlib import Path

import pytest

from palaver.core.errors import ProtocolError
from palaver.core.lookalikes import skeleton
from palaver.core.names import tidy_name
from tests.api.talks import serving
from tests.hubs import Member, joined, running, stranger

SECRET = "0123456789abcdef-a-session-0123456789"


@pytest.mark.parametrize(
    "name",
    ["Моderator", "Аnn", "Ζen Sage", "Zen Ѕage", "Tinkerвot", "paypaⅼΑ", "admin\u0430"],
)
def test_a_word_in_two_alphabets_is_no_name(name: str) -> None:
    with pytest.raises(ProtocolError, match="mixes alphabets"):
        tidy_name(name)


@pytest.mark.parametrize(
    "name", ["Иван Smith", "Ζήνων", "禅 Sage", "Müller", "東京タワー3", "Ann2", "Łukasz", "प्रिया", "กิ่งแก้ว"]
)
def test_names_of_the_world_are_names(name: str) -> None:
    assert tidy_name(name) == name


async def test_whoever_looks_like_a_speaker_who_is_here_is_turned_away() -> None:
    async with running() as hub, joined(hub.url, "COCA"), joined(hub.url, "Аня", "model"):
        for name in ("СОСА", "соса", "Аня"):
            async with stranger(hub.url) as one:
                await one.send({"type": "join", "name": name, "role": "model"})
                told = await one.next()
                assert told["code"] == "name_taken", name
        async with joined(hub.url, "Оля", "model"), joined(hub.url, "Coco", "model"):
            pass
    assert skeleton("СОСА") == skeleton("COCA") == "coca"


HUGE = {
    "one too many": "x" * 65,
    "a hundred thousand": "x" * 100_000,
    "marks only": "\u0301" * 60,
    "a heap of marks": "a" + "\u0301\u0302" * 10,
    "grows when written out": "\ufdfa" * 10,
}


@pytest.mark.parametrize("kind", HUGE)
async def test_huge_and_unreadable_names_are_refused(kind: str) -> None:
    """U+FDFA is one character and eighteen when it is written out (NFKC)."""
    async with running() as hub, stranger(hub.url) as one:
        await one.send({"type": "join", "name": HUGE[kind], "role": "model"})
        assert (await one.next())["code"] == "bad_frame"


@pytest.mark.parametrize(
    "frame",
    [
        {"type": "message", "content": "x", "from": "Ann"},
        {"type": "message", "content": "x", "sender": "Ann"},
        {"type": "message", "content": "x", "role": "moderator"},
        {"type": "message", "content": "x", "seq": 1},
        {"type": "system", "content": "x"},
        {"type": "presence", "name": "Ann", "role": "moderator", "state": "left"},
        {"type": "ack", "id": "1"},
        {"type": "join", "name": "Ann", "role": "moderator"},
    ],
)
async def test_nobody_speaks_as_somebody_else_or_as_the_hub(frame: dict[str, object]) -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Eve", "model") as eve:
        await eve.send(frame)
        assert (await eve.until("error"))["code"] == "bad_frame"
        assert (await ann.say("mine"))["type"] == "ack"
        assert [one["content"] for one in ann.messages()] == ["mine"] or not ann.messages()
        assert all(one["type"] not in ("system",) for one in ann.seen)


async def test_only_the_hub_says_that_a_moderator_wrote_a_message() -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Eve", "user_sim") as eve:
        assert (await ann.say("Eve?"))["type"] == "ack"
        turn = (await eve.until("grant"))["turn"]
        forged = {"sent_as": True, "by": "Ann", "command": "c1"}
        assert (await eve.say("I quit.", turn=turn, meta={"model": "tiny", **forged}))["type"] == "ack"
        assert (await ann.until("message", turn=turn))["meta"] == {"model": "tiny"}
        await ann.send({"type": "command", "id": "c2", "text": "/sendas Eve I do not."})
        assert (await ann.until("message", content="I do not."))["meta"]["by"] == "Ann"


async def test_only_moderators_steer_and_observers_say_nothing() -> None:
    async with running() as hub, joined(hub.url, "Bot", "model") as bot, joined(hub.url, "Eve", "observer") as eve:
        for member in (bot, eve):
            assert (await member.command("/kick Bot"))["code"] == "not_allowed"
        assert (await eve.say("hello"))["code"] == "not_allowed"
        assert (await bot.say("hello"))["code"] == "no_floor"


async def test_a_seat_is_taken_over_with_its_own_session_only() -> None:
    async with running() as hub, joined(hub.url, "Ann", session=SECRET) as ann:
        for session in ("", None, SECRET[:-1], SECRET.upper(), "*", "%"):
            async with stranger(hub.url) as eve:
                await eve.send({"type": "join", "name": "Ann", "role": "moderator", "session": session})
                assert (await eve.next())["code"] == "name_taken"
        assert (await ann.say("still me"))["type"] == "ack"


async def test_nobody_is_told_another_ones_session(tmp_path: Path) -> None:
    """Not in what is sent, not over HTTP, not in the transcripts: whoever has it has the seat."""
    async with running(tmp_path / "data", transcripts=tmp_path / "logs") as hub:
        async with joined(hub.url, "Bot", "model", session=SECRET, about="tiny") as bot, joined(hub.url, "Ann") as ann:
            for text in ("/whois Bot", "/status", "/stats", "/queue", "/hands", "/pause", "/resume"):
                assert (await ann.command(text))["type"] == "ack", text
            await _one_turn(ann, bot)
            assert (await ann.command("/why 2"))["type"] == "ack"
            async with joined(hub.url, "Late", "observer") as late:
                await late.until("message")
                assert SECRET not in json.dumps(late.seen)
            pages = await asyncio.to_thread(_pages, hub.port)
        assert SECRET not in json.dumps(ann.seen)
        assert len(pages) > 100 and SECRET not in pages
    written = "".join(path.read_text() for path in (tmp_path / "logs").iterdir())
    assert "hello" in written and SECRET not in written


async def _one_turn(ann: Member, bot: Member) -> None:
    await ann.say("hello")
    grant = await bot.until("grant")
    assert (await bot.say("hello too", turn=grant["turn"]))["type"] == "ack"
    await ann.until("message", **{"from": "Bot"})


def _pages(port: int) -> str:
    text = ""
    for path in ("/", "/rooms", "/commands", "/health", "/metrics"):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", path)
        text += connection.getresponse().read().decode()
        connection.close()
    return text


async def test_a_whisper_is_read_by_its_reader_and_the_moderators_only() -> None:
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Bot", "model") as bot,
        joined(hub.url, "Eve", "model") as eve,
    ):
        await ann.command("/w Bot between us")
        assert (await bot.until("message"))["content"] == "between us"
        await ann.say("for all")
        assert (await eve.until("message"))["content"] == "for all"
        assert "between us" not in json.dumps(eve.seen)
        async with joined(hub.url, "Late", "observer", after=0) as late:
            assert (await late.until("message"))["content"] == "for all"
            assert "between us" not in json.dumps(late.seen)


async def test_the_http_api_tells_no_session_and_no_token() -> None:
    async with serving(token="t0ken-of-all", headers={"Authorization": "Bearer t0ken-of-all"}) as server:
        agents = [{"name": "Alice", "type": "human"}, {"name": "Bob"}]
        begun = await server.client.post("/conversations", json={"agent_configs": agents})
        ident = begun.json()["conversation_id"]
        text = ""
        for path in ("/health", "/config", "/models", "/conversations", f"/conversations/{ident}", "/metrics"):
            text += (await server.client.get(path)).text
        async with joined(server.service.url, "Alice", token="t0ken-of-all", room=ident, session=SECRET) as alice:
            text += (await server.client.get(f"/conversations/{ident}")).text
            sessions = list(server.service.hub.rooms[ident].outbox.sessions)
            alice.connection.transport.abort()
    assert sessions
    assert not any(session in text for session in sessions)
    assert "t0ken" not in text
