"""A simulated user's seat over the wire: who opens, how turns are counted, when it leaves. Against the real hub."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from palaver.core.errors import ModelError
from palaver.core.protocol import Ack, Cancelled, FloorRequest, Join, Leave, Pass, Revoke, Say, Seat
from palaver.models.scripted import ScriptedModel
from palaver.participants import user_seat
from palaver.participants.link import Link
from palaver.participants.settings import Settings
from palaver.participants.user_seat import UserSeat
from palaver.simulation.in_room import UserInRoom
from palaver.simulation.user_models import SimulatedUser
from tests.hubs import Member, joined, running
from tests.participants.fake_hub import Seated, fake_hub, floor_view, grant, message
from tests.participants.test_participant import sitting

QUESTIONS = [f"question {number}" for number in range(1, 9)]
ANSWERS = [f"answer {number}" for number in range(1, 9)]


async def user(url: str, model: ScriptedModel, *, max_turns: int = 0, name: str = "Uma", first: str = "") -> UserSeat:
    """Sit until it leaves by itself."""
    join = Join(name=name, role="user_sim", deltas=False)
    played = UserInRoom(SimulatedUser(model, "You are Uma."), first_message=first)
    async with Link(url, join) as link:
        seat = UserSeat(link, Settings(persona="You are Uma.", history=0), played, max_turns=max_turns)
        async with asyncio.timeout(10):
            await seat.run()
    return seat


@asynccontextmanager
async def room_with_bot(bot: ScriptedModel | None = None) -> AsyncIterator[tuple[str, Member, ScriptedModel]]:
    """A hub, somebody who watches, and a model."""
    model = bot or ScriptedModel(ANSWERS)
    async with running() as hub, joined(hub.url, "Ann") as ann, sitting(hub.url, model):
        await ann.until("presence", name="Bot")
        yield hub.url, ann, model


def shape(ann: Member) -> str:
    """Who spoke, as one letter a message."""
    letters = {"user_sim": "U", "model": "A", "moderator": "M"}
    return "".join(letters[message["role"]] for message in ann.messages())


async def test_in_an_empty_room_it_opens_and_leaves_after_its_turns() -> None:
    """A0.12: the turn rule over the wire."""
    asked = ScriptedModel(QUESTIONS)
    async with room_with_bot() as (url, ann, _):
        seat = await user(url, asked, max_turns=3)
        await ann.until("presence", name="Uma", state="left")
        assert shape(ann) == "UAUAUA" and seat.turns == 3


async def test_a_question_that_waits_is_answered_first_and_not_counted() -> None:
    """A0.12"""
    async with room_with_bot() as (url, ann, _):
        await ann.say("anybody?")
        await user(url, ScriptedModel(QUESTIONS), max_turns=2)
        await ann.until("presence", name="Uma", state="left")
        assert shape(ann) == "MAUAUA"


async def test_its_model_sees_the_roles_swapped_and_its_own_instructions() -> None:
    """A0.12, A0.5"""
    asked = ScriptedModel(QUESTIONS)
    async with room_with_bot() as (url, _, bot):
        await user(url, asked, max_turns=2)
        assert [(each["role"], each["content"]) for each in asked.prompts[1]] == [
            ("system", "You are Uma."),
            ("assistant", "question 1"),
            ("user", "Bot: answer 1"),
        ]
        assert [(each["role"], each["content"]) for each in bot.prompts[1]] == [
            ("user", "Uma: question 1"),
            ("assistant", "answer 1"),
            ("user", "Uma: question 2"),
        ]


@pytest.mark.parametrize("last", ["thanks [END]", '```json\n{"thought": "done", "response": "thanks [[END]]"}\n```'])
async def test_an_end_signal_is_cut_out_and_ends_it(last: str) -> None:
    last = last.replace("[[END]]", "[END]")
    async with room_with_bot() as (url, ann, _):
        seat = await user(url, ScriptedModel(["hello", last, "never"]))
        await ann.until("presence", name="Uma", state="left")
        own = [message for message in ann.messages() if message["role"] == "user_sim"]
        assert [message["content"] for message in own] == ["hello", "thanks"]
        assert own[-1]["meta"]["end_signal"] == "[END]" and seat.turns == 2


async def test_a_signal_alone_is_no_message() -> None:
    async with room_with_bot() as (url, ann, _):
        await user(url, ScriptedModel(["hello", "###STOP###"]))
        await ann.until("presence", name="Uma", state="left")
        assert shape(ann) in ("UA", "U")


async def test_the_first_message_is_said_as_given() -> None:
    async with room_with_bot() as (url, ann, _):
        await user(url, ScriptedModel(["second [END]"]), first="word for word")
        await ann.until("presence", name="Uma", state="left")
        assert ann.messages()[0]["content"] == "word for word"


async def test_it_waits_for_a_model_before_it_opens_and_says_so_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with running() as hub, joined(hub.url, "Ann") as ann:
        asking = asyncio.create_task(user(hub.url, ScriptedModel(QUESTIONS), max_turns=1))
        await ann.until("presence", name="Uma")
        async with sitting(hub.url, None) as bot:
            await ann.until("presence", name="Bot", state="loading")
            assert hub.hub.rooms["main"].state.floor.hands == []
            bot.ready(ScriptedModel(ANSWERS))
            await asking
        assert caplog.text.count("Uma waits for a model that can answer") == 1
        await ann.until("presence", name="Uma", state="left")
        assert shape(ann) == "UA"


@asynccontextmanager
async def lone_user(model: ScriptedModel, max_turns: int, **welcome: Any) -> AsyncIterator[Seated]:
    """A simulated user at the fake hub, welcomed by a room in which one model is ready."""
    bot = Seat(name="Bot", role="model", state="ready")
    async with fake_hub() as hub:
        sitting_down = asyncio.create_task(user(hub.url, model, max_turns=max_turns))
        seated = await hub.joined()
        await seated.welcome(roster=(bot,), **welcome)
        yield seated
        await sitting_down


async def test_it_raises_no_hand_while_somebody_has_the_floor() -> None:
    async with lone_user(ScriptedModel(["[END]"]), 1, holder="Bot", turn=3) as seated:
        await seated.send(grant(99), Revoke(turn=98, epoch=1, reason="a sign that the welcome was read"))
        assert await seated.receive() == Cancelled(turn=98)
        assert isinstance(await seated.receive(), Pass)


async def test_it_asks_for_the_floor_once() -> None:
    async with lone_user(ScriptedModel(["bye [END]"]), 1) as seated:
        assert isinstance(await seated.receive(), FloorRequest)
        await seated.send(floor_view(), grant(1))
        said = await seated.receive()
        assert isinstance(said, Say) and said.content == "bye"
        await seated.send(Ack(id=said.id, seq=1))


async def test_an_answer_that_came_before_the_acknowledgement_counts() -> None:
    async with lone_user(ScriptedModel(["hello?"]), 1) as seated:
        await seated.send(grant(1))
        said = await seated.receive_a(Say)
        await seated.send(message(1, "hello?", "Uma", role="user_sim"), message(2, "hello", "Bot", role="model"))
        await seated.send(Ack(id=said.id, seq=1))
        assert isinstance(await seated.receive_a(Leave), Leave)


async def test_the_end_of_the_conversation_is_its_end() -> None:
    async with running() as hub, joined(hub.url, "Ann") as ann:
        asking = asyncio.create_task(user(hub.url, ScriptedModel(QUESTIONS)))
        await ann.until("presence", name="Uma")
        await ann.command("/end enough")
        await asking


async def test_a_user_whose_model_fails_says_why_tries_again_and_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else speaks: it must raise its hand again by itself."""
    monkeypatch.setattr(user_seat, "PATIENCE", 0.01)
    async with room_with_bot() as (url, ann, _):
        with pytest.raises(ModelError, match=r"Uma left: its model failed 3 times in a row: 401: bad key"):
            await user(url, ScriptedModel([RuntimeError("401: bad key")] * 4))
        left = await ann.until("presence", name="Uma", state="left")
        assert left["text"] == "its model failed 3 times in a row: 401: bad key"
        told = [each["content"] for each in ann.seen if each.get("code") == "model_failed"]
        assert told == ["Uma could not answer: 401: bad key"] * 3


async def test_a_user_whose_model_is_back_goes_on_and_counts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_seat, "PATIENCE", 0.01)
    down = [RuntimeError("503: busy")] * 2
    async with room_with_bot() as (url, ann, _):
        seat = await user(url, ScriptedModel([*down, "hello", *down, "thanks [END]"]))
        await ann.until("presence", name="Uma", state="left")
        assert seat.turns == 2 and shape(ann).startswith("UAU")


async def test_a_conversation_that_has_ended_before_is_left_at_once_and_models_are_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with room_with_bot() as (url, ann, _):
        assert (await ann.command("/end"))["type"] == "ack"
        seat = await user(url, ScriptedModel(QUESTIONS))
        assert seat.turns == 0
        left = await ann.until("presence", name="Uma", state="left")
        assert left["text"] == "the conversation has ended"
    assert caplog.text.count("room main: the conversation has ended: nobody speaks any more") == 2
