"""A model with its config's settings: a `Model` whose temperature and length need not be said at each call.

It does not know where the settings come from.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from palaver.core.errors import ModelError
from palaver.models.model import Cancel, ChatMessage, LLMResponse, Model

DEFAULT_MAX_TOKENS: Final = 512
"""Of a reply, where neither the call nor the config says."""


class GenerationFailed(ModelError, RuntimeError):
    """`generate` got no reply; the text names the model and the reason."""


@dataclass(slots=True)
class ModelResponse:
    """What `generate` gives and a `ResponseParser` makes."""

    content: str
    usage: Mapping[str, Any] | None = None
    """As the endpoint counts: `prompt_tokens`, `completion_tokens`, `total_tokens`."""
    model: str = ""
    """Filled in with the configured name where a parser leaves it out."""
    finish_reason: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)


@runtime_checkable
class BaseModelProvider(Model, Protocol):
    """What `create_model` gives: a `Model`, and `generate` for a single prompt. The name is seed 4's."""

    temperature: float
    max_tokens: int | None

    async def generate(self, prompt: str, **kwargs: Any) -> ModelResponse:
        """Answer one prompt; raises `GenerationFailed`, which is a RuntimeError."""
        ...


class ConfiguredModel:
    """Any model, with the settings it was configured with."""

    def __init__(
        self, model: Model, *, name: str = "", temperature: float = 0.7, max_tokens: int | None = None
    ) -> None:
        self.model = model
        self.name = name or model.name
        self.temperature = temperature
        self.max_tokens = max_tokens

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
        """As `Model.complete`; what is None is as configured."""
        return await self.model.complete(
            messages,
            max_tokens=first_said(max_tokens, self.max_tokens, DEFAULT_MAX_TOKENS),
            temperature=first_said(temperature, self.temperature),
            stop=stop,
            seed=seed,
            on_text=on_text,
            cancel=cancel,
            cache_key=cache_key,
        )

    async def generate(self, prompt: str, **kwargs: Any) -> ModelResponse:
        """Answer one prompt; `kwargs` are those of `complete`. Raises `GenerationFailed`."""
        reply = await self.complete([{"role": "user", "content": prompt}], **kwargs)
        if not reply.success:
            raise GenerationFailed(f"model {self.name!r} gave no reply: {reply.error}")
        usage = {
            "prompt_tokens": reply.usage.prompt_tokens,
            "completion_tokens": reply.usage.completion_tokens,
            "total_tokens": reply.tokens_used,
        }
        return ModelResponse(reply.content, usage, reply.model_used, reply.stop_reason, reply.provenance)

    async def close(self) -> None:
        """Close the model."""
        await self.model.close()


def first_said(*values: Any) -> Any:
    """The first value that is not None; 0 counts."""
    return next((value for value in values if value is not None), None)
