"""The document's blocks that speak of the server, run as they stand after the renames."""

import asyncio
import json
import sys
import types
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.api.talks import entry, serving, talker
from tests.seeds import blocks, run
from tests.stubs import OpenAIStub


def block_with(text: str) -> str:
    """The first block that holds `text`."""
    return next(block for block in blocks("004") if text in block)


def test_the_documents_python_api_completes_a_conversation(
    openai_stub: OpenAIStub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A4.13, A4.20"""
    model = {"name": "gpt-4o-mini", "type": "openai", "api_base": openai_stub.base_url, "api_key": "sk-test"}
    settings = {"models": {"gpt-4o-mini": model}, "default_model": "gpt-4o-mini"}
    (tmp_path / "palaver.yaml").write_text(json.dumps(settings), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    run(block_with("create_server"))
    assert "Conversation completed: all 10 turns are done" in capsys.readouterr().out
    assert len(openai_stub.posts) == 10


@pytest.mark.parametrize("mark", ["Two friends discussing weekend plans", "Two friends discussing AI"])
async def test_the_documents_requests_are_answered(mark: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4.4, A4.20"""
    models = {"my-workflow-model": entry(talker)}
    async with serving(models) as server:

        def here(url: str) -> str:
            return url.replace("http://localhost:8000", server.url)

        requests: Any = types.ModuleType("requests")
        requests.post = lambda url, json: httpx2.post(here(url), json=json, trust_env=False)
        requests.get = lambda url: httpx2.get(here(url), trust_env=False)
        monkeypatch.setitem(sys.modules, "requests", requests)
        names = await asyncio.to_thread(run, block_with(mark))
        ident = names["response"].json()["conversation_id"]
        view = await server.over(ident)
    assert view["status"] == "completed"
    assert view["agents"] == ["Alice", "Bob"]
    assert {message["from"] for message in view["messages"] if message["role"] == "model"} == {"Alice", "Bob"}
