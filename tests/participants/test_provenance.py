"""What made a message stands in its meta."""

import json

from palaver.core.prompt import Prompt
from palaver.models.model import LLMResponse, Usage
from palaver.participants.provenance import hash_of, meta_of, short_hash
from palaver.participants.settings import Settings

PROMPT = Prompt([{"role": "user", "content": "Ada: hi"}], saw_from=3, saw_to=7, trimmed=2, stop=())


def response(**fields: object) -> LLMResponse:
    usage = Usage(10, 20, 4, queue_seconds=0.1, prefill_seconds=0.2, decode_seconds=0.5)
    provenance = {"backend": "hf", "device": "cpu", "seed": 5, "sampling": {"top_p": 1}, "trimmed_messages": 1}
    return LLMResponse("hello", 30, 0.8, "tiny", True, usage=usage, provenance={**provenance, **fields})


def test_meta_is_flat_json_and_names_all_that_made_the_reply() -> None:
    meta = meta_of(response(), PROMPT, Settings(persona="You are Bot."), seed=None, spoke_for_other=True)
    assert json.loads(json.dumps(meta)) == meta
    assert not any(isinstance(value, dict | list) for value in meta.values())
    assert (meta["model"], meta["backend"], meta["device"], meta["seed"]) == ("tiny", "hf", "cpu", 5)
    assert (meta["prompt_tokens"], meta["completion_tokens"], meta["reused_tokens"]) == (10, 20, 4)
    assert (meta["saw_from"], meta["saw_to"], meta["trimmed"]) == (3, 7, 3)
    assert (meta["tokens_per_second"], meta["total_seconds"], meta["spoke_for_other"]) == (40.0, 0.8, 1)
    assert meta["persona_hash"] == short_hash("You are Bot.") and len(meta["prompt_hash"]) == 16


def test_the_prompt_hash_tells_prompts_apart() -> None:
    assert hash_of([{"role": "user", "content": "a"}]) != hash_of([{"role": "user", "content": "b"}])


def test_what_nobody_told_is_left_out() -> None:
    bare = LLMResponse("hi", 0, 0.0, "api", True)
    meta = meta_of(bare, PROMPT, Settings(), seed=None, spoke_for_other=False)
    assert not {"seed", "device", "persona_hash", "spoke_for_other"} & meta.keys()
