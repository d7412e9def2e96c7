"""Stateless chat completion: a prompt or messages in, an `LLMResponse` out, and a failure is one too.

Seed 3. Ollama unless the model's name says otherwise (`openai/gpt-4o-mini`, `vllm/…`, `hf/…`). No function here
raises for what goes wrong with a model, a setting or a message. The asynchronous ones run in the caller's event
loop on its pooled connections, and cancelling their task closes the request.
"""

import asyncio
import logging
import math
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypedDict, Unpack, cast

from palaver.core.errors import PalaverError
from palaver.models import blocking, providers
from palaver.models.cache import Cache, MemoryCache, keep, look_up, request_key
from palaver.models.model import Cancel, ChatMessage, LLMResponse, Messages, Model
from palaver.models.retry import RetryPolicy
from palaver.models.text_stream import TextStream

__all__ = [
    "LLMResponse",
    "Options",
    "Settings",
    "generate_completion_async",
    "generate_completion_sync",
    "generate_completion_with_messages_async",
    "generate_completion_with_messages_sync",
    "generate_completions_async",
    "generate_completions_sync",
    "settings",
    "stream_completion",
]

logger = logging.getLogger(__name__)

Prompt = str | Messages
"""A text, which becomes one user message, or messages with `role` and `content`."""

_ROLES = ("system", "user", "assistant", "tool")
_SAMPLING = {"top_p": 0.9, "repeat_penalty": 1.1}
"""Sent to Ollama and to local models unless asked otherwise; other endpoints have defaults of their own."""


@dataclass(slots=True)
class Settings:
    """Defaults for calls that leave something out. None: the environment variable of that name, then what is said."""

    LLM_MODEL_NAME: str | None = None
    """`llama3.2`"""
    LLM_TEMPERATURE: float | None = None
    """0.7"""
    LLM_MAX_TOKENS: int | None = None
    """500"""
    LLM_TIMEOUT: float | None = None
    """Seconds that an endpoint may be silent: 120."""

    def value(self, name: str, fallback: str) -> str:
        """The setting as text."""
        chosen = getattr(self, name)
        return str(chosen) if chosen is not None else os.environ.get(name) or fallback

    def number(self, name: str, fallback: float) -> float:
        """The setting as a number; raises ValueError naming the variable."""
        return _number(name, self.value(name, str(fallback)))


def _number(name: str, value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{name}={value!r} is not a number") from None


settings = Settings()


class Options(TypedDict, total=False):
    """What a call may say besides; everything has a default."""

    top_p: float
    repeat_penalty: float
    stop: str | Sequence[str]
    seed: int
    tools: Sequence[Mapping[str, Any]]
    """Tools in OpenAI's form; calls come back in `LLMResponse.tool_calls`, and nothing is called."""
    options: Mapping[str, Any]
    """Whatever else the backend knows, as it calls it (`num_ctx`, `logprobs`, `top_k`)."""
    base_url: str
    api_key: str
    timeout: float
    """Seconds that the endpoint may be silent."""
    attempts: int
    """How often a passing failure is tried, 1 by default."""
    cache: Cache | bool
    """Give a reply kept for the very same request; True uses one in memory."""
    on_text: Callable[[str], None]
    """Gets each piece of text as it comes; from a blocking call in another thread."""
    cancel: Cancel


def generate_completion_sync(
    prompt: str,
    model_name: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    **options: Unpack[Options],
) -> LLMResponse:
    """Complete one text and wait for it; from any thread, also where an event loop runs."""
    return blocking.run(_complete(prompt, model_name, temperature, max_tokens, options))


async def generate_completion_async(
    prompt: str,
    model_name: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    **options: Unpack[Options],
) -> LLMResponse:
    """Complete one text."""
    return await _complete(prompt, model_name, temperature, max_tokens, options)


def generate_completion_with_messages_sync(
    messages: Messages,
    model_name: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    **options: Unpack[Options],
) -> LLMResponse:
    """Answer a conversation and wait for it; from any thread, also where an event loop runs."""
    return blocking.run(_complete(messages, model_name, temperature, max_tokens, options))


async def generate_completion_with_messages_async(
    messages: Messages,
    model_name: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    **options: Unpack[Options],
) -> LLMResponse:
    """Answer a conversation."""
    return await _complete(messages, model_name, temperature, max_tokens, options)


async def generate_completions_async(
    prompts: Iterable[Prompt],
    model_name: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    *,
    concurrency: int = 16,
    **options: Unpack[Options],
) -> list[LLMResponse]:
    """Complete many prompts, `concurrency` at a time; replies in the order of the prompts, failures among them.

    Raises ValueError, before anything is sent, where `prompts` is a single one.
    """
    if isinstance(prompts, str | Mapping):
        raise ValueError(f"prompts is a list, not one {type(prompts).__name__}: for a single one, [prompt]")
    prompts = list(prompts)
    replies: dict[int, LLMResponse] = {}
    todo = iter(enumerate(prompts))

    async def work() -> None:
        for number, prompt in todo:
            replies[number] = await _complete(prompt, model_name, temperature, max_tokens, options)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(max(1, concurrency), len(prompts))):
            group.create_task(work())
    return [replies[number] for number in range(len(prompts))]


def generate_completions_sync(
    prompts: Iterable[Prompt],
    model_name: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    *,
    concurrency: int = 16,
    **options: Unpack[Options],
) -> list[LLMResponse]:
    """Complete many prompts and wait for them all."""
    return blocking.run(
        generate_completions_async(prompts, model_name, temperature, max_tokens, concurrency=concurrency, **options)
    )


def stream_completion(
    prompt: Prompt,
    model_name: str | None = None,
    temperature: float | None = None,
    max_tokens: int | None = None,
    **options: Unpack[Options],
) -> TextStream[LLMResponse]:
    """A reply piece by piece: `async for piece in stream`, and then `stream.response`."""

    def ask(on_text: Callable[[str], None]) -> Coroutine[Any, Any, LLMResponse]:
        streamed: Options = {**options, "on_text": on_text}
        return _complete(prompt, model_name, temperature, max_tokens, streamed)

    return TextStream(ask)


# One call


@dataclass(frozen=True, slots=True)
class _Call:
    """A call whose defaults are filled in and whose values are checked."""

    messages: Sequence[ChatMessage]
    temperature: float
    max_tokens: int
    at: providers.Route
    options: Options

    def key(self) -> str:
        """Everything that may change the reply."""
        named = {
            name: self.options.get(name) for name in ("top_p", "repeat_penalty", "stop", "seed", "tools", "options")
        }
        where = [self.at.provider, self.at.base_url, self.at.model]
        return request_key(
            {**named, "at": where, "messages": self.messages, "sampling": [self.temperature, self.max_tokens]}
        )


async def _complete(
    prompt: Prompt, model_name: str | None, temperature: float | None, max_tokens: int | None, options: Options
) -> LLMResponse:
    started = time.perf_counter()
    name = model_name or settings.value("LLM_MODEL_NAME", "llama3.2")
    try:
        response = await _answer(_check(prompt, name, temperature, max_tokens, options))
    except (PalaverError, ValueError, TypeError, LookupError, OSError) as error:
        logger.error("completion by %s failed: %s", name, error)
        return _failure(name, error, started)
    except Exception as error:
        logger.exception("completion by %s failed", name)
        return _failure(name, error, started)
    if not response.success:
        logger.error("completion by %s failed: %s", name, response.error)
    return replace(response, model_used=name, response_time=time.perf_counter() - started)


def _failure(name: str, error: Exception, started: float) -> LLMResponse:
    text = str(error) or type(error).__name__
    return LLMResponse("", 0, time.perf_counter() - started, name, False, text, "error")


async def _answer(call: _Call) -> LLMResponse:
    cache = call.options.get("cache") or None
    store = _shared_cache if cache is True else cache
    key = call.key() if store else ""
    kept = look_up(store, key) if store else None
    if kept is not None:
        if "on_text" in call.options:
            call.options["on_text"](kept.content)
        return kept
    model = await _model(call)
    response = await model.complete(
        call.messages,
        max_tokens=call.max_tokens,
        temperature=call.temperature,
        stop=call.options.get("stop", ()),
        seed=call.options.get("seed"),
        on_text=call.options.get("on_text"),
        cancel=call.options.get("cancel"),
    )
    if not response.success:
        return replace(response, content="", tokens_used=0)
    if store and response.stop_reason != "cancelled":
        keep(store, key, response)
    return response


_shared_cache = MemoryCache()


async def _model(call: _Call) -> Model:
    given = {name: call.options[name] for name in _SAMPLING if name in call.options}  # type: ignore[literal-required]
    sampling = {**_SAMPLING, **given}
    if call.at.provider == "hf":
        weights = await providers.local_weights(call.at.model)
        from palaver.models.hf import HFModel

        return HFModel(weights, top_p=sampling["top_p"], repetition_penalty=sampling["repeat_penalty"])
    extra: dict[str, Any] = {**(sampling if call.at.provider == "ollama" else given), **call.options.get("options", {})}
    if call.options.get("tools"):
        extra["tools"] = list(call.options["tools"])
    return providers.api_model(
        call.at,
        api_key=call.options.get("api_key"),
        extra=extra,
        timeout=call.options.get("timeout") or settings.number("LLM_TIMEOUT", 120.0),
        retry=RetryPolicy(attempts=call.options.get("attempts") or 1),
    )


# What a call may say


def _check(prompt: Prompt, name: str, temperature: float | None, max_tokens: int | None, options: Options) -> _Call:
    unknown = [option for option in options if option not in Options.__annotations__]
    if unknown:
        known = ", ".join(Options.__annotations__)
        raise ValueError(f"option {unknown[0]!r} is unknown; known: {known} (a backend's own go into `options`)")
    if not isinstance(name, str):
        raise TypeError(f"a model's name is text, not {type(name).__name__}")
    if isinstance(options.get("stop"), str):
        options = {**options, "stop": [str(options["stop"])]}
    for option in ("timeout", "attempts"):
        given = options.get(option)
        if given is not None and not _number(option, given) > 0:
            raise ValueError(f"{option} must be more than 0, not {given}")
    at = _route(name, options.get("base_url"))
    if at.provider == "hf" and ("tools" in options or "options" in options):
        raise ValueError(f"{name} runs on this machine, which takes neither `tools` nor `options`")
    return _Call(_messages(prompt), _temperature(temperature), _max_tokens(max_tokens), at, options)


def _temperature(given: float | None) -> float:
    chosen = settings.number("LLM_TEMPERATURE", 0.7) if given is None else _number("temperature", given)
    if not math.isfinite(chosen) or chosen < 0:
        raise ValueError(f"temperature must be 0 or more, not {chosen}")
    return chosen


def _max_tokens(given: int | None) -> int:
    limit = settings.number("LLM_MAX_TOKENS", 500) if given is None else _number("max_tokens", given)
    if not limit.is_integer() or limit < 1:
        raise ValueError(f"max_tokens must be at least 1 (a whole number), not {limit:g}")
    return int(limit)


def _route(name: str, base_url: str | None) -> providers.Route:
    """A bare name, or one whose first part is no provider (`hf.co/…`), is Ollama's."""
    prefix, slash, _ = name.partition("/")
    if slash and (prefix in providers.PROVIDERS or prefix in ("ollama", "hf")):
        return providers.route(name, base_url=base_url)
    return providers.Route("ollama", name, base_url or "")


def _messages(prompt: Prompt) -> list[ChatMessage]:
    if isinstance(prompt, str):
        return [{"role": "user", "content": prompt}]
    if isinstance(prompt, bytes | Mapping) or not isinstance(prompt, Iterable):
        raise TypeError(f"a prompt is a text or a list of messages, not {type(prompt).__name__}")
    messages = list(prompt)
    if not messages:
        raise ValueError("there are no messages to answer")
    for number, message in enumerate(messages):
        if not isinstance(message, Mapping):
            raise TypeError(f"message {number} is {type(message).__name__}, not a dict with role and content")
        missing = [key for key in ("role", "content") if key not in message]
        if missing:
            raise ValueError(f"message {number} has no {missing[0]!r}")
        if message["role"] not in _ROLES:
            raise ValueError(f"message {number} has the role {message['role']!r}; known: {', '.join(_ROLES)}")
        if not isinstance(message["content"], str | list) and not message.get("tool_calls"):
            raise TypeError(f"the content of message {number} is {type(message['content']).__name__}, not text")
    return [cast(ChatMessage, dict(message)) for message in messages]
