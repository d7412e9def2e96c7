"""A model that acts: what is said, what is streamed, and what is asked again."""

import pytest

from palaver.models.model import ChatMessage, LLMResponse
from palaver.models.scripted import ScriptedModel
from palaver.scenes.acting import ActingModel
from palaver.scenes.actions import TYPES, ActionType

ASKED: list[ChatMessage] = [{"role": "user", "content": "Bob: Well?"}]
BROKEN = '{"action_type": "sing"}'


async def act(
    *lines: str | Exception, actions: tuple[ActionType, ...] = TYPES
) -> tuple[LLMResponse, str, ScriptedModel]:
    """Reply, what was streamed, and the model that was asked."""
    model = ScriptedModel(lines)
    streamed: list[str] = []
    acting = ActingModel(model, "Ada", actions)
    response = await acting.complete(ASKED, on_text=streamed.append)
    return response, "".join(streamed), model


@pytest.mark.parametrize(
    ("line", "words", "action"),
    [
        ("Good morning.", "Good morning.", "speak"),
        ('Ada: said: "Morning."', "Morning.", "speak"),
        ("<think>hm</think>[action] waves", "[action] waves", "action"),
        ('{"action_type": "non-verbal communication", "argument": "nods"}', "[non-verbal communication] nods", None),
        ("/pass", "did nothing", "none"),
    ],
)
async def test_the_room_hears_the_actions_words(line: str, words: str, action: str | None) -> None:
    response, _, model = await act(line)
    assert response.content == words and response.success
    assert response.provenance["action"] == (action or "non-verbal communication")
    assert len(model.prompts) == 1


@pytest.mark.parametrize("line", ["Good morning to you all.", "Did it work? He said so.", "Leftovers again?"])
async def test_speech_is_streamed_whole(line: str) -> None:
    _, streamed, _ = await act(line)
    assert streamed == line


@pytest.mark.parametrize(
    "line", ["did nothing", '{"action_type": "leave"}', "[action] waves and goes", 'said: "Hi"', "Ada: Hi there"]
)
async def test_what_may_be_something_else_is_not_streamed(line: str) -> None:
    assert (await act(line))[1] == ""


async def test_plain_words_are_speech_and_asked_for_once() -> None:
    """The original had every such answer written anew by another call."""
    assert len((await act("What shall we do?"))[2].prompts) == 1


async def test_an_action_that_cannot_be_read_is_asked_for_once_more_with_the_reason() -> None:
    response, _, model = await act(BROKEN, "Fine, I speak.")
    assert response.content == "Fine, I speak."
    assert model.prompts[1][-2] == {"role": "assistant", "content": BROKEN}
    assert "'sing' is unknown" in model.prompts[1][-1]["content"]


async def test_then_it_does_nothing_and_why_is_kept() -> None:
    response, _, model = await act(BROKEN, BROKEN, "never")
    assert response.content == "did nothing" and len(model.prompts) == 2
    assert "'sing' is unknown" in str(response.provenance["action_error"])


async def test_what_is_not_possible_here_is_not_done() -> None:
    response, _, _ = await act("left the conversation", "left the conversation", actions=("speak",))
    assert response.content == "did nothing" and response.provenance["action"] == "none"


async def test_a_failure_stays_one() -> None:
    response, _, model = await act(RuntimeError("no memory"))
    assert not response.success and response.error == "no memory" and len(model.prompts) == 1
