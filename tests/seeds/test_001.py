"""Every Python block of the document behind `LLMClient`, run as a script against a real server."""

import io
import sys

import pytest

from tests.seeds import blocks, run
from tests.stubs import OpenAIStub


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, openai_stub: OpenAIStub) -> OpenAIStub:
    """What `gpt-4o-mini` leads to in these tests."""
    monkeypatch.setenv("OPENAI_BASE_URL", openai_stub.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    return openai_stub


def type_in(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def test_there_are_two_blocks() -> None:
    assert len(blocks("001")) == 2


def test_the_simple_chat_loop_runs(
    endpoint: OpenAIStub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A1.3, A1.11"""
    type_in(monkeypatch, "Hello", "", "And again", "quit")
    run(blocks("001")[0])
    shown = capsys.readouterr().out
    assert shown.count("Assistant: Hello from the stub.") == 2
    assert shown.endswith("Assistant: Goodbye!\n")
    assert "Error" not in shown
    assert [len(sent["messages"]) for sent in endpoint.posts] == [2, 4]
    assert endpoint.posts[0]["model"] == "gpt-4o-mini"
    assert endpoint.requests[0].headers["authorization"] == "Bearer sk-test"


def test_the_simple_chat_loop_survives_a_failure(
    endpoint: OpenAIStub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    endpoint.fail(400)
    type_in(monkeypatch, "Hello", "bye")
    run(blocks("001")[0])
    assert "Sorry, I didn't get a response." in capsys.readouterr().out


def test_the_enhanced_chat_loop_runs(
    endpoint: OpenAIStub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A1.4, A1.12"""
    type_in(monkeypatch, "Hello", "history", "clear", "history", "Again", "exit")
    run(blocks("001")[1])
    shown = capsys.readouterr().out
    assert "Failed to initialize" not in shown
    assert "Error" not in shown
    assert shown.count("Hello from the stub.") == 3, "twice as an answer, once in the history"
    assert "  2. User: Hello" in shown
    assert "Conversation history cleared!" in shown
    assert [len(sent["messages"]) for sent in endpoint.posts] == [2, 2]
    assert (endpoint.posts[0]["max_tokens"], endpoint.posts[0]["temperature"]) == (500, 0.7)


def test_the_enhanced_chat_loop_takes_a_failed_turn_back(
    endpoint: OpenAIStub, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A1.12"""
    endpoint.fail(401)
    type_in(monkeypatch, "Hello", "history", "quit")
    run(blocks("001")[1])
    shown = capsys.readouterr().out
    assert "I'm sorry, I couldn't process that request." in shown
    assert "User: Hello" not in shown


def test_the_enhanced_chat_loop_says_that_no_client_could_be_made(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A1.12, A1.13"""
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
    run(blocks("001")[1])
    assert "Failed to initialize client: no key for gpt-4o-mini" in capsys.readouterr().out
