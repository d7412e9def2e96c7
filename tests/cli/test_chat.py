"""`palaver chat`, typed at and piped into."""

from collections.abc import Callable
from pathlib import Path

import pytest

from palaver.cli import chat
from palaver.hub.tls import server_tls
from palaver.models import chat_loop, client
from tests.processes import program
from tests.security.certificates import certificate
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
    seen: list[object] = []

    def converse(make: Callable[[], object], system: str) -> bool:
        seen.append(make())
        return True

    monkeypatch.setattr(chat_loop, "enhanced_chat", converse)
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


@pytest.mark.system
async def test_a_member_of_a_hub_with_a_certificate_of_its_own_is_talked_to(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    script = tmp_path / "lines.txt"
    script.write_text("An answer over TLS.\n" * 3)  # one for the floor it is given, one for the one taken back
    where = ("--port", "0", "--data-dir", str(tmp_path / "data"), "--no-transcripts")
    tls = ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    trust = ("--tls-ca", str(pair.certificate))
    async with program("server.py", *where, *tls) as hub:
        url = (await hub.until(r"wss://[\d.]+:\d+"))[0]
        speaks = ("--name", "Sage", "--backend", "scripted", "--model", str(script))
        async with program("client.py", *speaks, "--server", url, *trust) as sage:
            await sage.until("joined")
            asks = ("-m", "palaver", "chat", "--simple", "--server", url, "--to", "Sage")
            async with program(*asks, *trust, stdin=b"hello\nbye\n") as talk:
                assert await talk.exit() == 0
            async with program(*asks, stdin=b"hello\nbye\n") as stranger:
                await stranger.exit()
    assert "An answer over TLS." in talk.output
    assert "its certificate is not trusted" in stranger.output and "--tls-ca" in stranger.output


@pytest.mark.system
async def test_an_endpoint_with_a_certificate_of_its_own_is_trusted_by_the_environment(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    stub = OpenAIStub(["An answer over TLS."])
    stub.tls = server_tls(str(pair.certificate), str(pair.key))
    key = {"OPENAI_API_KEY": "none"}
    with stub:
        asks = ("-m", "palaver", "chat", "--simple", "--api-base", stub.base_url, "stub-model")
        trust = {"SSL_CERT_FILE": str(pair.certificate)}
        async with program(*asks, stdin=b"hello\nbye\n", env={**key, **trust}) as talk:
            assert await talk.exit() == 0
        async with program(*asks, stdin=b"hello\nbye\n", env=key) as stranger:
            await stranger.exit()
    assert "An answer over TLS." in talk.output
    assert "An answer" not in stranger.output and "SSL_CERT_FILE" in stranger.output
