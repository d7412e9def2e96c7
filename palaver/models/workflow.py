"""A model that is somebody's own HTTP endpoint, or several: how it is asked and read is a matter of config.

The conversation reaches such an endpoint as one text (`as_prompt`), for its protocol knows a prompt and no roles.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from palaver.core.errors import ConfigError
from palaver.models.handlers import (
    DefaultRequestHandler,
    DefaultResponseParser,
    RequestHandler,
    ResponseParser,
    SftRewardRequestHandler,
    SftRewardResponseParser,
)
from palaver.models.model import Cancel, ChatMessage, LLMResponse, StopReason, Usage
from palaver.models.provider import GenerationFailed, ModelResponse, first_said
from palaver.models.remote import Refused
from palaver.models.stopping import StopStrings, unless_pressed

__all__ = ["ModelResponse", "RequestHandler", "ResponseParser", "WorkflowProvider", "as_prompt"]

logger = logging.getLogger(__name__)

_SPEAKERS: Final = {"user": "User", "assistant": "Assistant"}


class WorkflowProvider:
    """`WorkflowProvider("mine", {"endpoint": "http://…/generate"})`.

    `custom_config` names the `request_handler` and the `response_parser` (`default`, `sft_reward`, registered ones)
    and holds what they need. `timeout` is what a whole reply may take, in seconds. Raises `ConfigError` for a handler
    or parser that is unknown and for a key that its handler misses.
    """

    _handlers: ClassVar[dict[str, type[RequestHandler]]] = {
        "default": DefaultRequestHandler,
        "sft_reward": SftRewardRequestHandler,
    }
    _parsers: ClassVar[dict[str, type[ResponseParser]]] = {
        "default": DefaultResponseParser,
        "sft_reward": SftRewardResponseParser,
    }

    def __init__(
        self,
        name: str,
        custom_config: Mapping[str, Any],
        *,
        temperature: float = 0.7,
        max_tokens: int | None = None,
        timeout: float = 30.0,
    ) -> None:
        self.name = name
        self.temperature = temperature
        self.max_tokens = max_tokens
        self._timeout = timeout
        config = {"timeout": timeout, **custom_config}
        self._handler_name = str(config.get("request_handler", "default"))
        self._parser_name = str(config.get("response_parser", "default"))
        self._handler: RequestHandler = _known(self._handlers, self._handler_name, "request_handler")(config)
        self._parser: ResponseParser = _known(self._parsers, self._parser_name, "response_parser")(config)

    @classmethod
    def register_request_handler(cls, name: str, handler: type[RequestHandler]) -> None:
        """Let `request_handler: name` in a config mean this class; a later one of that name takes its place."""
        cls._handlers[name] = handler

    @classmethod
    def register_response_parser(cls, name: str, parser: type[ResponseParser]) -> None:
        """Let `response_parser: name` in a config mean this class; a later one of that name takes its place."""
        cls._parsers[name] = parser

    async def generate(self, prompt: str, **kwargs: Any) -> ModelResponse:
        """The workflow's reply to one prompt; `kwargs` go to its handler, those that are None are left out.

        `temperature` and `max_tokens` are as configured where they are not said. Raises `GenerationFailed`, a
        RuntimeError, for whatever goes wrong.
        """
        settings = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        said = {key: first_said(kwargs.get(key), settings.get(key)) for key in {**settings, **kwargs}}
        try:
            async with asyncio.timeout(self._timeout):
                raw = await self._handler.process(
                    prompt, **{key: value for key, value in said.items() if value is not None}
                )
            response: ModelResponse = self._parser.parse(raw)
            if not isinstance(response.content, str):
                raise TypeError(f"the parser's content is {type(response.content).__name__}, not text")
        except TimeoutError as error:
            raise GenerationFailed(f"workflow {self.name!r}: no reply within {self._timeout:g} s (timeout)") from error
        except Exception as error:  # anybody's handler and parser run here: whatever they raise is one failed reply
            logger.debug("workflow %s failed", self.name, exc_info=True)
            reason = str(error) or type(error).__name__
            reason = f"{type(error).__name__}: {reason}" if isinstance(error, LookupError | TypeError) else reason
            raise GenerationFailed(f"workflow {self.name!r}: {reason}") from error
        response.model = response.model or self.name
        return response

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        cache_key: str = "",
    ) -> LLMResponse:
        """Answer `messages` as one prompt (`as_prompt`); the text comes whole, `stop` strings are cut on this side."""
        started = time.perf_counter()
        response, failure = None, None
        asked = self.generate(as_prompt(messages, stop), temperature=temperature, max_tokens=max_tokens, seed=seed)
        try:
            response = await unless_pressed(cancel, asked)
        except GenerationFailed as error:
            failure = error
            logger.warning("%s", error)
        cutter = StopStrings(stop)
        content = "" if response is None else _own(response.content)
        content = cutter.feed(content) + cutter.rest()
        if content and on_text is not None:
            on_text(content)
        usage = _usage(response)
        return LLMResponse(
            content=content,
            tokens_used=_count(response, "total_tokens") or usage.prompt_tokens + usage.completion_tokens,
            response_time=time.perf_counter() - started,
            model_used=self.name,
            success=failure is None,
            error=None if failure is None else str(failure),
            stop_reason=_stop_reason(response, failure, cutter),
            usage=usage,
            provenance=self._provenance(response, failure),
        )

    async def close(self) -> None:
        """Nothing to let go of: the connections close with the event loop."""

    def _provenance(self, response: ModelResponse | None, failure: GenerationFailed | None) -> dict[str, Any]:
        told: dict[str, Any] = {
            "backend": "workflow",
            "request_handler": self._handler_name,
            "response_parser": self._parser_name,
        }
        if response is not None:
            told |= {"served_model": response.model, "metadata": dict(response.metadata)}
        if failure is not None and isinstance(failure.__cause__, Refused):
            told["status"] = failure.__cause__.status
        return told


def as_prompt(messages: Sequence[ChatMessage], stop: Sequence[str] = ()) -> str:
    """A conversation as one text.

    A single user message is the text itself. Else: the system message as it is, then each turn after a blank line as
    `User: …` or `Assistant: …`, and `Assistant:` at the end for the reply to follow. A turn in which people speak
    under their own names already (those whose labels are among the `stop` strings) is not labelled again.
    """
    if len(messages) == 1 and messages[0]["role"] == "user":
        return str(messages[0]["content"])
    names = tuple(label.lstrip("\n") for label in stop if label.endswith(":"))
    turns = []
    for message in messages:
        text = str(message["content"])
        speaker = _SPEAKERS.get(message["role"], "")
        labelled = not speaker or (message["role"] == "user" and bool(names) and text.startswith(names))
        turns.append(text if labelled else f"{speaker}: {text}")
    return "\n\n".join([*turns, "Assistant:"])


def _own(text: str) -> str:
    """A reply without the label that the prompt ends with, which models like to say again."""
    return text.strip().removeprefix("Assistant:").lstrip()


def _known(registered: Mapping[str, type[Any]], name: str, kind: str) -> type[Any]:
    if name not in registered:
        raise ConfigError(f"custom_config.{kind} {name!r} is unknown; known: {', '.join(registered)}")
    return registered[name]


def _count(response: ModelResponse | None, key: str) -> int:
    usage = (response.usage if response is not None else None) or {}
    value = usage.get(key)
    return value if isinstance(value, int) else 0


def _usage(response: ModelResponse | None) -> Usage:
    return Usage(
        prompt_tokens=_count(response, "prompt_tokens"), completion_tokens=_count(response, "completion_tokens")
    )


def _stop_reason(response: ModelResponse | None, failure: GenerationFailed | None, cutter: StopStrings) -> StopReason:
    if failure is not None:
        cause = failure.__cause__
        timed_out = cause.timed_out if isinstance(cause, Refused) else isinstance(cause, TimeoutError)
        return "timeout" if timed_out else "error"
    if response is None:
        return "cancelled"
    if cutter.found is not None:
        return "stop"
    return "length" if response.finish_reason == "length" else "end"
