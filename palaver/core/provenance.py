"""The names under which a message's `meta` tells what made it, and what OpenTelemetry calls the same things.

`meta` keeps short names of its own, because the room's rules, budgets, prompts and pages read them on every message;
traces and exports translate by the one table here. OpenTelemetry's are those of its GenAI semantic conventions
(`opentelemetry-semantic-conventions` 0.66b2); what they have no word for is exported as `palaver.NAME`.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple


class Name(NamedTuple):
    """One key of `meta`."""

    otel: str
    """Its attribute in OpenTelemetry; empty where there is none."""
    meaning: str


NAMES: Final[Mapping[str, Name]] = {
    "model": Name("gen_ai.request.model", "the model that was asked for"),
    "served_model": Name("gen_ai.response.model", "the model that an endpoint says it answered with"),
    "backend": Name(
        "gen_ai.provider.name", "hf, openai, azure, ollama, workflow, scripted; authored: no model's words"
    ),
    "revision": Name("", "commit of the weights; of a folder `local:` and a hash"),
    "fingerprint": Name("openai.response.system_fingerprint", "what an endpoint calls the version of its insides"),
    "dtype": Name("", "number format of the weights"),
    "device": Name("", "where they were computed"),
    "quantisation": Name("", "4bit or 8bit"),
    "adapter": Name("", "the LoRA adapter in force"),
    "template_hash": Name("", "of the chat template"),
    "persona_hash": Name("", "of the personality"),
    "prompt_hash": Name("", "of the messages that the model was prompted with"),
    "prompt_parts": Name("", "a mark of each of them (the last 32), to say which one was another"),
    "forked_from": Name("", "the room in which it was said, where this one goes on from that"),
    "request_hash": Name("", "of these messages, temperature and max_tokens: the key under which a replay finds it"),
    "saw_from": Name("", "`seq` of the first message in the prompt"),
    "saw_to": Name("", "`seq` of the last one: whatever came until then is answered"),
    "trimmed": Name("", "messages left out for length, the oldest first"),
    "truncated_tokens": Name("", "tokens cut from a last message that is too long by itself"),
    "temperature": Name("gen_ai.request.temperature", "of sampling; 0 is greedy"),
    "top_p": Name("gen_ai.request.top_p", "of sampling"),
    "top_k": Name("gen_ai.request.top_k", "of sampling; 0 is off"),
    "min_p": Name("", "of sampling; 0 is off"),
    "repetition_penalty": Name("", "of sampling; 1 is off"),
    "frequency_penalty": Name("gen_ai.request.frequency_penalty", "of sampling"),
    "presence_penalty": Name("gen_ai.request.presence_penalty", "of sampling"),
    "max_tokens": Name("gen_ai.request.max_tokens", "of the reply at most"),
    "seed": Name("gen_ai.request.seed", "with which the reply was drawn"),
    "prompt_tokens": Name("gen_ai.usage.input_tokens", "of the prompt"),
    "completion_tokens": Name("gen_ai.usage.output_tokens", "of the reply"),
    "reused_tokens": Name("gen_ai.usage.cache_read.input_tokens", "of the prompt that a cache had already"),
    "queue_seconds": Name("", "until the prompt was begun"),
    "prefill_seconds": Name("", "until the first token"),
    "decode_seconds": Name("", "from the first token to the last"),
    "total_seconds": Name("", "all of it, as the participant waited"),
    "tokens_per_second": Name("", "decoded"),
    "cost": Name("", "US dollars, where the price is known"),
    "stop_reason": Name("", "end, length, stop, timeout"),
    "policy": Name("", "the floor policy that gave the floor"),
    "policy_reason": Name("", "why it gave the floor to this one, in the grant's words"),
    "attempts": Name("", "how often the model was asked, where that was more than once"),
    "spoke_for_other": Name("", "1: text under somebody else's name was cut off"),
    "end_signal": Name("", "what a simulated user ended the conversation with"),
    "action": Name("", "what an agent of a scene did"),
    "action_error": Name("", "why its action could not be read"),
    "traceparent": Name("", "the span of the turn (W3C Trace Context), where somebody traces"),
}

SAMPLING: Final = ("top_p", "top_k", "min_p", "repetition_penalty", "frequency_penalty", "presence_penalty")

OPERATION: Final = "gen_ai.operation.name"
AGENT: Final = "gen_ai.agent.name"
CONVERSATION: Final = "gen_ai.conversation.id"
FINISH_REASONS: Final = "gen_ai.response.finish_reasons"
ERROR: Final = "error.type"
CHAT: Final = "chat"
INVOKE: Final = "invoke_agent"
"""Operations of the convention: one reply of a model, and one turn of an agent."""

_FINISHED: Final = {"end": "stop", "pass": "stop"}
"""Stop reasons that go by another name there; `stop` and `length` are theirs too."""


def attributes(meta: Mapping[str, Any]) -> dict[str, Any]:
    """`meta` in OpenTelemetry's words, with `palaver.NAME` for what it has none for."""
    told = {(NAMES[key].otel if key in NAMES else "") or f"palaver.{key}": value for key, value in meta.items()}
    told.pop("palaver.traceparent", None)
    if isinstance(reason := meta.get("stop_reason"), str):
        told[FINISH_REASONS] = (_FINISHED.get(reason, reason),)
    return told
