"""Each documented provider block: where it leads, with which key, and what it sends."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from palaver.config import ModelConfig
from palaver.core.errors import ConfigError, ModelError
from palaver.models import registry
from palaver.models.model import Cancel, ChatMessage, Model
from palaver.models.provider import BaseModelProvider, ConfiguredModel
from palaver.models.registry import create_model, provider_types, register_provider
from palaver.models.scripted import ScriptedModel
from palaver.models.workflow import WorkflowProvider
from tests.stubs import HTTPStub, OllamaStub, OpenAIStub

KEYS = (
    "OPENAI_API_KEY",
    "OPENAI_BASE_URL",
    "ANTHROPIC_API_KEY",
    "TOGETHER_API_KEY",
    "VLLM_API_KEY",
    "AZURE_API_KEY",
    "AZURE_API_VERSION",
    "AZURE_API_BASE",
    "LITELLM_API_KEY",
    "OLLAMA_HOST",
)
ASK: list[ChatMessage] = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)


@dataclass(frozen=True)
class Block:
    """One provider of the document: its config, the variables it needs, and the request that must come of it."""

    kind: str
    name: str
    env: Mapping[str, str]
    path: str
    header: str
    key: str
    default: str
    """Where it leads without an api_base."""
    settings: Mapping[str, Any] = field(default_factory=dict)


CHAT = "/v1/chat/completions"
BLOCKS = [
    Block("openai", "gpt-4", {"OPENAI_API_KEY": "k1"}, CHAT, "authorization", "Bearer k1", "https://api.openai.com/v1"),
    Block(
        "anthropic",
        "claude-3-sonnet-20240229",
        {"ANTHROPIC_API_KEY": "k2"},
        CHAT,
        "authorization",
        "Bearer k2",
        "https://api.anthropic.com/v1",
    ),
    Block(
        "together",
        "meta-llama/Llama-2-70b-chat-hf",
        {"TOGETHER_API_KEY": "k3"},
        CHAT,
        "authorization",
        "Bearer k3",
        "https://api.together.xyz/v1",
    ),
    Block("vllm", "llama-2-7b-chat", {}, CHAT, "authorization", "Bearer EMPTY", "http://127.0.0.1:8000/v1"),
    Block(
        "azure",
        "gpt-4",
        {"AZURE_API_KEY": "k4", "AZURE_API_VERSION": "2024-10-21"},
        "/openai/deployments/gpt-4/chat/completions?api-version=2024-10-21",
        "api-key",
        "k4",
        "",
    ),
    Block("litellm", "gpt-4o", {"LITELLM_API_KEY": "k5"}, CHAT, "authorization", "Bearer k5", ""),
]


@pytest.fixture
def endpoint() -> Iterator[OpenAIStub]:
    """A server that answers under any path, as OpenAI does."""

    class Anywhere(OpenAIStub):
        async def answer(self, request: Any, answer: Any) -> None:
            await self._complete(request.json, answer)

    with Anywhere() as stub:
        yield stub


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.kind)
async def test_each_provider_asks_the_right_address_with_the_right_key(
    block: Block, streamed: bool, endpoint: OpenAIStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A4.3"""
    for name, value in block.env.items():
        monkeypatch.setenv(name, value)
    config = ModelConfig(name=block.name, type=block.kind, api_base=endpoint.url, temperature=0, max_tokens=9)
    heard: list[str] = []
    reply = await create_model(config).complete(ASK, on_text=heard.append if streamed else None)
    assert reply.success, reply.error
    request = endpoint.requests[0]
    assert request.path == block.path
    assert request.headers[block.header] == block.key
    assert ("authorization" in request.headers) == (block.header == "authorization")
    assert (request.json["model"], request.json["temperature"], request.json["max_tokens"]) == (block.name, 0, 9)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.default], ids=lambda block: block.kind)
def test_each_provider_knows_its_own_address(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    """A4.3"""
    for name, value in block.env.items():
        monkeypatch.setenv(name, value)
    provider = create_model(ModelConfig(name=block.name, type=block.kind))
    assert isinstance(provider, ConfiguredModel)
    assert provider.model._where() == block.default  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("openai", "set the environment variable OPENAI_API_KEY"),
        ("anthropic", "set the environment variable ANTHROPIC_API_KEY"),
        ("together", "set the environment variable TOGETHER_API_KEY"),
    ],
)
def test_a_missing_key_is_named(kind: str, said: str) -> None:
    """A1.13, A4.3"""
    with pytest.raises(ModelError, match=said):
        create_model(ModelConfig(name="m", type=kind))


def test_azure_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    resource = "https://r.openai.azure.com"
    with pytest.raises(ConfigError, match="api_base is missing"):
        create_model(ModelConfig(name="gpt-4", type="azure"))
    with pytest.raises(ModelError, match="AZURE_API_VERSION"):
        create_model(ModelConfig(name="gpt-4", type="azure", api_base=resource))
    monkeypatch.setenv("AZURE_API_VERSION", "2024-10-21")
    with pytest.raises(ModelError, match="AZURE_API_KEY"):
        create_model(ModelConfig(name="gpt-4", type="azure", api_base=resource))


async def test_azures_newer_address_needs_no_version(endpoint: OpenAIStub) -> None:
    config = ModelConfig(name="gpt-4", type="azure", api_base=f"{endpoint.url}/openai/v1", api_key="k")
    assert (await create_model(config).complete(ASK)).success
    assert endpoint.requests[0].path == "/openai/v1/chat/completions"


async def test_azure_takes_version_and_deployment_from_the_config(endpoint: OpenAIStub) -> None:
    custom = {"api_version": "2025-01-01", "deployment": "my deployment", "top_p": 0.5}
    config = ModelConfig(name="gpt-4", type="azure", api_base=endpoint.url, api_key="k", custom_config=custom)
    await create_model(config).complete(ASK)
    assert endpoint.requests[0].path == "/openai/deployments/my%20deployment/chat/completions?api-version=2025-01-01"
    assert endpoint.posts[0]["top_p"] == 0.5
    assert "api_version" not in endpoint.posts[0]


async def test_the_models_own_key_goes_before_the_variable(
    openai_stub: OpenAIStub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "general")
    config = ModelConfig(name="m", type="openai", api_base=f"{openai_stub.url}/v1", api_key="own")
    await create_model(config).complete(ASK)
    assert openai_stub.requests[0].headers["authorization"] == "Bearer own"


async def test_ollama_is_asked_in_its_own_words(ollama_stub: OllamaStub) -> None:
    """A4.3"""
    config = ModelConfig(
        name="llama2", type="ollama", api_base=ollama_stub.url, temperature=0, max_tokens=5, custom_config={"top_k": 3}
    )
    assert (await create_model(config).complete(ASK)).success
    sent = ollama_stub.posts[0]
    assert (sent["model"], sent["options"]) == ("llama2", {"temperature": 0, "num_predict": 5, "top_k": 3})


async def test_further_request_fields_are_sent_as_they_are(openai_stub: OpenAIStub) -> None:
    config = ModelConfig(name="m", type="vllm", api_base=openai_stub.url, custom_config={"min_p": 0.1})
    await create_model(config).complete(ASK)
    assert openai_stub.posts[0]["min_p"] == 0.1


async def test_what_a_call_says_goes_before_the_config(openai_stub: OpenAIStub) -> None:
    model = create_model(ModelConfig(name="m", type="vllm", api_base=openai_stub.url, temperature=0.5, max_tokens=9))
    await model.complete(ASK, temperature=0.0, max_tokens=3)
    await model.generate("Hello", max_tokens=4)
    await create_model(ModelConfig(name="m", type="vllm", api_base=openai_stub.url)).generate("Hello")
    sent = [(post["temperature"], post["max_tokens"]) for post in openai_stub.posts]
    assert sent == [(0.0, 3), (0.5, 4), (0.7, 512)]


async def test_the_timeout_and_the_attempts_of_the_config_hold() -> None:
    with OpenAIStub(hang=True) as stub:
        custom = {"attempts": 1}
        config = ModelConfig(name="m", type="vllm", api_base=stub.url, timeout=0.5, custom_config=custom)
        reply = await create_model(config).complete(ASK)
        assert len(stub.requests) == 1
    assert (reply.success, reply.stop_reason) == (False, "timeout")
    assert "said nothing for 0.5 s" in (reply.error or "")


def test_limits_that_cannot_be_are_refused() -> None:
    for custom in ({"max_requests_per_minute": 0}, {"attempts": "many"}, {"attempts": 0}):
        with pytest.raises(ConfigError, match="custom_config: "):
            create_model(ModelConfig(name="m", type="ollama", custom_config=custom))


async def test_generate_gives_content_or_raises(openai_stub: OpenAIStub) -> None:
    """A4.9"""
    model = create_model(ModelConfig(name="m", type="vllm", api_base=openai_stub.url))
    response = await model.generate("Hello")
    assert (response.content, response.model) == ("Hello from the stub.", "m")
    openai_stub.fail(400)
    with pytest.raises(RuntimeError, match=r"model 'm' gave no reply: .* answered 400"):
        await model.generate("Hello")


async def test_a_workflow_is_made_from_its_config(http_stub: HTTPStub) -> None:
    custom = {"endpoint": f"{http_stub.url}/generate"}
    model = create_model(ModelConfig(name="w", type="workflow", temperature=0, max_tokens=6, custom_config=custom))
    assert isinstance(model, WorkflowProvider)
    assert (await model.generate("x")).content == "reply to x"
    assert http_stub.posts == [{"prompt": "x", "temperature": 0.0, "max_tokens": 6}]
    with pytest.raises(ConfigError, match="endpoint is missing"):
        create_model(ModelConfig(name="w", type="workflow"))


async def test_a_script_is_in_the_config_or_in_a_file(tmp_path: Path) -> None:
    script = tmp_path / "lines.txt"
    script.write_text("From the file.\n", encoding="utf-8")
    inline = create_model(ModelConfig(name="s", type="scripted", custom_config={"lines": ["One."], "cycle": True}))
    named = create_model(ModelConfig(name=str(script), type="scripted"))
    given = create_model(ModelConfig(name="s", type="scripted", custom_config={"file": str(script)}))
    assert [(await inline.generate("x")).content for _ in range(2)] == ["One.", "One."]
    assert (await named.generate("x")).content == (await given.generate("x")).content == "From the file."


@pytest.mark.parametrize(
    "custom",
    [{"line": []}, {"lines": "One."}]
    + [{"lines": ["One."], **more} for more in ({"delay": "slow"}, {"delay": -1}, {"cycle": "no"})],
)
def test_a_script_that_is_none_is_refused(custom: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"custom_config\.(line|delay|cycle)"):
        create_model(ModelConfig(name="s", type="scripted", custom_config=custom))


async def test_a_local_model_is_loaded_when_it_is_first_asked(tiny_llama: Path) -> None:
    config = ModelConfig(name=str(tiny_llama), type="hf", temperature=0, max_tokens=8, custom_config={"threads": 1})
    model = create_model(config)
    try:
        reply = await model.complete(ASK)
        assert reply.success, reply.error
        assert reply.usage.prompt_tokens > 0
        assert reply.provenance["sampling"]["temperature"] == 0
        assert reply.provenance["max_tokens"] == 8
    finally:
        await model.close()


async def test_a_local_model_that_still_loads_can_be_cancelled(tiny_llama: Path) -> None:
    cancel = Cancel()
    cancel.press("enough")
    model = create_model(ModelConfig(name=str(tiny_llama), type="hf"))
    reply = await model.complete(ASK, cancel=cancel)
    assert (reply.success, reply.content, reply.stop_reason) == (True, "", "cancelled")


async def test_a_local_model_that_is_not_there_is_a_failed_reply() -> None:
    model = create_model(ModelConfig(name="no/such/folder", type="hf"))
    for _ in range(2):
        reply = await model.complete(ASK)
        assert not reply.success
        assert "no/such/folder" in (reply.error or "")
    await model.close()


def test_litellm_says_how_it_can_be_had() -> None:
    with pytest.raises(ModelError, match="into one of its own, run `litellm --model gpt-4o` there"):
        create_model(ModelConfig(name="gpt-4o", type="litellm"))


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"type 'flexible' is unknown; known: openai, anthropic, .*workflow"):
        create_model(ModelConfig(name="m", type="flexible"))


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigError, match="api_base 'localhost:8000' is no address"):
        create_model(ModelConfig(name="m", type="vllm", api_base="localhost:8000"))


async def test_a_registered_type_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))

    def factory(config: ModelConfig) -> Model:
        return ScriptedModel([config.custom_config["word"]])

    register_provider("parrot", factory)
    assert "parrot" in provider_types()
    model = create_model(ModelConfig(name="polly", type="parrot", custom_config={"word": "Hello"}))
    assert isinstance(model, BaseModelProvider)
    assert (model.name, (await model.generate("x")).content) == ("polly", "Hello")


def test_whatever_a_factory_cannot_do_with_its_settings_is_a_wrong_config(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_factories", dict(registry._factories))
    registry.register_provider("mine", lambda config: ScriptedModel(config.custom_config["words"]))
    with pytest.raises(ConfigError, match="type 'mine' cannot be made: KeyError: 'words'"):
        create_model(ModelConfig(name="m", type="mine"))
