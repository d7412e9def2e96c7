"""The assistant's side: any model, or a Hugging Face model on this machine with an adapter or in 4 bits. Seed 0."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

from palaver.core.errors import MissingExtra
from palaver.models import blocking
from palaver.models.model import LLMResponse, Messages, Model
from palaver.simulation.speakers import MAX_TOKENS, TEMPERATURE, ModelSpeaker
from palaver.simulation.views import for_assistant

if TYPE_CHECKING:
    from palaver.models.hf import HFModel, LocalWeights


MAX_BATCH: Final = 64
"""Replies decoded together: rollouts want throughput. In processor time 64 are 1.3 to 1.6 times as fast as the 16
that a room's models get (15 million parameters, 1 million), and rows are kept between the turns anyway."""


class ModelAssistant:
    """An assistant that is any `Model`."""

    def __init__(self, model: Model, *, max_new_tokens: int = MAX_TOKENS, temperature: float = TEMPERATURE) -> None:
        self.speaker = ModelSpeaker(model, for_assistant, max_tokens=max_new_tokens, temperature=temperature)
        self.name = model.name

    def generate(self, messages: Messages) -> str:
        """Answer and wait; raises `ModelError` where the model fails. May be empty."""
        return blocking.run(self.reply(messages)).content

    async def reply(self, messages: Messages, *, seed: int | None = None, conversation: str = "") -> LLMResponse:
        """Answer without blocking; as `Speaker.reply`."""
        return await self.speaker.reply(messages, seed=seed, conversation=conversation)

    def describe(self) -> dict[str, Any]:
        """The model and how it is sampled."""
        return self.speaker.describe()


class LocalAssistant(ModelAssistant):
    """A Hugging Face model on this machine, from a folder or by its name on the hub.

    `lora_path` puts an adapter on it (extra `lora`), `use_4bit` loads it in nf4 (extra `quant`, a CUDA card);
    `MissingExtra`, which is an `ImportError`, says what to install. `do_sample=False` or a temperature of 0 is
    greedy. Replies that are asked for at the same time are decoded in one batch. `weights` are shared ones from
    `palaver.models.hf.load` instead of `model_path`; `options` go to `load` (dtype, threads, max_batch, device).
    Loading blocks; raises `ModelError`.
    """

    def __init__(
        self,
        model_path: str | None = None,
        lora_path: str | None = None,
        use_4bit: bool = False,
        *,
        weights: LocalWeights | None = None,
        max_new_tokens: int = MAX_TOKENS,
        temperature: float = TEMPERATURE,
        do_sample: bool = True,
        **options: Any,
    ) -> None:
        if (model_path is None) == (weights is None):
            raise TypeError("LocalAssistant needs a model_path or weights, and not both")
        self.model = _local_model(weights or str(model_path), lora_path, use_4bit, options)
        super().__init__(self.model, max_new_tokens=max_new_tokens, temperature=temperature if do_sample else 0.0)

    @property
    def weights(self) -> LocalWeights:
        """What other speakers can share: `HFModel(assistant.weights)`."""
        return self.model.weights

    def close(self) -> None:
        """Let go of weights that were loaded here; shared ones stay."""
        blocking.run(self.model.close())

    def __enter__(self) -> LocalAssistant:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _local_model(weights: LocalWeights | str, lora: str | None, use_4bit: bool, options: dict[str, Any]) -> HFModel:
    try:
        hf = importlib.import_module("palaver.models.hf")
    except MissingExtra:
        raise
    except ImportError as error:
        raise MissingExtra(error.name or "transformers", "hf") from error
    if isinstance(weights, str):
        options = {"device": "auto", "max_batch": MAX_BATCH, **options, "load_in_4bit": use_4bit}
    model: HFModel = hf.HFModel(weights, adapter=lora or "", **options)
    return model
