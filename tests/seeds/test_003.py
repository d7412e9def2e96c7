"""Every Python block of the document behind `palaver.completion`, run against a real server."""

from dataclasses import dataclass, fields
from typing import Any

import pytest

from palaver.completion import (
    LLMResponse,
    generate_completion_async,
    generate_completion_with_messages_async,
    generate_completion_with_messages_sync,
)
from tests.seeds import blocks, run, run_awaiting
from tests.stubs import OllamaStub


@pytest.fixture
def ollama(monkeypatch: pytest.MonkeyPatch, ollama_stub: OllamaStub) -> OllamaStub:
    """The Ollama of these tests."""
    for name in ("LLM_MODEL_NAME", "LLM_TEMPERATURE", "LLM_MAX_TOKENS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OLLAMA_HOST", ollama_stub.url)
    return ollama_stub


def test_there_are_seven_blocks() -> None:
    assert len(blocks("003")) == 7


def test_the_response_begins_with_the_documented_fields() -> None:
    """A3.1"""
    documented = fields(run(blocks("003")[0], {"dataclass": dataclass})["LLMResponse"])
    ours = fields(LLMResponse)[: len(documented)]
    assert [field.name for field in ours] == [field.name for field in documented]
    assert [field.default for field in ours] == [field.default for field in documented]


def test_the_documented_messages_are_taken(ollama: OllamaStub) -> None:
    messages = run(blocks("003")[1])["messages"]
    assert generate_completion_with_messages_sync(messages).success
    assert ollama.posts[0]["messages"] == messages


async def test_the_documented_options_are_on_the_wire(ollama: OllamaStub) -> None:
    """A3.3"""
    options = run(blocks("003")[2], {"temperature": 0.2, "max_tokens": 50})["options"]
    await generate_completion_async("Hello", temperature=0.2, max_tokens=50)
    assert ollama.posts[0]["options"] == options


async def test_a_failure_has_the_documented_form(ollama: OllamaStub) -> None:
    """A3.4"""
    ollama.fail(500)
    failed = await generate_completion_async("Hello", "m")
    names = {"actual_time": failed.response_time, "model_name": "m", "exception": failed.error}
    block = blocks("003")[3].replace("LLMResponse(", "expected = LLMResponse(", 1)
    expected = run(block, {"LLMResponse": LLMResponse, **names})["expected"]
    first_six = [field.name for field in fields(LLMResponse)][:6]
    assert [getattr(failed, name) for name in first_six] == [getattr(expected, name) for name in first_six]


def test_the_example_with_a_text_runs(ollama: OllamaStub, capsys: pytest.CaptureFixture[str]) -> None:
    """A3.1"""
    run(blocks("003")[4])
    assert capsys.readouterr().out == "Hello from the stub.\n"
    assert (ollama.posts[0]["model"], ollama.posts[0]["options"]["temperature"]) == ("llama3.2", 0.7)


async def test_the_example_with_messages_runs(ollama: OllamaStub, capsys: pytest.CaptureFixture[str]) -> None:
    """A3.1"""
    await run_awaiting(blocks("003")[5])
    shown = capsys.readouterr().out
    assert shown.startswith("Generated in 0.")
    assert shown.endswith(" tokens\n")
    assert " using 0 tokens" not in shown


async def test_the_agent_pattern_runs(ollama: OllamaStub) -> None:
    """A3.7"""
    names = {"generate_completion_with_messages_async": generate_completion_with_messages_async}
    my_agent: Any = run(blocks("003")[6], names)["MyAgent"]

    class Agent(my_agent):  # type: ignore[misc]  # the document's class, executed above
        def __init__(self) -> None:
            self.history: list[dict[str, str]] = []

        def build_conversation_context(self, user_message: str) -> list[dict[str, str]]:
            return [*self.history, {"role": "user", "content": user_message}]

        def update_conversation_history(self, content: str) -> None:
            self.history.append({"role": "assistant", "content": content})

    agent = Agent()
    assert await agent.respond("Hello") == "Hello from the stub."
    ollama.fail(500)
    assert await agent.respond("Again") == "Sorry, I encountered an error."
    assert agent.history == [{"role": "assistant", "content": "Hello from the stub."}]
