"""Where a model's name leads."""

import asyncio

import pytest

from palaver import LLMClient
from palaver.completion import generate_completion_async, generate_completion_sync
from palaver.core.errors import ModelError
from palaver.models import providers
from palaver.models.ollama import OllamaModel, ollama_url
from palaver.models.openai_api import OpenAIModel
from palaver.models.tiny import path


@pytest.fixture(autouse=True)
def no_endpoint_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_BASE_URL", "OLLAMA_HOST"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("name", "provider", "model", "host"),
    [
        ("gpt-4o", "openai", "gpt-4o", "api.openai.com"),
        ("o3-mini", "openai", "o3-mini", "api.openai.com"),
        ("claude-4-sonnet", "anthropic", "claude-sonnet-4-0", "api.anthropic.com"),
        ("claude-3-haiku-20240307", "anthropic", "claude-3-haiku-20240307", "api.anthropic.com"),
        ("gemini-2.0-flash", "gemini", "gemini-2.0-flash", "generativelanguage.googleapis.com"),
        ("llama-3.3-70b", "together", "meta-llama/Llama-3.3-70B-Instruct-Turbo", "api.together.xyz"),
        ("together/a/b", "together", "a/b", "api.together.xyz"),
        ("vllm/a/b", "vllm", "a/b", "127.0.0.1:8000"),
        ("openai/gpt-4o", "openai", "gpt-4o", "api.openai.com"),
        ("ollama/library/llama3.2", "ollama", "library/llama3.2", ""),
        ("hf/some/folder", "hf", "some/folder", ""),
    ],
)
def test_each_name_leads_to_its_provider(name: str, provider: str, model: str, host: str) -> None:
    at = providers.route(name)
    assert (at.provider, at.model) == (provider, model)
    assert host in at.base_url


def test_every_provider_has_an_endpoint_and_the_variable_of_its_key() -> None:
    for name in providers.PROVIDERS:
        at = providers.route(f"{name}/m")
        assert at.base_url.startswith(("https://", "http://127.0.0.1"))
        assert at.key_env.endswith("_API_KEY")
        assert isinstance(providers.api_model(at), OpenAIModel)


def test_a_url_takes_any_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert providers.route("mine", base_url="http://x/v1") == providers.Route(
        "openai", "mine", "http://x/v1", "OPENAI_API_KEY"
    )
    assert providers.route("claude-x", base_url="http://x/v1").base_url == "http://x/v1"
    monkeypatch.setenv("OPENAI_BASE_URL", "http://y/v1")
    assert providers.route("mine").base_url == "http://y/v1"
    assert providers.route("together/mine").base_url == "https://api.together.xyz/v1"


@pytest.mark.parametrize("name", ["mine", "some/folder", "openai/", "/x", ""])
def test_a_name_that_leads_nowhere_is_refused(name: str) -> None:
    with pytest.raises(ModelError, match="no provider known"):
        providers.route(name)


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("", "http://127.0.0.1:11434"),
        ("gpu-box", "http://gpu-box:11434"),
        ("gpu-box:9", "http://gpu-box:9"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://gpu-box:9/", "http://gpu-box:9"),
        ("https://ollama.example.org", "https://ollama.example.org:443"),
    ],
)
def test_ollama_is_found_however_its_host_is_written(host: str, url: str) -> None:
    assert ollama_url(host) == url


def test_ollamas_host_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "gpu-box:9")
    model = providers.api_model(providers.route("ollama/m"))
    assert isinstance(model, OllamaModel)
    assert model._where() == "http://gpu-box:9"


async def test_a_local_model_is_loaded_once_for_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A3.1 and A1.5 with a model on this machine."""
    name = f"hf/{path()}"
    try:
        first, second = await asyncio.gather(providers.local_weights(str(path())), providers.local_weights(str(path())))
        assert first is second
        awaited = await generate_completion_async("Hello", name, 0, 12)
        blocked = await asyncio.to_thread(generate_completion_sync, "Hello", name, 0, 12)
        assert awaited.success, awaited.error
        assert awaited.content == blocked.content
        assert awaited.model_used == name
        assert awaited.tokens_used > 0
        client = LLMClient(name, max_new_tokens=12, temperature=0)
        responses = await client.process_prompts_async(["Hello", "Who are you?"], show_progress=False)
        assert [response.is_error for response in responses] == [False, False]
        tool = await client.process_prompts_async(["Hello"], show_progress=False, tools=[{"type": "function"}])
        assert "takes no tools" in (tool[0].error_message or "")
    finally:
        await asyncio.to_thread(providers.unload, str(path()))


async def test_a_local_model_that_is_not_there_is_asked_for_again_next_time() -> None:
    for _ in range(2):
        with pytest.raises((ModelError, OSError), match="no/such/folder"):
            await providers.local_weights("no/such/folder")
