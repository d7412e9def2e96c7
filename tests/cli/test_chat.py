"""`palaver chat`, typed at and piped into."""

import pytest

from tests.processes import program
from tests.stubs.openai_stub import OpenAIStub


@pytest.mark.system
async def test_a_conversation_with_history_and_a_goodbye() -> None:
    with OpenAIStub(["An answer."]) as stub:
        typed = b"hello\nhistory\nclear\nhistory\nquit\n"
        where = ("--api-base", stub.base_url, "stub-model")
        async with program("-m", "palaver", "chat", *where, stdin=typed, env={"OPENAI_API_KEY": "none"}) as chat:
            assert await chat.exit(60) == 0, chat.output
    assert "🤖 Assistant: An answer." in chat.output
    assert "2. User: hello" in chat.output
    assert "Goodbye!" in chat.output


@pytest.mark.system
async def test_the_embedded_model_answers_in_the_simple_loop() -> None:
    async with program("-m", "palaver", "chat", "--simple", stdin=b"hello\nbye\n") as chat:
        assert await chat.exit(90) == 0, chat.output
    assert chat.output.count("Assistant: ") == 3


@pytest.mark.system
async def test_a_missing_key_is_named_and_the_exit_code_says_so() -> None:
    async with program("-m", "palaver", "chat", "gpt-4o-mini", stdin=b"", env={"OPENAI_API_KEY": ""}) as chat:
        assert await chat.exit(60) == 1
    assert "Failed to initialize client: " in chat.output
    assert "OPENAI_API_KEY" in chat.output
