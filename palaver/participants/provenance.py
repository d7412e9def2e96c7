"""What made a message: the `meta` that every message carries, flat and JSON-able. All its names stand here.

`saw_from`, `saw_to` and `spoke_for_other` are read by the room's rules, the token counts by its budgets.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from palaver.core.prompt import Prompt
from palaver.models.model import ChatMessage, LLMResponse
from palaver.participants.settings import Settings

_FROM_BACKEND: Final = (
    "backend",
    "revision",
    "device",
    "dtype",
    "seed",
    "quantisation",
    "adapter",
    "template_hash",
    "served_model",
    "fingerprint",
    "cost",
    "end_signal",
    "action",
    "action_error",
)
"""What is taken over from a backend's own provenance, where it tells."""


def meta_of(
    response: LLMResponse, prompt: Prompt, settings: Settings, *, seed: int | None, spoke_for_other: bool
) -> dict[str, Any]:
    """The meta of one reply. Times are seconds, hashes the first 16 hex digits of SHA-256."""
    usage, told = response.usage, response.provenance
    meta = {
        "model": response.model_used,
        "temperature": settings.temperature,
        "max_tokens": settings.max_tokens,
        "seed": seed,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "reused_tokens": usage.reused_tokens,
        "queue_seconds": round(usage.queue_seconds, 4),
        "prefill_seconds": round(usage.prefill_seconds, 4),
        "decode_seconds": round(usage.decode_seconds, 4),
        "total_seconds": round(response.response_time, 4),
        "tokens_per_second": round(usage.tokens_per_second, 1),
        "stop_reason": response.stop_reason,
        "persona_hash": short_hash(settings.persona) if settings.persona else None,
        "prompt_hash": hash_of(prompt.messages),
        "saw_from": prompt.saw_from,
        "saw_to": prompt.saw_to,
        "trimmed": prompt.trimmed + _count(told.get("trimmed_messages")),
        "truncated_tokens": _count(told.get("truncated_tokens")) or None,
        "spoke_for_other": 1 if spoke_for_other else None,
        **{name: told[name] for name in _FROM_BACKEND if told.get(name) is not None},
    }
    return {name: value for name, value in meta.items() if value is not None and _is_flat(value)}


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
