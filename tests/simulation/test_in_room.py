"""A simulated user as a model: what a seat in a room asks of it."""

import asyncio

from palaver.models.model import Cancel, ChatMessage
from palaver.models.scripted import ScriptedModel
from palaver.participants.prompting import OPENING
from palaver.simulation.in_room import UserInRoom
from palaver.simulation.user_models import SimulatedUser, UserModel

PROMPT: list[ChatMessage] = [
    {"role": "system", "content": "You are Uma."},
    {"role": "assistant", "content": "hi"},
    {"role": "user", "content": "Bot: hello"},
]


async def test_a_user_model_of_the_callers_own_may_sit_in_a_room() -> None:
    class Parrot(UserModel):
        def generate(self, messages: list[dict[str, str]]) -> str:
            return f"{self.system_prompt} {messages[-1]['role']}: {messages[-1]['content']} [END]"

    response = await UserInRoom(Parrot()).complete(PROMPT)
    assert response.content == "You are Uma. assistant: Bot: hello"
    assert response.provenance["end_signal"] == "[END]"


async def test_sampling_and_instructions_are_those_of_the_turn() -> None:
    user = SimulatedUser(ScriptedModel(["<think>hm</think>ok"]), "old")
    response = await UserInRoom(user).complete(PROMPT, temperature=0.1, max_tokens=9)
    assert response.content == "ok"
    assert (user.system_prompt, user.speaker.temperature, user.speaker.max_tokens) == ("You are Uma.", 0.1, 9)


async def test_a_room_without_words_is_opened_in_the_user_models_own_way() -> None:
    model = ScriptedModel(["hello"])
    await UserInRoom(SimulatedUser(model)).complete([PROMPT[0], {"role": "user", "content": OPENING}])
    assert "speak first" in model.prompts[0][-1]["content"]


async def test_pressing_stop_ends_it_at_once() -> None:
    cancel = Cancel()
    user = UserInRoom(SimulatedUser(ScriptedModel(["x"], hang=True)))
    asking = asyncio.create_task(user.complete(PROMPT, cancel=cancel))
    await asyncio.sleep(0)
    cancel.press("paused")
    assert (await asking).stop_reason == "cancelled"


async def test_a_failure_comes_back_as_data() -> None:
    user = UserInRoom(SimulatedUser(ScriptedModel([RuntimeError("no route")])))
    response = await user.complete(PROMPT)
    assert (response.success, response.error) == (False, "no route")
