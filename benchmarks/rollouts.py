"""Conversations a minute: rollouts on the shared engine beside the seed's way, on random models made on the spot.

    python benchmarks/rollouts.py [--quick] [--json] [--sizes 1M 110M] [--conversations 64] [--turns 4]

The seed's way is one conversation at a time, `generate` on the whole conversation for each reply. Both sides have the
same weights and number format, the same prefixes, a simulated user that answers at once, sampled replies of the same
number of tokens, and the same threads. The seed's way is timed on a part of the conversations, before and after; the
faster time counts. `cpu ratio` compares processor time, which other programs on the machine disturb less.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from engine import SIZES, make_folder, words

from palaver.models.hf import LocalWeights, load
from palaver.models.model import ChatMessage
from palaver.simulation import ChatSimulator, LocalAssistant
from palaver.simulation.assistant import MAX_BATCH

MESSAGE_WORDS = 40
TEMPERATURE = 0.7
TARGET = 6.0


class InstantUser:
    """Says forty words at once, others in each turn."""

    name = "instant user"

    async def generate(self, messages: Sequence[ChatMessage]) -> str:
        """The next message."""
        return words(MESSAGE_WORDS, len(messages) * 7919 + len(messages[1]["content"]))


def prefix(number: int) -> list[ChatMessage]:
    """A system prompt that all share, and a first question."""
    return [
        {"role": "system", "content": words(MESSAGE_WORDS, 0)},
        {"role": "user", "content": words(MESSAGE_WORDS, 1000 + number)},
    ]


class Watch:
    """Seconds since it was made: by the clock, and of processor time."""

    def __init__(self) -> None:
        self._started, self._worked = time.perf_counter(), time.process_time()

    def read(self) -> tuple[float, float]:
        """Both."""
        return time.perf_counter() - self._started, time.process_time() - self._worked


def seeds_way(weights: LocalWeights, conversations: Sequence[int], turns: int, tokens: int) -> tuple[float, float]:
    """Seconds (clock, processor) for these conversations one after another, every prompt computed anew."""
    model, tokenizer = weights.loaded.model, weights.loaded.tokenizer
    own = model.config._attn_implementation
    model.set_attn_implementation("sdpa")
    watch = Watch()
    for number in conversations:
        messages = prefix(number)
        for turn in range(turns + 1):
            text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
            prompt = tokenizer(text, return_tensors="pt", add_special_tokens=False)
            with torch.inference_mode():
                out = model.generate(
                    **prompt, max_new_tokens=tokens, do_sample=True, temperature=TEMPERATURE, top_k=0, pad_token_id=0
                )
            reply = tokenizer.decode(out[0, prompt["input_ids"].shape[1] :], skip_special_tokens=True)
            messages.append({"role": "assistant", "content": reply})
            if turn < turns:
                messages.append({"role": "user", "content": words(MESSAGE_WORDS, 31 * number + turn)})
    taken = watch.read()
    model.set_attn_implementation(own)
    return taken


def ours(weights: LocalWeights, conversations: int, turns: int, tokens: int, concurrency: int) -> dict[str, float]:
    """Rollouts on the engine."""
    assistant = LocalAssistant(weights=weights, max_new_tokens=tokens, temperature=TEMPERATURE)
    simulator = ChatSimulator(assistant, InstantUser())
    watch = Watch()
    rollouts = asyncio.run(
        simulator.rollouts([prefix(n) for n in range(conversations)], 1, turns, concurrency=concurrency)
    )
    seconds, processor = watch.read()
    spent = [rollout.usage["assistant"] for rollout in rollouts]
    failed = [rollout.error for rollout in rollouts if rollout.failed]
    if failed:
        raise RuntimeError(f"{len(failed)} rollouts failed, the first: {failed[0]}")
    return {
        "seconds": seconds,
        "processor": processor,
        "decoded": sum(usage.completion_tokens for usage in spent),
        "reused": sum(usage.reused_tokens for usage in spent) / sum(usage.prompt_tokens for usage in spent),
    }


def measure(weights: LocalWeights, options: argparse.Namespace) -> dict[str, Any]:
    """One model, both ways."""
    count, turns, tokens = options.conversations, options.turns, options.tokens
    sample = min(count, options.sample)
    seeds_way(weights, [0], 0, tokens)
    ours(weights, 2, 0, tokens, 2)
    before = seeds_way(weights, range(sample), turns, tokens)
    engine = ours(weights, count, turns, tokens, options.concurrency)
    after = seeds_way(weights, range(sample), turns, tokens)
    theirs, their_processor = (min(pair) / sample for pair in zip(before, after, strict=True))
    return {
        "conversations": count,
        "turns": turns,
        "tokens_a_reply": engine["decoded"] / count / (turns + 1),
        "ours_a_minute": 60 * count / engine["seconds"],
        "seed_a_minute": 60 / theirs,
        "ratio": theirs * count / engine["seconds"],
        "processor_ratio": their_processor * count / engine["processor"],
        "ours_tokens_s": engine["decoded"] / engine["seconds"],
        "seed_tokens_s": (turns + 1) * tokens / theirs,
        "prompt_reused": engine["reused"],
        "threads": weights.cores.threads if weights.cores else 0,
        "dtype": str(weights.loaded.dtype).removeprefix("torch."),
    }


def show(results: dict[str, dict[str, Any]]) -> None:
    """One table."""
    ours, seeds = f"{'ours/min':>9} {'seed/min':>9}", f"{'tok/s':>7} {'seed tok/s':>10}"
    print(f"{'model':>6} {'dtype':>9} {ours} {'ratio':>6} {'cpu ratio':>9} {seeds} reused")
    for size, one in results.items():
        print(
            f"{size:>6} {one['dtype']:>9} {one['ours_a_minute']:9.1f} {one['seed_a_minute']:9.1f} {one['ratio']:6.2f} "
            f"{one['processor_ratio']:9.2f} "
            f"{one['ours_tokens_s']:7.0f} {one['seed_tokens_s']:10.0f} {one['prompt_reused']:6.0%}"
        )
    one = next(iter(results.values()))
    print(f"{one['conversations']} conversations of {one['turns']} turns, {one['tokens_a_reply']:.0f} tokens a reply")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The flags."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smallest model and a few conversations")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of a table")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES))
    parser.add_argument("--conversations", type=int)
    parser.add_argument("--turns", type=int)
    parser.add_argument("--tokens", type=int, help="tokens of each reply")
    parser.add_argument("--sample", type=int, help="conversations that the seed's way is timed on, twice")
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--dtype", default="auto", help="number format of both sides")
    parser.add_argument("--threads", type=int, default=0, help="0: as a client finds it out")
    parser.add_argument("--max-batch", type=int, default=MAX_BATCH, help="replies decoded together")
    options = parser.parse_args(argv)
    sizes, conversations, turns, tokens, sample = (
        (["1M"], 8, 2, 8, 2) if options.quick else (["1M", "110M"], 64, 4, 64, 4)
    )
    options.sizes = options.sizes or sizes
    options.conversations = options.conversations or conversations
    options.turns = turns if options.turns is None else options.turns
    options.tokens = options.tokens or tokens
    options.sample = options.sample or sample
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run; returns 0."""
    options = parse(argv)
    results = {}
    with tempfile.TemporaryDirectory() as place:
        for size in options.sizes:
            weights = load(
                str(make_folder(size, Path(place) / size)),
                threads=options.threads,
                max_batch=options.max_batch,
                dtype=options.dtype,
            )
            if weights.cores is not None:
                torch.set_num_threads(weights.cores.threads)
            results[size] = measure(weights, options)
            weights.close()
    if options.json:
        worst = min(one["ratio"] for one in results.values())
        print(json.dumps({"ratio": worst, "target": TARGET, "by_size": results}))
    else:
        show(results)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
