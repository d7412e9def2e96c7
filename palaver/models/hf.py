"""Hugging Face models as a `Model`: one set of weights on this machine, any number of participants on it.

`load()` reads the weights once; each `HFModel` on them is one participant's view, with its own sampling and adapter.
"""

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import torch
import transformers

from palaver.core.errors import ModelError
from palaver.models.engine.channel import Channel
from palaver.models.engine.engine import Engine
from palaver.models.engine.loading import Loaded, load_weights, plain_errors
from palaver.models.engine.prompts import Prompt, Prompter
from palaver.models.engine.request import Outcome, Request
from palaver.models.engine.sampling import Sampling
from palaver.models.engine.threads import Cores, usable_cores
from palaver.models.model import Cancel, ChatMessage, LLMResponse, Usage

logger = logging.getLogger(__name__)

_MAX_BATCH = {"cpu": 16, "cuda": 64, "mps": 8}
"""Replies decoded together. On two cores little is gained beyond 8, on a card memory sets the limit."""


class LocalWeights:
    """Loaded weights and the engine that decodes on them. Close it when all its models are done."""

    def __init__(
        self,
        loaded: Loaded,
        *,
        threads: int = 0,
        max_batch: int = 0,
        cache_bytes: int = 0,
        attn: str = "auto",
    ) -> None:
        device = loaded.place.device
        self.loaded = loaded
        self.cores = Cores(threads, parameters=loaded.parameters) if device.type == "cpu" else None
        if self.cores is not None:
            used = self.cores.open()
            torch.set_num_threads(used)  # the engine tries the model here and now; threads too many make seconds of it
            logger.info("%s computes with %d of %d cores (--threads)", loaded.name, used, usable_cores())
        self.prompter = Prompter(loaded.tokenizer, context_tokens=loaded.context_tokens)
        self.prompt_thread = ThreadPoolExecutor(1, thread_name_prefix="palaver-prompts")
        try:
            self.engine = Engine(
                loaded.model,
                device=device,
                decode=partial(_decode, loaded.tokenizer),
                end_tokens=_end_tokens(loaded) | self.prompter.end_tokens,
                attn=attn,
                max_batch=max_batch or _MAX_BATCH.get(device.type, 8),
                cache_bytes=cache_bytes or default_cache_bytes(device),
                cores=self.cores,
                adapters=loaded.adapters,
            )
        except BaseException:
            if self.cores is not None:
                self.cores.close()
            raise

    def close(self) -> None:
        """Stop the threads and let go of the caches; blocks for one decode step at most."""
        self.engine.close()
        self.prompt_thread.shutdown()
        if self.cores is not None:
            self.cores.close()

    def describe(self) -> dict[str, Any]:
        """What every reply says about where it came from."""
        loaded = self.loaded
        return {
            "backend": "hf",
            "model": loaded.name,
            "revision": loaded.revision,
            "device": str(loaded.place.device),
            "dtype": str(loaded.dtype).removeprefix("torch."),
            "quantisation": loaded.quantisation or None,
            "parameters": loaded.parameters,
            "threads": self.cores.threads if self.cores is not None else None,
            "decoding": self.engine.runner.name,
            "template_hash": self.prompter.template_hash,
            "transformers": transformers.__version__,
            "torch": str(torch.__version__),
        }


def load(
    model: str,
    *,
    threads: int = 0,
    max_batch: int = 0,
    cache_bytes: int = 0,
    attn: str = "auto",
    **options: Any,
) -> LocalWeights:
    """Load a folder, a hub name or `tiny` once, for any number of `HFModel`s. Blocks: call it in a thread.

    `threads` 0 is the machine's cores divided by the engines on it; `max_batch` and `cache_bytes` 0 choose by device.
    `attn` "auto" decodes replies together where the architecture allows it; "sdpa", "eager" and others are
    transformers' own, one reply after another. `options` are those of `load_weights`: dtype, device, gpu_id,
    strict_device, load_in_4bit, load_in_8bit, lora, compile_layers, revision, trust_remote_code, on_progress.
    Raises `ModelError`.
    """
    loaded = load_weights(model, attn=attn, **options)
    with plain_errors(model):
        return LocalWeights(loaded, threads=threads, max_batch=max_batch, cache_bytes=cache_bytes, attn=attn)


class HFModel:
    """One participant's model on local weights.

    `weights` is what `load()` gave (shared, closed by whoever loaded it) or a path or name to load here and now.
    Filters left at None are those that the model's authors recommend (its generation config), else off.
    `time_limit` is seconds a reply; `context_tokens` lowers the model's own limit for prompt and reply together.
    """

    def __init__(
        self,
        weights: LocalWeights | str,
        *,
        adapter: str = "",
        top_p: float | None = None,
        top_k: int | None = None,
        min_p: float | None = None,
        repetition_penalty: float | None = None,
        context_tokens: int = 0,
        time_limit: float | None = None,
        **options: Any,
    ) -> None:
        self._owned = isinstance(weights, str)
        if isinstance(weights, str):
            if adapter and adapter not in options.get("lora", ()):
                options["lora"] = [*options.get("lora", ()), adapter]
            weights = load(weights, **options)
        elif options:
            raise TypeError(f"{', '.join(options)}: give these to load(), which made the weights")
        if adapter and adapter not in weights.loaded.adapters.paths:
            raise ModelError(f"adapter {adapter!r} was not loaded; loaded: {', '.join(weights.loaded.adapters.paths)}")
        self.weights = weights
        self.name = weights.loaded.name
        self._adapter = adapter
        self._context_tokens = context_tokens
        self._time_limit = time_limit
        recommended = weights.loaded.model.generation_config
        self._filters = {
            "top_p": _first(top_p, recommended.top_p, 1.0),
            "top_k": _first(top_k, recommended.top_k, 0),
            "min_p": _first(min_p, recommended.min_p, 0.0),
            "repetition_penalty": _first(repetition_penalty, recommended.repetition_penalty, 1.0),
        }

    @property
    def settings(self) -> dict[str, Any]:
        """What makes its replies what they are, besides its name and what each call says."""
        loaded = self.weights.loaded
        made = {"adapter": self._adapter, "revision": loaded.revision, "quantisation": loaded.quantisation}
        return {**made, **self._filters, "context_tokens": self._context_tokens}

    @classmethod
    async def open(cls, model: str, **options: Any) -> "HFModel":
        """Load in a thread, so that the event loop goes on; options as for the constructor."""
        return await asyncio.to_thread(partial(cls, model, **options))

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 100,
        temperature: float = 0.7,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        cache_key: str = "",
    ) -> LLMResponse:
        """Answer `messages`; see `Model.complete`. Calls that run at the same time are decoded in one batch.

        Without `seed` one is drawn and told in the provenance. The keys and values of `cache_key` are kept for the
        next call under that name; without one nothing is kept.
        """
        started = time.monotonic()
        deadline = started + self._time_limit if self._time_limit else None
        cancel = cancel or Cancel()
        sampling = Sampling(temperature, seed=secrets.randbits(32) if seed is None else seed, **self._filters)
        loop = asyncio.get_running_loop()
        channel = Channel(loop, on_text)
        limits = {"max_tokens": max_tokens, "context_tokens": self._context_tokens}
        if not self.weights.engine.is_open:
            return self._failed("the model was closed", started)
        try:
            prompt = await loop.run_in_executor(
                self.weights.prompt_thread, partial(self.weights.prompter.build, list(messages), **limits)
            )
            request = Request(
                tokens=prompt.tokens,
                max_tokens=max(1, min(max_tokens, prompt.room)),
                on_done=channel.done,
                on_text=channel.text if on_text is not None else None,
                sampling=sampling,
                stop=(*stop, *prompt.stop),
                cancel=cancel,
                cache_key=cache_key,
                adapter=self._adapter,
                deadline=deadline,
            )
            self.weights.engine.submit(request)
            outcome = await channel.outcome
        except ModelError as error:
            return self._failed(str(error), started)
        except BaseException:
            cancel.press("nobody waits for the reply any more")
            raise
        return self._response(prompt, request, outcome, time.monotonic() - started)

    async def close(self) -> None:
        """Let go of the weights if this model loaded them; shared ones stay."""
        if self._owned:
            await asyncio.to_thread(self.weights.close)

    def _response(self, prompt: Prompt, request: Request, outcome: Outcome, seconds: float) -> LLMResponse:
        error = outcome.error
        if outcome.stop_reason == "timeout":
            error = f"the time limit of {self._time_limit:g} s was reached"
        return LLMResponse(
            content=outcome.text,
            tokens_used=outcome.usage.prompt_tokens + outcome.usage.completion_tokens,
            response_time=seconds,
            model_used=self.name,
            success=error is None,
            error=error,
            stop_reason=outcome.stop_reason,
            usage=outcome.usage,
            provenance=self._provenance(prompt, request, outcome),
        )

    def _provenance(self, prompt: Prompt, request: Request, outcome: Outcome) -> dict[str, Any]:
        sampling = request.sampling
        return {
            **self.weights.describe(),
            "adapter": self._adapter or None,
            "seed": sampling.seed,
            "sampling": {"temperature": sampling.temperature, **self._filters},
            "max_tokens": request.max_tokens,
            "prompt_hash": prompt.hash,
            "trimmed_messages": prompt.trimmed_messages,
            "truncated_tokens": prompt.truncated_tokens,
            "system_merged": prompt.system_merged,
            "batch": outcome.largest_batch,
            "stopped_by": outcome.stopped_by,
        }

    def _failed(self, error: str, started: float) -> LLMResponse:
        seconds = time.monotonic() - started
        return LLMResponse("", 0, seconds, self.name, False, error, "error", Usage(), self.weights.describe())


def default_cache_bytes(device: torch.device) -> int:
    """Idle conversations may hold this much: 30 % of what is free on a card, an eighth of the memory at home."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free * 0.3)
    try:
        return min(2 << 30, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 8)
    except (AttributeError, ValueError, OSError):
        return 1 << 30


def _end_tokens(loaded: Loaded) -> frozenset[int]:
    ends = loaded.model.generation_config.eos_token_id
    listed = [ends] if isinstance(ends, int) else list(ends or ())
    return frozenset(token for token in (*listed, loaded.tokenizer.eos_token_id) if token is not None)


def _decode(tokenizer: Any, tokens: Sequence[int]) -> str:
    return str(tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False))


def _first(*values: Any) -> Any:
    return next(value for value in values if value is not None)
