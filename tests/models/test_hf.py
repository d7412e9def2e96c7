"""The Hugging Face model as participants use it: replies, streaming, cancelling, limits, what it tells."""

import asyncio
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from palaver.models.hf import HFModel, LocalWeights, load
from palaver.models.model import Cancel, ChatMessage
from tests.models.tiny_llama import greedy, make_tokenizer

TALK: list[ChatMessage] = [
    {"role": "system", "content": "You are Zen Sage."},
    {"role": "user", "content": "Moderator: what do you think about tea?"},
]


async def test_temperature_zero_is_greedy_and_gives_what_transformers_gives(
    weights: LocalWeights, tiny_llama: Path
) -> None:
    """A0.1."""
    model = HFModel(weights)
    first = await model.complete(TALK, temperature=0, max_tokens=24)
    second = await model.complete(TALK, temperature=0, max_tokens=24)
    tokens = weights.prompter.build(TALK, max_tokens=24).tokens
    expected = greedy(AutoModelForCausalLM.from_pretrained(tiny_llama), tokens, 24, ends=(0, 3))
    tokenizer = weights.loaded.tokenizer
    assert first.success and first.content == second.content
    assert first.content == tokenizer.decode(expected, skip_special_tokens=True).strip().rstrip("\ufffd")
    assert weights.loaded.dtype == torch.float32


async def test_streamed_pieces_are_the_reply(weights: LocalWeights) -> None:
    pieces: list[str] = []
    reply = await HFModel(weights).complete(TALK, temperature=1.0, seed=3, max_tokens=40, on_text=pieces.append)
    assert "".join(pieces) == reply.content
    assert "\ufffd" not in reply.content[-1:]


async def test_a_reply_tells_what_it_cost_and_what_made_it(weights: LocalWeights) -> None:
    reply = await HFModel(weights, top_k=5).complete(TALK, max_tokens=7, seed=11, temperature=0.5)
    assert reply.stop_reason == "length"
    assert reply.usage.completion_tokens == 7
    assert reply.tokens_used == reply.usage.prompt_tokens + 7
    assert reply.usage.tokens_per_second > 0
    told = reply.provenance
    assert (told["backend"], told["device"], told["dtype"], told["seed"]) == ("hf", "cpu", "float32", 11)
    assert told["sampling"]["top_k"] == 5 and told["trimmed_messages"] == 0


async def test_a_cancelled_reply_keeps_what_had_come(weights: LocalWeights) -> None:
    cancel = Cancel()
    heard: list[str] = []

    def listen(piece: str) -> None:
        heard.append(piece)
        cancel.press("enough")

    reply = await HFModel(weights).complete(
        TALK, max_tokens=1500, temperature=1.5, seed=5, on_text=listen, cancel=cancel
    )
    assert reply.stop_reason == "cancelled" and reply.success
    assert reply.content == "".join(heard)
    assert 0 < reply.usage.completion_tokens < 1500


async def test_a_reply_nobody_waits_for_is_given_up(weights: LocalWeights) -> None:
    cancel = Cancel()
    began = asyncio.Event()
    task = asyncio.create_task(
        HFModel(weights).complete(
            TALK, max_tokens=1500, temperature=1.5, seed=5, on_text=lambda _: began.set(), cancel=cancel
        )
    )
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cancel.is_set()


async def test_a_listener_that_fails_ends_its_own_reply_and_is_told(weights: LocalWeights) -> None:
    def listen(piece: str) -> None:
        raise LookupError(piece)

    with pytest.raises(LookupError):
        await HFModel(weights).complete(TALK, max_tokens=1500, seed=1, on_text=listen)
    assert (await HFModel(weights).complete(TALK, max_tokens=3)).success


async def test_the_time_limit_ends_a_reply_and_says_so(weights: LocalWeights) -> None:
    reply = await HFModel(weights, time_limit=1e-4).complete(TALK, max_tokens=1500, temperature=1.5, seed=5)
    assert reply.stop_reason == "timeout" and not reply.success
    assert "0.0001 s" in (reply.error or "")


async def test_the_shipped_tiny_model_answers_and_ends_its_turn() -> None:
    model = await HFModel.open("tiny", threads=1)
    reply = await model.complete(TALK, seed=1, max_tokens=80)
    assert reply.success and reply.content and reply.stop_reason == "end"
    await model.close()


async def test_a_model_is_tried_with_the_threads_that_it_will_compute_with(tiny_llama: Path) -> None:
    """On a busy machine, threads too many make seconds of it."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    load(str(tiny_llama), threads=1).close()
    used = torch.get_num_threads()
    torch.set_num_threads(before)
    assert used == 1


async def test_a_prompt_that_does_not_fit_is_a_failure_that_says_what_to_do(weights: LocalWeights) -> None:
    reply = await HFModel(weights, context_tokens=60).complete(
        [{"role": "system", "content": "word " * 200}, TALK[1]], max_tokens=10
    )
    assert not reply.success and reply.stop_reason == "error"
    assert "--max-context-tokens" in (reply.error or "")


async def test_a_reply_ends_where_the_context_does(tmp_path: Path) -> None:
    """Learned positions know no further one: on a card, asking for it takes the whole process down."""
    config = GPT2Config(vocab_size=512, n_embd=32, n_layer=1, n_head=2, n_positions=64, eos_token_id=0)
    GPT2LMHeadModel(config).save_pretrained(tmp_path)
    make_tokenizer().save_pretrained(tmp_path)
    model = await HFModel.open(str(tmp_path), threads=1)
    reply = await model.complete(TALK, max_tokens=100, temperature=1.5, seed=2)
    await model.close()
    assert reply.error is None
    assert reply.usage.prompt_tokens + reply.provenance["max_tokens"] == 64


async def test_trimming_is_told(weights: LocalWeights) -> None:
    history: list[ChatMessage] = [{"role": "user", "content": f"message number {place}"} for place in range(50)]
    reply = await HFModel(weights, context_tokens=300).complete(history, max_tokens=10)
    assert reply.success and reply.provenance["trimmed_messages"] > 0


async def test_the_loop_goes_on_while_a_reply_is_decoded(weights: LocalWeights) -> None:
    task = asyncio.create_task(HFModel(weights).complete(TALK, max_tokens=60, temperature=1.5, seed=9))
    ticks = 0
    while not task.done():
        await asyncio.sleep(0)
        ticks += 1
    assert ticks > 60
