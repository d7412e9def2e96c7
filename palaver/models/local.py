"""A Hugging Face model by name that is there at once and loads its weights when it is first asked.

It imports neither torch nor transformers before that.
"""

import asyncio
import importlib
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from palaver.core.errors import MissingExtra, ModelError
from palaver.models import providers
from palaver.models.model import Cancel, ChatMessage, LLMResponse, Model, Usage
from palaver.models.provider import DEFAULT_MAX_TOKENS
from palaver.models.stopping import unless_pressed

_OF_THE_SEAT: Final = (
    "adapter",
    "top_p",
    "top_k",
    "min_p",
    "repetition_penalty",
    "context_tokens",
    "time_limit",
)
"""Settings of a local model that do not change what is loaded; the others are those of `palaver.models.hf.load`."""


class LocalModel:
    """A Hugging Face model that is loaded at its first reply, once in a process for all that ask for it plainly."""

    def __init__(self, name: str, settings: Mapping[str, Any]) -> None:
        for package in ("torch", "transformers"):
            if importlib.util.find_spec(package) is None:
                raise MissingExtra(package, "hf")
        self.name = name
        self._seat = {key: value for key, value in settings.items() if key in _OF_THE_SEAT}
        self._load = {key: value for key, value in settings.items() if key not in _OF_THE_SEAT}
        self._loading: asyncio.Task[Model] | None = None

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = DEFAULT_MAX_TOKENS,
        temperature: float = 0.7,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        cache_key: str = "",
    ) -> LLMResponse:
        """As `Model.complete`; weights that cannot be loaded are a failed reply, and are asked for again next time."""
        try:
            model = await unless_pressed(cancel, self._model())
        except (ModelError, OSError, TypeError, ValueError) as error:
            return LLMResponse("", 0, 0.0, self.name, False, str(error), "error", Usage(), {"backend": "hf"})
        if model is None:
            return LLMResponse("", 0, 0.0, self.name, True, None, "cancelled", Usage(), {"backend": "hf"})
        return await model.complete(
            messages,
            max_tokens=max_tokens,
            temperature=temperature,
            stop=stop,
            seed=seed,
            on_text=on_text,
            cancel=cancel,
            cache_key=cache_key,
        )

    async def close(self) -> None:
        """Let go of weights that were loaded for this model alone; shared ones stay (`providers.unload`)."""
        if self._loading is not None and self._loading.done() and not _failed(self._loading):
            await self._loading.result().close()

    async def _model(self) -> Model:
        """One loading for all who wait; one who stops waiting does not stop it for the others."""
        if self._loading is None or _failed(self._loading):
            self._loading = asyncio.create_task(self._open())
        return await asyncio.shield(self._loading)

    async def _open(self) -> Model:
        if self._load:
            hf = await asyncio.to_thread(importlib.import_module, "palaver.models.hf")
            opened: Model = await hf.HFModel.open(self.name, **self._seat, **self._load)
            return opened
        weights = await providers.local_weights(self.name)
        from palaver.models.hf import HFModel

        return HFModel(weights, **self._seat)


def _failed(loading: "asyncio.Task[Model]") -> bool:
    return loading.done() and (loading.cancelled() or loading.exception() is not None)
