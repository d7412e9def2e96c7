"""Every block of docs/scripting.md runs as it stands there."""

import re
from pathlib import Path

import pytest

from palaver.models import providers
from tests.seeds import run
from tests.stubs import OllamaStub, OpenAIStub

PAGE = (Path(__file__).parent.parent / "docs" / "scripting.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_each_block_runs(
    number: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    openai_stub: OpenAIStub,
    ollama_stub: OllamaStub,
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", openai_stub.base_url)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OLLAMA_HOST", ollama_stub.url)
    run(BLOCKS[number])
    shown = capsys.readouterr().out
    assert "Hello from the stub." in shown or "To be," in shown or "20 of 20" in shown
    assert "no answer" not in shown


def test_every_provider_is_on_the_page() -> None:
    for name in (*providers.PROVIDERS, "ollama", "hf"):
        assert f"`{name}/…`" in PAGE
