"""`palaver chat`, typed at and piped into."""

from pathlib import Path

import pytest

from palaver.cli import chat
from palaver.models import chat_loop, client
from tests.processes import program
from tests.stubs.openai_stub import OpenAIStub


@pytest.mark.system
async def test_a_conversation_with_history_and_a_goodbye() -> None:
    with OpenAIStub(["An answer."]) as stub:
        typed = b"hello\nhistory\nclear\nhistory\nquit\n"
        where = ("--api-base", stub.base_url, "stub-model")
        async with program("-m", "palaver", "chat", *where, stdin=typed, env={"OPENAI_API_KEY": "none"}) as talk:
            assert await talk.exit(60) == 0, talk.output
    assert "🤖 Assistant: An answer." in talk.output
    assert "2. User: hello" in talk.output
    assert "Goodbye!" in talk.output


@pytest.mark.system
async def test_the_embedded_model_answers_in_the_simple_loop() -> None:
    async with program("-m", "palaver", "chat", "--simple", stdin=b"hello\nbye\n") as talk:
        assert await talk.exit(90) == 0, talk.output
    assert talk.output.count("Assistant: ") == 3


@pytest.mark.parametrize(
    ("typed", "asked"),
    [
        ([], "hf/tiny"),
        (["tiny"], "hf/tiny"),
        (["--model", "tiny"], "hf/tiny"),
        (["--model", "gpt-4o-mini"], "gpt-4o-mini"),
        (["hf/microsoft/phi-2"], "hf/microsoft/phi-2"),
        (["FOLDER"], "hf/FOLDER"),
    ],
)
def test_a_model_is_named_as_the_other_commands_name_it(
    typed: list[str], asked: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(chat_loop, "enhanced_chat", lambda make, system: seen.append(make()) or True)
    monkeypatch.setattr(client, "LLMClient", lambda model, **options: model)
    folder = str(tmp_path)
    assert chat.main([each.replace("FOLDER", folder) for each in typed]) == 0
    assert seen == [asked.replace("FOLDER", folder)]


@pytest.mark.system
async def test_a_missing_key_is_named_and_the_exit_code_says_so() -> None:
    async with program("-m", "palaver", "chat", "gpt-4o-mini", stdin=b"", env={"OPENAI_API_KEY": ""}) as talk:
        assert await talk.exit(60) == 1
    assert "Failed to initialize client: " in talk.output
    assert "OPENAI_API_KEY" in talk.output
