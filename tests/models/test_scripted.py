"""The model that reads its lines."""

import asyncio
from pathlib import Path

import pytest

from palaver.core.errors import ModelError
from palaver.models.model import Cancel, ChatMessage, Model
from palaver.models.scripted import ScriptedModel
from tests.models.clock import FakeClock

PROMPT: list[ChatMessage] = [{"role": "user", "content": "Who goes there?"}]


async def test_it_says_its_lines_in_turn_and_then_passes() -> None:
    model: Model = ScriptedModel(["one", "two"])
    replies = [await model.complete(PROMPT) for _ in range(3)]
    assert [reply.content for reply in replies] == ["one", "two", ""]
    assert [reply.stop_reason for reply in replies] == ["end", "end", "pass"]
    assert all(reply.success for reply in replies)


async def test_it_begins_again_when_told_to_cycle() -> None:
    model = ScriptedModel(["one", "two"], cycle=True)
    assert [(await model.complete(PROMPT)).content for _ in range(5)] == ["one", "two", "one", "two", "one"]


async def test_a_script_may_be_a_function_of_the_prompt() -> None:
    model = ScriptedModel(lambda messages: f"You said: {messages[-1]['content']}")
    assert (await model.complete(PROMPT)).content == "You said: Who goes there?"
    assert list(model.prompts) == [PROMPT]


async def test_it_streams_word_by_word_and_counts_words() -> None:
    pieces: list[str] = []
    reply = await ScriptedModel(["a fine day"]).complete(PROMPT, on_text=pieces.append)
    assert pieces == ["a", " fine", " day"]
    assert (reply.usage.prompt_tokens, reply.usage.completion_tokens, reply.tokens_used) == (3, 3, 6)


async def test_a_stop_string_cuts_the_line() -> None:
    pieces: list[str] = []
    reply = await ScriptedModel(["I agree. Bob: me too"]).complete(PROMPT, stop=["Bob:"], on_text=pieces.append)
    assert reply.content == "".join(pieces) == "I agree. "
    assert reply.stop_reason == "stop"


async def test_an_exception_in_the_script_is_a_failure_that_comes_back_as_data() -> None:
    model = ScriptedModel([ModelError("out of memory"), "better now"])
    failed = await model.complete(PROMPT)
    assert (failed.success, failed.content, failed.error, failed.stop_reason) == (False, "", "out of memory", "error")
    assert (await model.complete(PROMPT)).content == "better now"


async def test_the_delay_is_slept_before_each_reply() -> None:
    clock = FakeClock()
    model = ScriptedModel(["one", "two"], delay=2.5, sleep=clock.sleep, clock=clock)
    assert (await model.complete(PROMPT)).response_time == 2.5
    await model.complete(PROMPT)
    assert clock.waits == [2.5, 2.5]


async def test_a_hanging_reply_has_said_its_line_and_ends_when_cancelled() -> None:
    cancel, heard = Cancel(), asyncio.Event()
    model = ScriptedModel(["half a"], hang=True)
    reply = asyncio.ensure_future(model.complete(PROMPT, cancel=cancel, on_text=lambda piece: heard.set()))
    await heard.wait()
    assert not reply.done()
    await asyncio.to_thread(cancel.press, "paused")
    assert (await reply).content == "half a"
    assert (await reply).stop_reason == "cancelled"


async def test_cancelling_the_task_is_passed_on() -> None:
    reply = asyncio.ensure_future(ScriptedModel(["x"], hang=True).complete(PROMPT, cancel=Cancel()))
    await asyncio.sleep(0)
    reply.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reply


async def test_a_button_pressed_beforehand_lets_nothing_be_said() -> None:
    cancel = Cancel()
    cancel.press()
    reply = await ScriptedModel(["not this"]).complete(PROMPT, cancel=cancel)
    assert (reply.content, reply.stop_reason) == ("", "cancelled")


async def test_lines_come_from_a_file(tmp_path: Path) -> None:
    script = tmp_path / "sage.txt"
    script.write_text("First.\n\n/pass\nTwo\\nlines.\n", encoding="utf-8")
    model = ScriptedModel.from_file(script)
    replies = [await model.complete(PROMPT) for _ in range(3)]
    assert [reply.content for reply in replies] == ["First.", "", "Two\nlines."]
    assert replies[1].stop_reason == "pass"
    assert model.name == "sage.txt"


def test_a_script_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nowhere"):
        ScriptedModel.from_file(tmp_path / "nowhere.txt")
