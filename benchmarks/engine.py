"""What the local engine gains over one `generate` at a time, on random models made on the spot.

    python benchmarks/engine.py [--quick] [--json] [--sizes 15M 110M] [--threads N] [--gpu]

The other side of every ratio is transformers' own `generate` with the whole conversation as its prompt, as a client
without an engine calls it, with as many threads. Times are the best of a few, since other programs run on the
machine too. With CUDA (or `--gpu`) a section for the card runs besides.
"""

import argparse
import asyncio
import gc
import json
import random
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from palaver.models.hf import HFModel, LocalWeights, load
from palaver.models.model import Cancel, ChatMessage, LLMResponse

VOCABULARY = 8192
MESSAGE_TOKENS = 40
TEMPLATE = (
    "{% for message in messages %}<|start|> {{ message['role'] }} {{ message['content'] }} <|stop|> {% endfor %}"
    "{% if add_generation_prompt %}<|start|> assistant{% endif %}"
)
SIZES = {
    "1M": {"hidden_size": 96, "intermediate_size": 256, "num_hidden_layers": 3, "num_attention_heads": 4},
    "15M": {
        "hidden_size": 352,
        "intermediate_size": 960,
        "num_hidden_layers": 6,
        "num_attention_heads": 8,
        "num_key_value_heads": 4,
    },
    "110M": {
        "hidden_size": 768,
        "intermediate_size": 2048,
        "num_hidden_layers": 14,
        "num_attention_heads": 12,
        "num_key_value_heads": 4,
    },
    "1B": {
        "hidden_size": 2048,
        "intermediate_size": 5632,
        "num_hidden_layers": 22,
        "num_attention_heads": 32,
        "num_key_value_heads": 4,
    },
    "8B": {
        "hidden_size": 4096,
        "intermediate_size": 14336,
        "num_hidden_layers": 36,
        "num_attention_heads": 32,
        "num_key_value_heads": 8,
    },
}


def make_folder(size: str, folder: Path) -> Path:
    """A model of random weights that never ends a reply by itself, and a tokenizer of made-up words."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY, max_position_embeddings=16384, bos_token_id=None, eos_token_id=None, **SIZES[size]
    )
    large = size in ("1B", "8B")
    with torch.device("cuda" if large else "cpu"):
        model = LlamaForCausalLM(config).to(torch.bfloat16 if large else torch.float32)
    with torch.no_grad():
        model.lm_head.weight[:8] = 0.0  # so that special tokens are never the likeliest
    model.save_pretrained(folder)
    words = ["<|unknown|>", "<|start|>", "<|stop|>", "system", "user", "assistant"]
    words += [f"w{number}" for number in range(VOCABULARY - len(words))]
    level = Tokenizer(models.WordLevel({word: place for place, word in enumerate(words)}, unk_token="<|unknown|>"))
    level.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=level,
        unk_token="<|unknown|>",
        extra_special_tokens=["<|start|>", "<|stop|>"],
        model_input_names=["input_ids", "attention_mask"],
    )
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return folder


def words(count: int, seed: int) -> str:
    """Text of `count` tokens."""
    chosen = random.Random(seed)
    return " ".join(f"w{chosen.randrange(VOCABULARY - 8)}" for _ in range(count))


def talk(messages: int, seed: int = 0) -> list[ChatMessage]:
    """A conversation that ends with somebody else's words."""
    said: list[ChatMessage] = [{"role": "system", "content": words(MESSAGE_TOKENS, seed)}]
    for number in range(messages):
        role = "user" if (messages - number) % 2 else "assistant"
        said.append({"role": role, "content": words(MESSAGE_TOKENS, 1000 * (seed + 1) + number)})
    return said


@dataclass(slots=True)
class Plain:
    """The same weights the way a client without an engine uses them."""

    weights: LocalWeights

    def generate(self, messages: Sequence[ChatMessage], max_tokens: int) -> list[int]:
        """Tokens of a greedy reply, everything computed anew."""
        tokens = self.weights.prompter.build(messages, max_tokens=max_tokens).tokens
        model, device = self.weights.loaded.model, self.weights.loaded.place.device
        own = model.config._attn_implementation
        model.set_attn_implementation("sdpa")
        prompt = torch.tensor([tokens], device=device)
        with torch.inference_mode():
            out = model.generate(
                prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=max_tokens,
                do_sample=False,
                pad_token_id=0,
            )
        model.set_attn_implementation(own)
        return [int(token) for token in out[0, len(tokens) :]]

    def text(self, tokens: Sequence[int]) -> str:
        """As the engine would show it."""
        return str(self.weights.loaded.tokenizer.decode(tokens, skip_special_tokens=True)).strip()


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Seconds and the result."""
    started = time.perf_counter()
    result = work()
    return time.perf_counter() - started, result


async def first_word(model: HFModel, messages: Sequence[ChatMessage], key: str, max_tokens: int) -> tuple[float, Any]:
    """Seconds to the first text, and the reply."""
    heard: list[float] = []
    started = time.perf_counter()
    reply = await model.complete(
        messages,
        temperature=0,
        max_tokens=max_tokens,
        cache_key=key,
        on_text=lambda _: heard.append(time.perf_counter() - started),
    )
    return heard[0], reply


async def measure_cache(model: HFModel, plain: Plain, messages: int, repeats: int) -> dict[str, Any]:
    """Turns late in a conversation: kept cache against computing the whole prompt again."""
    first, whole, plain_first, plain_whole, same = [], [], [], [], []
    history = talk(messages - 2 * repeats)
    await model.complete(history, temperature=0, max_tokens=32, cache_key="turns")
    for turn in range(repeats):
        reply = words(32, 77 + turn)  # the engine's own last words would be the easier case
        history += [{"role": "assistant", "content": reply}, {"role": "user", "content": words(50, 99 + turn)}]
        started = time.perf_counter()
        seconds, answer = await first_word(model, history, "turns", 32)
        whole.append(time.perf_counter() - started)
        first.append(seconds)
        plain_first.append(timed(partial(plain.generate, history, 1))[0])
        seconds, tokens = timed(partial(plain.generate, history, 32))
        plain_whole.append(seconds)
        same.append(plain.text(tokens) == answer.content)
    return {
        "ttft_ms": 1000 * min(first),
        "ttft_ratio": min(plain_first) / min(first),
        "reply_ratio": min(plain_whole) / min(whole),
        "identical": all(same),
    }


async def measure_batch(model: HFModel, personas: int, max_tokens: int) -> dict[str, float]:
    """Replies of several personas: due together, and one after another, caches kept in both."""
    histories = [talk(8, seed=seed) for seed in range(personas)]

    async def reply(seed: int) -> LLMResponse:
        return await model.complete(
            histories[seed], max_tokens=max_tokens, temperature=0.7, seed=seed, cache_key=f"persona {seed}"
        )

    await asyncio.gather(*map(reply, range(personas)))
    alone = together = float("inf")
    tokens = personas * max_tokens
    for _ in range(3):
        started = time.perf_counter()
        for seed in range(personas):
            await reply(seed)
        alone = min(alone, time.perf_counter() - started)
        started = time.perf_counter()
        replies = await asyncio.gather(*map(reply, range(personas)))
        together = min(together, time.perf_counter() - started)
        assert sum(reply.usage.completion_tokens for reply in replies) == tokens
    return {"batch_tokens_s": tokens / together, "single_tokens_s": tokens / alone, "ratio": alone / together}


async def measure_rollouts(model: HFModel, plain: Plain, conversations: int, turns: int, tokens: int) -> float:
    """Whole conversations at once against one after another."""

    async def converse(number: int) -> list[ChatMessage]:
        said = talk(1, seed=number)
        for turn in range(turns):
            reply = await model.complete(said, temperature=0, max_tokens=tokens, cache_key=f"rollout {number}")
            said += _turn(reply.content, number, turn)
        return said

    def converse_plainly(number: int) -> None:
        said = talk(1, seed=number)
        for turn in range(turns):
            said += _turn(plain.text(plain.generate(said, tokens)), number, turn)

    started = time.perf_counter()
    await asyncio.gather(*map(converse, range(conversations)))
    engine = time.perf_counter() - started
    sample = max(1, conversations // 4)
    started = time.perf_counter()
    for number in range(sample):
        converse_plainly(number)
    return (time.perf_counter() - started) / sample * conversations / engine


def _turn(reply: str, number: int, turn: int) -> list[ChatMessage]:
    return [
        {"role": "assistant", "content": reply},
        {"role": "user", "content": words(MESSAGE_TOKENS, 31 * number + turn)},
    ]


async def measure_cancel(model: HFModel, repeats: int) -> tuple[list[float], float]:
    """Milliseconds from pressing to the reply's end, half of them while the prompt is read; and a decode step's."""
    waits: list[float] = []
    chance = random.Random(1)
    history = talk(30)
    steps = []
    for _ in range(3):
        reply = await model.complete(history, max_tokens=24, temperature=0, cache_key="cancel")
        steps.append(1000 * reply.usage.decode_seconds / max(1, reply.usage.completion_tokens - 1))
    for number in range(repeats):
        cancel = Cancel()
        reading = number % 2 == 1
        prompt = talk(30, seed=1000 + number) if reading else history
        task = asyncio.create_task(
            model.complete(prompt, max_tokens=2000, temperature=0, cancel=cancel, cache_key="" if reading else "cancel")
        )
        await asyncio.sleep(0.02 + chance.random() * 0.2)
        pressed = time.perf_counter()
        cancel.press()
        await task
        waits.append(1000 * (time.perf_counter() - pressed))
    return waits, min(steps)


async def measure_lag(work: Awaitable[Any]) -> float:
    """p99 of how late the event loop is, in milliseconds, while `work` goes on."""
    task = asyncio.ensure_future(work)
    late: list[float] = []
    while not task.done():
        started = time.perf_counter()
        await asyncio.sleep(0.002)
        late.append(1000 * (time.perf_counter() - started - 0.002))
    await task
    return quantile(late, 0.99)


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


async def measure(weights: LocalWeights, quick: bool) -> dict[str, Any]:
    """All bars for one model."""
    personas = [HFModel(weights) for _ in range(3)]
    model, plain = personas[0], Plain(weights)
    repeats = 2 if quick else 3
    await model.complete(talk(4), max_tokens=8)
    short = await measure_cache(model, plain, 20, repeats)
    long = await measure_cache(model, plain, 30 if quick else 100, repeats)
    same = short["identical"] and long["identical"]
    batch = await measure_batch(model, 3, 16 if quick else 64)
    rollouts = await measure_rollouts(model, plain, 4 if quick else 16, 2 if quick else 4, 8 if quick else 32)
    waits, step = await measure_cancel(model, 8 if quick else 30)
    heard: list[str] = []
    talking = asyncio.gather(
        *(p.complete(talk(20, seed=50 + n), max_tokens=40, on_text=heard.append) for n, p in enumerate(personas))
    )
    return {
        "ttft_ratio_20": short["ttft_ratio"],
        "ttft_ratio_100": long["ttft_ratio"],
        "ttft_ms_100": long["ttft_ms"],
        "reply_ratio_20": short["reply_ratio"],
        "reply_ratio_100": long["reply_ratio"],
        "identical_greedy": same if weights.loaded.dtype == torch.float32 else None,  # others round, see docs
        "weights_copies": len({persona.weights.loaded.model.lm_head.weight.data_ptr() for persona in personas}),
        "batch_ratio_3": batch["ratio"],
        "tokens_s_1": batch["single_tokens_s"],
        "tokens_s_3": batch["batch_tokens_s"],
        "rollout_ratio_16": rollouts,
        "cancel_ms_p95": quantile(waits, 0.95),
        "decode_step_ms": step,
        "loop_lag_ms_p99": await measure_lag(talking),
    }


async def measure_card(size: str, folder: Path) -> dict[str, Any]:
    """The card's bars: speed beside `generate`, three personas, cancel, memory."""
    make_folder(size, folder)
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_allocated()
    torch.cuda.reset_peak_memory_stats()
    weights = await asyncio.to_thread(load, str(folder), device="gpu")
    held = torch.cuda.memory_allocated() - before
    model, plain = HFModel(weights), Plain(weights)
    figures: dict[str, Any] = {
        "card": torch.cuda.get_device_name(0),
        "size": size,
        "decoding": weights.describe()["decoding"],
    }
    for personas in (1, 3):
        figures[f"tokens_s_{personas}"] = await rate(model, personas, 256)
    waits, step = await measure_cancel(model, 20)
    peak, caches = torch.cuda.max_memory_allocated() - before, weights.engine.rows.nbytes
    figures["tokens_s_16"] = await rate(model, 16, 128)
    for name, with_cudnn in (("generate", False), ("generate_cudnn", True)):
        torch.backends.cuda.enable_cudnn_sdp(with_cudnn)  # torch's default is with it
        plain.generate(talk(8), 8)
        seconds, _ = timed(lambda: plain.generate(talk(8), 64))
        figures[f"{name}_tokens_s"] = 64 / seconds
    torch.backends.cuda.enable_cudnn_sdp(False)
    weights.close()
    best = max(figures["generate_tokens_s"], figures["generate_cudnn_tokens_s"])
    return figures | {
        "of_generate": figures["tokens_s_1"] / best,
        "three_over_one": figures["tokens_s_3"] / figures["tokens_s_1"],
        "cancel_ms_p95": quantile(waits, 0.95),
        "decode_step_ms": step,
        "memory_ratio": (peak - caches) / held,
    }


async def rate(model: HFModel, personas: int, max_tokens: int) -> float:
    """Tokens a second of so many replies due together, each to a conversation of its own whose cache is kept."""

    async def reply(seed: int) -> LLMResponse:
        return await model.complete(talk(8, seed=seed), max_tokens=max_tokens, seed=seed, cache_key=f"persona {seed}")

    best = 0.0
    for _ in range(3):
        started = time.perf_counter()
        replies = await asyncio.gather(*map(reply, range(personas)))
        tokens = sum(each.usage.completion_tokens for each in replies)
        best = max(best, tokens / (time.perf_counter() - started))
    return best


def show(title: str, figures: dict[str, Any]) -> None:
    """One table."""
    print(f"\n{title}")
    for name, value in figures.items():
        print(f"  {name:18} {value:10.2f}" if isinstance(value, float) else f"  {name:18} {value!s:>10}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run what was asked for; returns 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="a tiny model and few repeats, for the tests")
    parser.add_argument("--json", action="store_true", help="one line of JSON instead of tables")
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=None)
    parser.add_argument("--threads", type=int, default=0, help="0: as a client finds it out")
    parser.add_argument("--gpu", default="1B" if torch.cuda.is_available() else "", help="size for the card")
    options = parser.parse_args(argv)
    sizes = options.sizes or (["1M"] if options.quick else ["15M", "110M"])
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        for size in sizes:
            weights = load(str(make_folder(size, Path(place) / size)), threads=options.threads)
            torch.set_num_threads(weights.cores.threads if weights.cores else 1)  # each thread has its own setting
            results[size] = asyncio.run(measure(weights, options.quick))
            results[size]["threads"] = weights.cores.threads if weights.cores else 0
            results[size]["dtype"] = str(weights.loaded.dtype).removeprefix("torch.")
            weights.close()
            if not options.json:
                show(f"{size}, {results[size]['dtype']}, {results[size]['threads']} threads", results[size])
        if options.gpu:
            results["gpu"] = asyncio.run(measure_card(options.gpu, Path(place) / "gpu"))
            if not options.json:
                show("card", results["gpu"])
    if options.json:
        checked = [each["identical_greedy"] for each in results.values() if each.get("identical_greedy") is not None]
        print(json.dumps({**results[sizes[-1]], "identical_greedy": all(checked), "by_size": results}))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
