"""Whoever can speak in a rollout, made alike: a model, or an object with `generate(messages)` of the caller's own."""

import inspect
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, runtime_checkable

from palaver.core.errors import ModelError
from palaver.models.background import in_background
from palaver.models.model import ChatMessage, LLMResponse, Messages, Model

MAX_TOKENS: Final = 1024
TEMPERATURE: Final = 0.7


@runtime_checkable
class Speaker(Protocol):
    """One side of a rollout."""

    name: str

    async def reply(self, messages: Messages, *, seed: int | None = None, conversation: str = "") -> LLMResponse:
        """The next message of a conversation whose roles are the assistant's.

        `conversation` names it and the side, so that an engine can keep its cache. Raises whatever went wrong.
        """
        ...

    def describe(self) -> dict[str, Any]:
        """What makes its replies what they are, JSON-able: where it differs, rollouts are not the same."""
        ...


class ModelSpeaker:
    """A `Model` on one side. `view` makes its prompt of the conversation. Raises ValueError for what cannot be."""

    def __init__(
        self,
        model: Model,
        view: Callable[[Messages], list[ChatMessage]],
        *,
        max_tokens: int = MAX_TOKENS,
        temperature: float = TEMPERATURE,
    ) -> None:
        if max_tokens < 1 or temperature < 0:
            raise ValueError(f"at least 1 token and a temperature of 0 or more, not {max_tokens} and {temperature}")
        self.model = model
        self.name = model.name
        self.max_tokens = max_tokens
        self.temperature = temperature
        self._view = view

    async def reply(self, messages: Messages, *, seed: int | None = None, conversation: str = "") -> LLMResponse:
        """Ask the model; raises `ModelError` where it fails."""
        response = await self.model.complete(
            self._view(messages),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            seed=seed,
            cache_key=conversation,
        )
        if not response.success:
            raise ModelError(response.error or f"{self.name} could not answer ({response.stop_reason})")
        return response

    def describe(self) -> dict[str, Any]:
        """What makes its replies what they are, the model's own `settings` among it where it has some."""
        own = {"model": self.name, "max_tokens": self.max_tokens, "temperature": self.temperature}
        return {**own, "settings": dict(getattr(self.model, "settings", {}))}


class GeneratingSpeaker:
    """An object of the caller's with `generate(messages) -> str`, called in a thread unless it is asynchronous."""

    def __init__(self, generator: Any) -> None:
        self._generator = generator
        self.name = str(getattr(generator, "name", "") or getattr(generator, "model", "") or type(generator).__name__)

    async def reply(self, messages: Messages, *, seed: int | None = None, conversation: str = "") -> LLMResponse:
        """Ask it; raises `ModelError` where what it gives is no text. None counts as nothing said."""
        started = time.perf_counter()
        own = [{"role": message["role"], "content": message["content"]} for message in messages]
        generate = self._generator.generate
        text = generate(own) if inspect.iscoroutinefunction(generate) else await _in_thread(generate, own)
        if inspect.isawaitable(text):
            text = await text
        if not isinstance(text, str | None):
            raise ModelError(f"generate gave {type(text).__name__}, not text")
        seconds = time.perf_counter() - started
        told = {"backend": type(self._generator).__name__, "temperature": None, "max_tokens": None}
        return LLMResponse(text or "", 0, seconds, self.name, True, provenance=told)

    def describe(self) -> dict[str, Any]:
        """What makes its replies what they are, as far as can be told."""
        return {"model": self.name, "system_prompt": getattr(self._generator, "system_prompt", None)}


def as_speaker(given: Any, of_model: Callable[[Model], Speaker]) -> Speaker:
    """Whatever the caller gave for one side, as a speaker; `of_model` says how a bare `Model` speaks there.

    What the most derived class defines holds, so that a subclass may override `generate` alone.
    """
    if isinstance(given, Speaker) and not _overrides_generate(given):
        return given
    if callable(getattr(given, "generate", None)):
        return GeneratingSpeaker(given)
    if callable(getattr(given, "complete", None)):
        return of_model(given)
    raise TypeError(f"{type(given).__name__} cannot speak: it has neither generate(messages) nor complete(messages)")


def _overrides_generate(speaker: Speaker) -> bool:
    for each in type(speaker).__mro__:
        if "reply" in vars(each):
            return False
        if "generate" in vars(each):
            return True
    return False


async def _in_thread(call: Callable[[Any], Any], argument: Any) -> Any:
    """What a blocking call gives; one that hangs keeps no process from ending."""

    def work() -> Any:
        try:
            return call(argument)
        except StopIteration:
            raise RuntimeError("generate ran out of replies (StopIteration)") from None

    return await in_background(work, "palaver-speaker")
