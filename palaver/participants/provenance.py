"""What made a message: the `meta` that every message of an agent carries, flat and JSON-able.

Its names are those of `palaver.core.provenance`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from palaver.core.prompt import Prompt
from palaver.core.protocol import Grant
from palaver.core.provenance import SAMPLING
from palaver.models.model import ChatMessage, LLMResponse
from palaver.models.prices import PRICES
from palaver.models.recorded import parts_of, request_hash
from palaver.participants.settings import Settings

AUTHORED: Final = "authored"
"""Backend of words that somebody wrote beforehand: no model made them."""

_FROM_BACKEND: Final = (
    "backend",
    "revision",
    "device",
    "dtype",
    "temperature",
    "max_tokens",
    "seed",
    "quantisation",
    "adapter",
    "template_hash",
    "served_model",
    "fingerprint",
    "attempts",
    "cost",
    "end_signal",
    "action",
    "action_error",
)
"""What is taken over from a backend's own provenance, where it tells."""


def meta_of(
    response: LLMResponse,
    prompt: Prompt,
    settings: Settings,
    grant: Grant,
    *,
    seed: int | None,
) -> dict[str, Any]:
    """The meta of one reply. Times are seconds, hashes the first 16 hex digits of SHA-256."""
    told = response.provenance
    meta = {
        **({} if told.get("backend") == AUTHORED else _model(response, settings, seed)),
        "total_seconds": round(response.response_time, 4),
        "stop_reason": response.stop_reason,
        "policy": grant.policy,
        "policy_reason": grant.reason,
        "persona_hash": short_hash(settings.persona) if settings.persona else None,
        "prompt_hash": hash_of(prompt.messages),
        "prompt_parts": parts_of(prompt.messages),
        "request_hash": request_hash(prompt.messages, temperature=settings.temperature, max_tokens=settings.max_tokens),
        "saw_from": prompt.saw_from,
        "saw_to": prompt.saw_to,
        "trimmed": prompt.trimmed + _count(told.get("trimmed_messages")),
        "truncated_tokens": _count(told.get("truncated_tokens")) or None,
        **{name: told[name] for name in _FROM_BACKEND if name in told},
    }
    return {name: value for name, value in meta.items() if value is not None and _is_flat(value)}


def _model(response: LLMResponse, settings: Settings, seed: int | None) -> dict[str, Any]:
    """Which model, how it was sampled, and what it took."""
    usage, told = response.usage, response.provenance
    sampling = told.get("sampling")
    return {
        "model": response.model_used,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "seed": seed,
        **({name: sampling.get(name) for name in SAMPLING} if isinstance(sampling, Mapping) else {}),
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "reused_tokens": usage.reused_tokens,
        "queue_seconds": round(usage.queue_seconds, 4),
        "prefill_seconds": round(usage.prefill_seconds, 4),
        "decode_seconds": round(usage.decode_seconds, 4),
        "tokens_per_second": round(usage.tokens_per_second, 1),
        "cost": _cost(response),
    }


def _cost(response: LLMResponse) -> float | None:
    """What a provider takes for it; an endpoint on plain `http://` is one's own."""
    price = PRICES.get(response.model_used)
    if price is None or not str(response.provenance.get("endpoint", "")).startswith("https://"):
        return None
    return round(price.of(response.usage), 8)


def hash_of(messages: Sequence[ChatMessage] | Sequence[Mapping[str, str]]) -> str:
    """Fingerprint of a prompt's messages."""
    return short_hash(json.dumps(list(messages), sort_keys=True, ensure_ascii=False))


def short_hash(text: str) -> str:
    """The first 16 hex digits of SHA-256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0


def _is_flat(value: object) -> bool:
    return isinstance(value, str | int | float | bool)
