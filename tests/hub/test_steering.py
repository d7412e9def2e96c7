"""The moderator really steers: what is under way when the room is paused reaches nobody."""

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

from palaver.core import due
from palaver.core.protocol import Cancelled, Command, Say
from tests.hubs import Member, joined, running


async def test_pause_means_silence_also_for_a_bot_that_ignores_it() -> None:
    """A2.6: zero bot messages until /resume, enforced with a bot that ignores it; mute, kick, who, unknown."""
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bot", "model") as bot:
        await ann.say("talk")
        grant = await bot.until("grant")
        assert (await ann.command("/pause"))["changed"] == {"paused": [False, True]}
        for turn in (grant["turn"], None, 99):
            assert (await bot.say("I do not care", turn=turn))["code"] == "paused"
        assert (await ann.command("/pause"))["changed"] is None
        await ann.command("/resume")
        again = await bot.until("grant")
        assert again["turn"] > grant["turn"]
        assert (await bot.say("old news", turn=grant["turn"]))["code"] == "stale_epoch"
        assert (await bot.say("new", turn=again["turn"]))["type"] == "ack"
        await ann.command("/mute Bot")
        await ann.say("and now?")
        assert (await bot.say("psst"))["code"] == "muted"
        unknown = await ann.command("/frobnicate")
        assert (unknown["type"], unknown["code"]) == ("nack", "bad_command")
        kicked = await ann.command("/kick Bot enough")
        assert kicked["changed"] == {"Bot here": [True, False]}
        assert [message["content"] for message in ann.messages()] == ["talk", "new", "and now?"]


async def test_no_word_of_an_adversary_gets_through_a_thousand_pauses() -> None:
    """A client that ignores `revoke` and keeps sending: 0 of its messages after 1,000 pauses at random instants."""
    dice = random.Random(7)
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Ear", "observer") as ear,
        joined(hub.url, "Bot", "model") as bot,
    ):
        turns: list[int] = [0]
        shouting = asyncio.create_task(_shout(bot, turns))
        listening = asyncio.create_task(_listen(ear))
        for number in range(1000):
            if dice.random() < 0.5:
                await ann.say(f"go on {number}")
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            await ann.command("/pause")
            await ann.say(f"paused {number}")
            await ann.say(f"resume {number}")
            await ann.command("/resume")
        await ann.say("the end")
        heard = await listening
        shouting.cancel()
        await asyncio.gather(shouting, return_exceptions=True)
    silent, broken = False, 0
    for message in heard:
        if message["from"] == "Ann":
            silent = message["content"].startswith("paused")
        elif silent:
            broken += 1
    assert broken == 0
    assert sum(message["from"] == "Bot" for message in heard) > 100, "the adversary must have been heard when it may"


async def _shout(bot: Member, turns: list[int]) -> None:
    """Send without pause: with every turn number that was ever granted, and with none."""

    async def note() -> None:
        while True:
            frame = await bot.next()
            bot.seen.clear()
            if frame["type"] == "grant":
                turns.append(frame["turn"])

    noting = asyncio.create_task(note())
    try:
        while True:
            await bot.send({"type": "message", "content": "me me me", "turn": turns[-1]})
            await bot.send({"type": "delta", "turn": turns[-1], "text": "me "})
            await bot.send({"type": "message", "content": "me me me"})
            await asyncio.sleep(0)
    finally:
        noting.cancel()


async def _listen(ear: Member) -> list[dict[str, Any]]:
    async with asyncio.timeout(100):
        while True:
            frame = await ear.next()
            if frame["type"] != "message":
                ear.seen.pop()
            elif frame["content"] == "the end":
                return ear.messages()


async def test_streamed_text_of_a_revoked_turn_is_cut_off() -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bot", "model") as bot:
        await ann.say("stream")
        turn = (await bot.until("grant"))["turn"]
        await bot.send({"type": "delta", "turn": turn, "text": "On"})
        assert (await ann.until("delta"))["text"] == "On"
        await ann.command("/pause")
        revoke = await bot.until("revoke")
        assert revoke["turn"] == turn
        await bot.send({"type": "delta", "turn": turn, "text": "ce upon"})
        await bot.send({"type": "cancelled", "turn": turn, "latency": 0.012, "tokens": 3, "content": "Once"})
        told = await ann.until("event", kind="cancelled")
        assert told["data"]["latency"] == 0.012
        assert [frame["text"] for frame in ann.seen if frame["type"] == "delta"] == ["On"]
        assert "p50 12 ms" in (await ann.command("/whois Bot"))["text"]
        kept = [entry.frame for _, entry in await hub.hub._log.read("main", 0)]
        assert [frame.content for frame in kept if isinstance(frame, Cancelled)] == ["Once"]  # in the log alone
        assert "Once" not in str([*ann.seen, *ann.messages()])


async def test_two_bots_and_one_line_end_in_silence() -> None:
    """A2.5: default policy: bounded replies, then silence."""
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "One", "model") as one,
        joined(hub.url, "Two", "model") as two,
    ):
        echoing = [asyncio.create_task(_echo(bot)) for bot in (one, two)]
        await ann.say("talk among yourselves")
        for _ in range(8):
            await ann.until("message", role="model")
        assert "0 queued" not in (await ann.command("/status"))["text"]
        assert (await ann.command("/queue"))["type"] == "ack"
        assert len([message for message in ann.messages() if message["role"] == "model"]) == 8
        for task in echoing:
            task.cancel()
        await asyncio.gather(*echoing, return_exceptions=True)


async def _echo(bot: Member) -> None:
    while True:
        grant = await bot.until("grant")
        await bot.send(
            {"type": "message", "id": f"e{grant['turn']}", "content": f"echo {grant['turn']}", **_turn(grant)}
        )


def _turn(grant: dict[str, Any]) -> dict[str, Any]:
    return {"turn": grant["turn"]}


async def test_a_holder_that_dies_or_sleeps_costs_one_lease_at_most() -> None:
    def short(state: Any) -> None:
        state.floor.lease = 0.3
        state.floor.policy = "round_robin"

    async with (
        running(defaults=short) as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Asleep", "model"),
        joined(hub.url, "Awake", "model") as awake,
    ):
        await ann.say("who is there?")
        async with asyncio.timeout(5):
            grant = await awake.until("grant")
        assert (await awake.say("I am", turn=grant["turn"]))["type"] == "ack"
        assert "did not answer within" in (await ann.until("system", code="lease_over"))["content"]


async def test_a_stream_keeps_the_lease_alive() -> None:
    def short(state: Any) -> None:
        state.floor.lease = 0.4

    async with running(defaults=short) as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bot", "model") as bot:
        await ann.say("take your time")
        turn = (await bot.until("grant"))["turn"]
        for _ in range(8):
            await bot.send({"type": "delta", "turn": turn, "text": "."})
            await asyncio.sleep(0.1)
        assert (await bot.say("done", turn=turn))["type"] == "ack"


async def test_a_client_that_does_not_answer_a_revoke_is_called_unresponsive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(due, "PATIENCE", 0.2)
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bot", "model") as bot:
        await ann.say("go")
        turn = (await bot.until("grant"))["turn"]
        await ann.command("/stop Bot")
        alarm = await ann.until("event", kind="alarm")
        assert (alarm["actor"], alarm["data"]["unresponsive"]) == ("Bot", True)
        assert "UNRESPONSIVE" in (await ann.command("/whois Bot"))["text"]
        await bot.send({"type": "cancelled", "turn": turn, "latency": 0.3, "tokens": 1})
        await ann.until("event", kind="cancelled")
        assert "UNRESPONSIVE" not in (await ann.command("/whois Bot"))["text"]


async def test_whispers_reach_both_ends_and_moderators_only() -> None:
    async with (
        running() as hub,
        joined(hub.url, "Ann") as ann,
        joined(hub.url, "Max") as second,
        joined(hub.url, "Bot", "model") as bot,
        joined(hub.url, "Ear", "observer") as ear,
    ):
        await ann.command("/w Bot be brief")
        await ann.say("aloud")
        assert (await bot.until("message"))["content"] == "be brief"
        assert (await second.until("message"))["to"] == "Bot"
        assert (await ear.until("message"))["content"] == "aloud"


async def test_a_redaction_takes_the_text_out_for_those_who_come_later() -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann:
        await ann.say("a secret")
        assert (await ann.command("/redact 1 private"))["type"] == "ack"
        async with joined(hub.url, "Late", "observer") as late:
            message = await late.until("message")
            assert (message["content"], message["redacted"]) == ("", "private")
        page = await hub.hub._archive.messages("main", 0, 10)
        assert [one.content for one in page] == [""]


async def test_a_redaction_in_the_commit_of_its_message_leaves_no_text_behind(tmp_path: Path) -> None:
    async with running(transcripts=tmp_path) as hub, joined(hub.url, "Ann") as ann:
        await ann.say("hello")
        host = hub.hub.rooms["main"]
        (session,) = host.outbox.sessions.values()
        said, redacted = Say(id="s", content="a secret"), Command(id="c", text="/redact 2 private")
        host.take([(100, host.entry(session, said)), (101, host.entry(session, redacted))])
        page = await hub.hub._archive.messages("main", 0, 10)
        assert [one.content for one in page] == ["hello", ""]
    assert "a secret" not in (tmp_path / "main.jsonl").read_text()


async def test_one_that_is_deafened_has_heard_what_was_said_before() -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bot", "model") as bot:
        await ann.until("presence", name="Bot")
        host = hub.hub.rooms["main"]
        session = next(one for one in host.outbox.sessions.values() if one.name == "Ann")
        said, deafened = Say(id="s", content="hear this"), Command(id="c", text="/deafen Bot")
        host.take([(100, host.entry(session, said)), (101, host.entry(session, deafened))])
        assert (await bot.until("message"))["content"] == "hear this"


async def test_the_floor_says_how_much_of_a_budget_is_used() -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann, joined(hub.url, "Bot", "model") as bot:
        await ann.command("/budget Bot messages=4")
        await ann.say("go")
        turn = (await bot.until("grant"))["turn"]
        await bot.say("one", turn=turn)
        assert (await ann.until("floor", budget=0.25))["budget"] == 0.25
