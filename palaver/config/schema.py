"""What a config file may say, and what holds where it says nothing: the one place for defaults.

It knows neither files nor the environment (`palaver.config.loading`), nor which model types exist
(`palaver.models.registry`): those may be registered.
"""

import logging
import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationInfo,
    field_serializer,
    field_validator,
)
from pydantic_core import PydanticCustomError

from palaver.config.masking import masked
from palaver.core.limits import MOST_HISTORY, MOST_TURNS, Limits
from palaver.core.origins import tidy_origin
from palaver.core.policies import POLICIES

KeyPath = tuple[str | int, ...]

_UNITS: Final = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_PERIODS: Final = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_RATE: Final = re.compile(rf"([1-9]\d*)\s*/\s*({'|'.join(_PERIODS)})")


def _bytes(value: Any) -> Any:
    """A number of bytes from `10MB`, `1 GiB` or a number."""
    if not isinstance(value, str):
        return value
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([A-Za-z]*)", value.strip())
    if found is None or found[2].lower() not in _UNITS:
        raise ValueError(f"{value!r} is no size; write 10MB, 512KiB or a number of bytes")
    return int(float(found[1]) * _UNITS[found[2].lower()])


Bytes = Annotated[int, BeforeValidator(_bytes), Field(ge=0)]
Port = Annotated[int, Field(ge=0, le=65535)]
"""0 takes a free one."""


Origin = Annotated[str, AfterValidator(tidy_origin)]
AnyOrigin = Annotated[str, AfterValidator(lambda text: text if text == "*" else tidy_origin(text))]


class Section(BaseModel):
    """A part of the file: unknown keys are errors, its repr and its JSON show no secret."""

    # Loading turns `${PORT}` into a number where that loses nothing, so a text made of digits must become one again.
    model_config = ConfigDict(extra="forbid", validate_assignment=True, coerce_numbers_to_str=True)

    @field_validator("*", mode="before")
    @classmethod
    def _truth_is_no_number(cls, value: Any, info: ValidationInfo) -> Any:
        kind = cls.model_fields[str(info.field_name)].annotation
        if isinstance(value, bool) and kind in (int, float, int | None):
            raise ValueError(f"must be a number, not {str(value).lower()}")
        return value

    def __repr_args__(self) -> Any:
        for name, value in super().__repr_args__():
            yield name, value if isinstance(value, BaseModel) else masked(value, (name or "",))


class ModelConfig(Section):
    """A model that agents and evaluators may name."""

    name: Annotated[str, Field(min_length=1)]
    """As its endpoint knows it; a folder or hub name for `hf`."""
    type: Annotated[str, Field(min_length=1)]
    """`openai`, `anthropic`, `together`, `vllm`, `ollama`, `azure`, `hf`, `scripted`, `workflow`, `litellm`, …"""
    temperature: Annotated[float, Field(ge=0, le=5)] = 0.7
    """0 always takes the likeliest."""
    api_base: str | None = None
    """Where its endpoint is; None: where its type has it."""
    api_key: str | None = None
    """None: the environment variable of its type (`OPENAI_API_KEY`, …)."""
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    """Of a reply; None: 512, and nothing said to a workflow."""
    timeout: Annotated[float, Field(gt=0, le=1e6)] = 30.0
    """Seconds an endpoint may be silent, or a workflow may take in all."""
    custom_config: dict[str, Any] = Field(default_factory=dict)
    """What only its type knows: a workflow's handlers, further request fields, a script's lines."""

    @field_serializer("api_key", when_used="json-unless-none")
    def _hide_key(self, value: str) -> Any:
        return masked(value, ("api_key",))

    @field_serializer("custom_config", when_used="json")
    def _hide_headers(self, value: Mapping[str, Any]) -> Any:
        return masked(value, ("custom_config",))


class EvaluatorConfig(Section):
    """An evaluator of conversations: `rule_based`, `llm`, or a registered one."""

    type: Annotated[str, Field(min_length=1)]
    enabled: bool = True
    model: str | None = None
    """One of `models`; None: the default model, where it needs one."""
    config: dict[str, Any] = Field(default_factory=dict)

    @field_serializer("config", when_used="json")
    def _hide(self, value: Mapping[str, Any]) -> Any:
        return masked(value, ("config",))


class ApiConfig(Section):
    """The HTTP API."""

    host: str = "127.0.0.1"
    port: Port = 8000
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    reload: bool = False
    cors_origins: list[AnyOrigin] = Field(default_factory=list)
    """Pages that may call it from a browser, `*` for all; none by default."""
    rate_limit: str = "100/minute"
    """Requests of one client: a count per second, minute, hour or day; empty: no limit."""

    @field_validator("rate_limit")
    @classmethod
    def _is_rate(cls, text: str) -> str:
        if text and _RATE.fullmatch(text) is None:
            raise ValueError(f"{text!r} is no rate; write 100/minute (or second, hour, day), or nothing for no limit")
        return text

    def rate(self) -> tuple[int, float] | None:
        """So many requests in so many seconds; None for no limit."""
        found = _RATE.fullmatch(self.rate_limit)
        return (int(found[1]), _PERIODS[found[2]]) if found else None


class LoggingConfig(Section):
    """What is logged, how and where."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"] = "INFO"
    format: str = "%(asctime)s %(levelname)s %(name)s: %(message)s"
    file_path: str | None = None
    max_file_size: Bytes = 10_000_000
    """Bytes after which a new file begins; `10MB` is understood."""
    backup_count: Annotated[int, Field(ge=0)] = 5

    @field_validator("format")
    @classmethod
    def _is_format(cls, text: str) -> str:
        try:
            logging.Formatter(text).format(logging.makeLogRecord({}))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{text!r} is no format of log lines: {error}") from error
        return text

    @field_validator("level", mode="before")
    @classmethod
    def _in_capitals(cls, level: Any) -> Any:
        return level.upper() if isinstance(level, str) else level


_USUAL: Final = Limits()


class LimitsConfig(Section):
    """What the hub bears of one address and one member, as the flags of `palaver server`; 0 is no limit."""

    connections: Annotated[int, Field(ge=0)] = _USUAL.connections
    joins: Annotated[int, Field(ge=0)] = _USUAL.joins
    unjoined: Annotated[int, Field(ge=0)] = _USUAL.unjoined
    join_seconds: Annotated[float, Field(ge=0, lt=1e6)] = _USUAL.join_seconds
    frames: Annotated[float, Field(ge=0, lt=1e9)] = _USUAL.frames
    refusals: Annotated[int, Field(ge=0)] = _USUAL.refusals


class HubConfig(Section):
    """The hub: the same settings as the flags of `palaver server`, with the same defaults."""

    host: str = "127.0.0.1"
    port: Port = 8765
    data_dir: str = "data"
    fsync: Literal["always", "everysec"] = "everysec"
    transcripts: str | None = "logs"
    """Folder of the transcripts; null: none are written."""
    history: Annotated[int, Field(ge=0, le=MOST_HISTORY)] = 50
    policy: str = "open"
    hop_limit: Annotated[int, Field(ge=0)] = 40
    lease: Annotated[float, Field(ge=1, le=1e6)] = 120.0
    token: str | None = None
    """Everybody must show it, over websocket and HTTP; better `PALAVER_TOKEN` in the environment."""
    moderator_token: str | None = None
    """Moderators must show it; better `PALAVER_MODERATOR_TOKEN` in the environment."""
    secret: str | None = None
    """Signs tokens (`palaver token`), of 32 bytes or more; better `PALAVER_SECRET` in the environment."""
    origins: list[Origin] = Field(default_factory=list)
    max_rooms: Annotated[int, Field(ge=1)] = 1000
    tls_cert: str | None = None
    """Certificate of hub and API (PEM, with its chain); they speak wss:// and https:// then."""
    tls_key: str | None = None
    audit_log: str | None = None
    """File to which every moderator's command is added; empty: none, null: audit.jsonl in data_dir."""
    insecure: bool = False
    limits: LimitsConfig = Field(default_factory=LimitsConfig)

    @field_validator("policy")
    @classmethod
    def _known(cls, policy: str) -> str:
        if policy not in POLICIES:
            raise ValueError(f"floor policy {policy!r} is unknown; known: {', '.join(POLICIES)}")
        return policy

    @field_serializer("token", "moderator_token", "secret", when_used="json-unless-none")
    def _hide(self, value: str) -> Any:
        return masked(value, ("token",))


def _tiny() -> dict[str, ModelConfig]:
    return {"tiny": ModelConfig(name="tiny", type="hf")}


ActionType = Literal["none", "speak", "non-verbal communication", "action", "leave"]
ActionOrder = Literal["simultaneous", "round-robin", "sequential", "random", "agent_id_based"]


class ServerConfig(Section):
    """The whole file. Without any, the model that comes with Palaver speaks."""

    models: Annotated[dict[str, ModelConfig], Field(min_length=1)] = Field(default_factory=_tiny)
    default_model: Annotated[str, Field(validate_default=True)] = ""
    """One of `models`; where it is not said, the first."""
    evaluators: list[EvaluatorConfig] = Field(default_factory=list)
    plugins: list[str] = Field(default_factory=list)
    """Modules to import before anything is built: they register handlers, parsers, providers and evaluators."""
    max_turns: Annotated[int, Field(ge=1, le=MOST_TURNS)] = 20
    action_order: ActionOrder = "round-robin"
    speaking_order: list[Annotated[int, Field(ge=0)]] | None = None
    """For `agent_id_based`: `[2, 0, 1]` lets the third agent begin."""
    available_action_types: Annotated[list[ActionType], Field(min_length=1)] = [
        "none",
        "speak",
        "non-verbal communication",
        "action",
        "leave",
    ]
    api: ApiConfig = Field(default_factory=ApiConfig)
    hub: HubConfig = Field(default_factory=HubConfig)
    logging: LoggingConfig = Field(default_factory=LoggingConfig)
    enable_metrics: bool = True
    metrics_port: Port = 9090
    sync_mode: bool = False
    """Whether `POST /conversations` answers only when the conversation is over, unless it says otherwise."""

    _templates: dict[KeyPath, tuple[str, Any]] = PrivateAttr(default_factory=dict)

    @field_validator("default_model")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        models = info.data.get("models")
        if models is None:  # they have errors of their own
            return name
        name = name or next(iter(models))
        if name not in models:
            raise ValueError(f"model {name!r} is not in models; known: {', '.join(models)}")
        return name

    @field_validator("evaluators")
    @classmethod
    def _models_known(cls, evaluators: list[EvaluatorConfig], info: ValidationInfo) -> list[EvaluatorConfig]:
        models = info.data.get("models")
        for number, evaluator in enumerate(evaluators):
            if models is not None and evaluator.model is not None and evaluator.model not in models:
                text = f"model {evaluator.model!r} is not in models; known: {', '.join(models)}"
                raise PydanticCustomError("unknown_model", "{text}", {"text": text, "at": (number, "model")})
        return evaluators

    @field_validator("speaking_order")
    @classmethod
    def _each_once(cls, order: list[int] | None) -> list[int] | None:
        if order is not None and sorted(order) != list(range(len(order))):
            raise ValueError(f"{order} does not name each agent once, from 0 to {len(order) - 1}")
        return order

    def remember(self, templates: Mapping[KeyPath, tuple[str, Any]]) -> None:
        """Note what stands in the file as `${NAME}`, so that `public` shows that and not the value."""
        self._templates = dict(templates)

    def public(self) -> dict[str, Any]:
        """The config as it may be shown to anybody: placeholders as in the file, secrets as `***`."""
        shown: dict[str, Any] = _shown(self.model_dump(mode="json"), self.model_dump(), self._templates, ())
        return shown


def _shown(safe: Any, actual: Any, templates: Mapping[KeyPath, tuple[str, Any]], path: KeyPath) -> Any:
    template, value = templates.get(path, (None, None))
    if template is not None and value == actual:
        return template
    if isinstance(safe, dict):
        return {key: _shown(each, actual[key], templates, (*path, key)) for key, each in safe.items()}
    if isinstance(safe, list):
        return [_shown(each, actual[number], templates, (*path, number)) for number, each in enumerate(safe)]
    return masked(safe, path)
