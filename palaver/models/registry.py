"""A model from its config: each provider type, its address, the variable of its key, and what else it takes.

It does not know the config file: whatever has the attributes of `ModelSettings` will do.
"""

import math
import os
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from palaver.core.errors import ConfigError, ModelError, PalaverError
from palaver.models import providers
from palaver.models.azure import AzureModel
from palaver.models.limits import RateLimit
from palaver.models.local import LocalModel
from palaver.models.model import Model
from palaver.models.ollama import OllamaModel
from palaver.models.openai_api import OpenAIModel
from palaver.models.provider import BaseModelProvider, ConfiguredModel
from palaver.models.retry import RetryPolicy
from palaver.models.scripted import ScriptedModel
from palaver.models.workflow import WorkflowProvider


class ModelSettings(Protocol):
    """What a model is made from; `palaver.config.ModelConfig` is one."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> str: ...
    @property
    def temperature(self) -> float: ...
    @property
    def api_base(self) -> str | None: ...
    @property
    def api_key(self) -> str | None: ...
    @property
    def max_tokens(self) -> int | None: ...
    @property
    def timeout(self) -> float: ...
    @property
    def custom_config(self) -> Mapping[str, Any]: ...


Factory = Callable[[Any], Model]
"""Makes a model from its `ModelSettings`. One without `generate` gets it, and its temperature and length, from
`ConfiguredModel`."""


def create_model(config: ModelSettings) -> BaseModelProvider:
    """The model of a config; nothing is sent and no weights are loaded before its first use.

    Raises `ConfigError` for an unknown type, handler or setting, and `ModelError` for a key that is in no variable or
    a package that is not installed.
    """
    factory = _factories.get(config.type)
    if factory is None:
        hint = "an OpenAI-compatible endpoint is `type: openai` with its api_base"
        raise ConfigError(f"type {config.type!r} is unknown; known: {', '.join(provider_types())} ({hint})")
    try:
        model = factory(config)
    except PalaverError:
        raise
    except Exception as error:  # anybody's factory: whatever it cannot do with its settings is a wrong config
        raise ConfigError(f"type {config.type!r} cannot be made: {type(error).__name__}: {error}") from error
    if isinstance(model, BaseModelProvider):
        return model
    return ConfiguredModel(model, name=config.name, temperature=config.temperature, max_tokens=config.max_tokens)


def register_provider(kind: str, factory: Factory) -> None:
    """Let `type: kind` in a config mean what `factory` makes; a later one of that name takes its place."""
    _factories[kind] = factory


def provider_types() -> list[str]:
    """Every type that a config may name now."""
    return list(_factories)


# What speaks OpenAI's protocol


def _openai_like(config: ModelSettings) -> Model:
    known = providers.PROVIDERS[config.type]
    base = api_address(config.api_base) if config.api_base else None
    if base is None and config.type != "openai":  # for `openai` the model looks at OPENAI_BASE_URL
        base = known.base_url
    return _with_key(
        OpenAIModel(config.name, base_url=base, api_key=config.api_key, key_env=known.key_env, **_remote(config))
    )


def _azure(config: ModelSettings) -> Model:
    base = config.api_base or os.environ.get("AZURE_API_BASE")
    if not base:
        raise ConfigError("api_base is missing: the address of the resource, https://NAME.openai.azure.com")
    settings = {"api_key": config.api_key, "key_env": "AZURE_API_KEY", **_remote(config)}
    extra = settings["extra"]
    deployment = str(extra.pop("deployment", config.name))
    version = extra.pop("api_version", None) or os.environ.get("AZURE_API_VERSION")
    if api_address(base).endswith("/openai/v1"):  # the newer address, which needs no version
        return _with_key(OpenAIModel(deployment, base_url=base, **settings))
    if not version:
        raise ModelError(f"no API version for {config.name} at {base}: set the environment variable AZURE_API_VERSION")
    return _with_key(
        AzureModel(config.name, resource=base, api_version=str(version), deployment=deployment, **settings)
    )


def _litellm(config: ModelSettings) -> Model:
    """LiteLLM's proxy, for LiteLLM itself needs an openai below 3 and cannot share this environment."""
    if not config.api_base:
        raise ModelError(
            "litellm needs openai < 3 and cannot share Palaver's environment: install it into one of its own, run "
            f"`litellm --model {config.name}` there, and give its address as api_base (http://127.0.0.1:4000)"
        )
    base = api_address(config.api_base)
    return _with_key(
        OpenAIModel(config.name, base_url=base, api_key=config.api_key, key_env="LITELLM_API_KEY", **_remote(config))
    )


def _with_key(model: OpenAIModel) -> OpenAIModel:
    """The model; raises `ModelError` that names the variable where its endpoint needs a key and none is set."""
    model.key()
    return model


def api_address(api_base: str) -> str:
    """An address without a path is that of the server: its API begins at /v1. Raises `ConfigError`."""
    parts = urlsplit(api_base)
    if parts.scheme not in ("http", "https") or not parts.netloc:
        raise ConfigError(f"api_base {api_base!r} is no address of the form http://host:port")
    return f"{api_base.rstrip('/')}/v1" if not parts.path.strip("/") else api_base.rstrip("/")


def _remote(config: ModelSettings) -> dict[str, Any]:
    """The settings of every model behind HTTP; what `custom_config` has besides goes into each request."""
    extra = dict(config.custom_config)
    attempts = extra.pop("attempts", RetryPolicy().attempts)
    limits = [extra.pop(key, None) for key in ("max_requests_per_minute", "max_tokens_per_minute")]
    try:
        if int(attempts) < 1:
            raise ValueError(f"attempts must be 1 or more, not {attempts}")
        settings = {"retry": RetryPolicy(attempts=int(attempts)), "limit": RateLimit(*limits)}
    except (TypeError, ValueError) as error:
        raise ConfigError(f"custom_config: {error}") from error
    return {"timeout": config.timeout, "extra": extra, **settings}


# What does not


def _ollama(config: ModelSettings) -> Model:
    return OllamaModel(config.name, host=config.api_base, **_remote(config))


def _workflow(config: ModelSettings) -> Model:
    return WorkflowProvider(
        config.name,
        config.custom_config,
        temperature=config.temperature,
        max_tokens=config.max_tokens,
        timeout=config.timeout,
    )


_SCRIPT_SETTINGS: Final[Mapping[str, Any]] = {
    "lines": list,
    "file": str,
    "cycle": bool,
    "delay": int | float,
    "hang": bool,
}


def _scripted(config: ModelSettings) -> Model:
    """`custom_config` has `lines` or a `file` of them; else the model's name is the file."""
    settings = dict(config.custom_config)
    unknown = [key for key in settings if key not in _SCRIPT_SETTINGS]
    if unknown:
        raise ConfigError(f"custom_config.{unknown[0]} is unknown; known: {', '.join(_SCRIPT_SETTINGS)}")
    for key, value in settings.items():
        if not isinstance(value, _SCRIPT_SETTINGS[key]) or (
            isinstance(value, float | int) and not 0 <= value < math.inf
        ):
            raise ConfigError(f"custom_config.{key} cannot be {value!r}")
    lines, file = settings.pop("lines", None), settings.pop("file", config.name)
    if lines is None:
        return ScriptedModel.from_file(file, **settings)
    if not all(isinstance(line, str) for line in lines):
        raise ConfigError("custom_config.lines must be a list of texts")
    return ScriptedModel(lines, name=config.name, **settings)


def _hf(config: ModelSettings) -> Model:
    return LocalModel(config.name, config.custom_config)


_factories: dict[str, Factory] = {
    **dict.fromkeys(providers.PROVIDERS, _openai_like),
    "azure": _azure,
    "ollama": _ollama,
    "hf": _hf,
    "scripted": _scripted,
    "workflow": _workflow,
    "litellm": _litellm,
}
