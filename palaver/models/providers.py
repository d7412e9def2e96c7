"""Which endpoint a model's name belongs to: `provider/model`, or a bare name that is known from its beginning."""

import asyncio
import importlib
import os
import re
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from palaver.core.errors import MissingExtra, ModelError
from palaver.models.ollama import OllamaModel
from palaver.models.openai_api import OPENAI_URL, OpenAIModel

if TYPE_CHECKING:
    from palaver.models.hf import LocalWeights


@dataclass(frozen=True, slots=True)
class Provider:
    """An OpenAI-compatible endpoint and the variable that holds its key ("" where none is needed)."""

    base_url: str
    key_env: str


PROVIDERS: Mapping[str, Provider] = {
    "openai": Provider(OPENAI_URL, "OPENAI_API_KEY"),
    "anthropic": Provider("https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    "gemini": Provider("https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    "together": Provider("https://api.together.xyz/v1", "TOGETHER_API_KEY"),
    "groq": Provider("https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    "mistral": Provider("https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    "deepseek": Provider("https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    "openrouter": Provider("https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    "vllm": Provider("http://127.0.0.1:8000/v1", "VLLM_API_KEY"),
    "llamacpp": Provider("http://127.0.0.1:8080/v1", "LLAMA_API_KEY"),
    "lmstudio": Provider("http://127.0.0.1:1234/v1", "LMSTUDIO_API_KEY"),
}
"""Beside these, `ollama/…` speaks Ollama's own protocol and `hf/…` loads a model on this machine."""

_ALIASES: Mapping[str, str] = {
    "claude-4-sonnet": "anthropic/claude-sonnet-4-0",
    "claude-4-opus": "anthropic/claude-opus-4-0",
    "llama-3.3-70b": "together/meta-llama/Llama-3.3-70B-Instruct-Turbo",
}
_FAMILIES = (
    (re.compile(r"gpt-|chatgpt-|o\d"), "openai"),
    (re.compile(r"claude-"), "anthropic"),
    (re.compile(r"gemini-"), "gemini"),
    (re.compile(r"(open-)?(mistral|mixtral|magistral|codestral)-"), "mistral"),
    (re.compile(r"deepseek-"), "deepseek"),
)


@dataclass(frozen=True, slots=True)
class Route:
    """Where a model's name leads."""

    provider: str
    model: str
    """The name as the endpoint knows it."""
    base_url: str = ""
    key_env: str = ""


def route(name: str, *, base_url: str | None = None) -> Route:
    """The route of a model name; `base_url` (or `OPENAI_BASE_URL`) takes names that no provider is known for.

    Raises `ModelError` where the name leads nowhere.
    """
    name = _ALIASES.get(name, name)
    prefix, slash, rest = name.partition("/")
    if slash and rest and prefix in {"ollama", "hf"}:
        return Route(prefix, rest, base_url or "")
    if slash and rest and prefix in PROVIDERS:
        return _api(prefix, rest, base_url)
    if base_url:
        return _api("openai", name, base_url)
    family = next((provider for pattern, provider in _FAMILIES if pattern.match(name)), None)
    if family is not None:
        return _api(family, name, None)
    if os.environ.get("OPENAI_BASE_URL"):
        return _api("openai", name, None)
    known = ", ".join([*PROVIDERS, "ollama", "hf"])
    raise ModelError(f"model {name!r}: no provider known; write provider/{name} with one of {known}, or give base_url")


def _api(provider: str, model: str, base_url: str | None) -> Route:
    known = PROVIDERS[provider]
    if base_url is None and provider == "openai":
        base_url = os.environ.get("OPENAI_BASE_URL")
    return Route(provider, model, base_url or known.base_url, known.key_env)


def api_model(at: Route, *, api_key: str | None = None, **settings: Any) -> OpenAIModel | OllamaModel:
    """The model of a route that leads over HTTP; settings as for `RemoteModel`."""
    if at.provider == "ollama":
        return OllamaModel(at.model, host=at.base_url or None, **settings)
    return OpenAIModel(at.model, base_url=at.base_url, api_key=api_key, key_env=at.key_env, **settings)


async def local_weights(path: str) -> "LocalWeights":
    """The weights of an `hf/…` route, loaded in a thread, once in a process however many ask for them.

    Raises `ModelError` where they cannot be loaded; the next call tries again.
    """
    if path not in _loading:
        _loading[path] = _loader.submit(_load, path)
    try:
        return await asyncio.wrap_future(_loading[path])
    except (ModelError, OSError):
        _loading.pop(path, None)
        raise


def unload(path: str) -> None:
    """Close the weights that `local_weights` loaded from `path`, if it did; blocks for a decode step at most."""
    loading = _loading.pop(path, None)
    if loading is not None:
        loading.result().close()


def _load(path: str) -> "LocalWeights":
    try:
        hf = importlib.import_module("palaver.models.hf")
    except ImportError as error:
        raise MissingExtra(error.name or "transformers", "hf") from error
    weights: LocalWeights = hf.load(path)
    return weights


_loader = ThreadPoolExecutor(1, thread_name_prefix="palaver-loading")
_loading: dict[str, Future["LocalWeights"]] = {}
