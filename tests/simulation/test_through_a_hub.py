"""The same rollout with assistant and user as two members of a room, each on its own connection."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from palaver.core.protocol import Join
from palaver.models.hf import HFModel, LocalWeights
from palaver.models.model import Model
from palaver.models.scripted import ScriptedModel
from palaver.participants.link import Link
from palaver.participants.participant import Participant
from palaver.participants.settings import Settings
from palaver.participants.user_seat import UserSeat
from palaver.simulation import ChatSimulator, ModelAssistant, SimulatedUser, records
from palaver.simulation.in_room import UserInRoom
from palaver.simulation.room_record import rollout_of
from tests.hubs import joined, running
from tests.simulation.talks import QUESTION, SYSTEM

USER = "You are a curious user asking about machine learning."
SETTINGS = Settings(temperature=0.0, max_tokens=12, history=0, labels=False)


async def in_a_room(assistant: Model, user: Model, max_turns: int) -> list[tuple[str, str]]:
    """Who said what on a hub, until the user has left."""
    seated = UserInRoom(SimulatedUser(user, USER), first_message=QUESTION["content"])
    async with running() as hub, joined(hub.url, "Watcher", "observer") as watcher:
        async with (
            Link(hub.url, Join(name="Assistant", role="model")) as one,
            Link(hub.url, Join(name="User", role="user_sim", deltas=False)) as other,
        ):
            bot = Participant(one, replace(SETTINGS, persona=SYSTEM["content"]), assistant)
            sitting = asyncio.create_task(bot.run())
            async with asyncio.timeout(30):
                await UserSeat(other, replace(SETTINGS, persona=USER), seated, max_turns=max_turns + 1).run()
            await watcher.until("presence", state="left", name="User")
            sitting.cancel()
            await asyncio.gather(sitting, return_exceptions=True)
        return [(message["from"].lower(), message["content"]) for message in watcher.messages()]


async def in_process(assistant: Model, user: Model, max_turns: int) -> list[tuple[str, str]]:
    """Who said what in a rollout, after the system prompt."""
    simulator = ChatSimulator(
        ModelAssistant(assistant, max_new_tokens=SETTINGS.max_tokens, temperature=0.0),
        SimulatedUser(user, USER, max_tokens=SETTINGS.max_tokens, temperature=0.0),
    )
    rollout = await simulator.rollout_async([SYSTEM, QUESTION], max_turns)
    return [(message["role"], message["content"]) for message in rollout if message["role"] != "system"]


@pytest.mark.parametrize("end", [[], ["Thanks. [END]"]], ids=["all turns", "end signal"])
async def test_scripted_speakers_say_the_same_in_a_room(end: Sequence[str]) -> None:
    """A0.12: the same roles and the same turns over the wire."""
    questions = ["And how fast?", "And then?", *end, "What of minima?"]

    def speakers() -> tuple[Model, Model]:
        return ScriptedModel(["Downhill.", "It depends.", "You stop.", "They trap."]), ScriptedModel(questions)

    expected = await in_process(*speakers(), max_turns=3)
    assert len(expected) == (8 if not end else 7)
    assert await in_a_room(*speakers(), max_turns=3) == expected


async def test_what_a_user_heard_and_said_in_a_room_is_a_rollout_too(tmp_path: Path) -> None:
    """Item: one record a conversation, in a file that several processes may add to."""
    user = UserInRoom(SimulatedUser(ScriptedModel(["And then?", "Thanks. [END]"]), USER))
    async with running() as hub, joined(hub.url, "Host") as host:
        await host.say("Welcome.")
        async with (
            Link(hub.url, Join(name="Assistant", role="model")) as one,
            Link(hub.url, Join(name="User", role="user_sim", deltas=False)) as other,
        ):
            bot = asyncio.create_task(Participant(one, SETTINGS, ScriptedModel(["Downhill.", "Done."])).run())
            seat = UserSeat(other, SETTINGS, user, max_turns=5)
            async with asyncio.timeout(30):
                await seat.run()
            bot.cancel()
            await asyncio.gather(bot, return_exceptions=True)
    for _ in range(2):
        records.add(tmp_path / "logs" / "rollouts.jsonl", rollout_of(seat.room.messages, "User", user, max_turns=5))
    first, second = records.load(tmp_path / "logs" / "rollouts.jsonl")
    assert first.id != second.id and list(first) == list(second)
    assert first.prefix[0] == {"role": "assistant", "content": "Welcome."}
    assert {"role": "user", "content": "Thanks."} in first.new
    assert first.termination_reason == "user_stop" and first.user_turns[-1].signal == "[END]"
    assert first.usage["user"].completion_tokens > 0 and first.made_by["Assistant"]["model"] == "scripted"


async def test_greedy_local_models_say_the_same_in_a_room(weights: LocalWeights) -> None:
    """A0.12: also where every prompt must be the same to the last token."""
    expected = await in_process(HFModel(weights), HFModel(weights), max_turns=3)
    assert [role for role, _ in expected] == ["user", "assistant"] * 4
    assert await in_a_room(HFModel(weights), HFModel(weights), max_turns=3) == expected
