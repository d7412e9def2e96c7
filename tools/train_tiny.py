"""Make the tiny model: tokenizer and weights from the grammar's corpus, then its figures.

    python tools/train_tiny.py --seed 7 --threads 1 --out palaver/models/tiny

Stages with warm restarts of the rates (Loshchilov and Hutter 2017), each on a corpus of its own. The same seed, steps
and threads give the same weights on the same kind of processor.
"""

import argparse
import copy
import itertools
import json
import math
import pathlib
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from tiny_figures import measure
from tiny_grammar import Document, document, drill
from tiny_weights import make_model
from tiny_words import Words
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional
from transformers import GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

OUT = pathlib.Path(__file__).resolve().parent.parent / "palaver" / "models" / "tiny"
PIECES, CONTEXT = 1536, 1024
END, SPECIALS = "<|end|>", ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
TOKENS_PER_STEP, DRILL_ROUNDS = 2048, 40
STAGES = (3000, 1200, 1500)
"""Steps of each stage."""
MUON_RATE, ADAM_RATE = 2e-3, 3e-3


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Byte-level pieces. Each line starts with a blank, so that a word is the same pieces wherever it stands."""
    words = Words(random.Random(seed))
    corpus = (turn.content for _ in range(3000) for turn in document(words.random, words).turns)
    inner = Tokenizer(models.BPE())
    inner.normalizer = normalizers.Sequence([normalizers.Prepend(" "), normalizers.Replace("\n", "\n ")])
    inner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(r" ?\p{L}+| ?\p{N}|\n| ?[^\s\p{L}\p{N}]+|\s"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    inner.decoder = decoders.Sequence([decoders.ByteLevel(), decoders.Replace("\n ", "\n")])
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES, special_tokens=list(SPECIALS), initial_alphabet=alphabet, show_progress=False
    )
    inner.train_from_iterator(corpus, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=inner,
        eos_token=END,
        pad_token=SPECIALS[0],
        additional_special_tokens=list(SPECIALS[2:]),
        chat_template=TEMPLATE,
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=CONTEXT,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


@dataclass(frozen=True, slots=True)
class Example:
    """Token ids, and the weight in the loss of predicting each of them."""

    ids: list[int]
    weights: list[float]


class Encoder:
    """Documents to token ids, the same ids that the chat template gives, with each token's weight in the loss."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast) -> None:
        self.inner = tokenizer.backend_tokenizer
        self.end, self.newline = tokenizer.eos_token_id, self.inner.token_to_id("Ċ")
        self.headers = {role: self.inner.token_to_id(f"<|{role}|>") for role in ("system", "user", "assistant")}

    def encode(self, documents: list[Document]) -> list[Example]:
        texts = sorted({text for d in documents for turn in d.turns for piece in turn.pieces for text in piece[:2]})
        encoded = self.inner.encode_batch_fast(texts, add_special_tokens=False)
        known = {text: encoding.ids for text, encoding in zip(texts, encoded, strict=True)}
        known[""] = []
        return [self._example(d, known) for d in documents]

    def _example(self, document: Document, known: dict[str, list[int]]) -> Example:
        ids: list[int] = []
        weights: list[float] = []

        def add(new: list[int], weight: float) -> None:
            ids.extend(new)
            weights.extend([weight] * len(new))

        for turn in document.turns:
            add([self.headers[turn.role]], 0.0)
            for i, (label, text, weight) in enumerate(turn.pieces):
                add(([self.newline] if i else []) + known[label], 0.0)
                add(known[text], weight)
            add([self.end], weight if turn.role == "assistant" else 0.0)
        return Example(ids, weights)


def batches(encoder: Encoder, seed: int, *, drills: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of about `TOKENS_PER_STEP` tokens, examples of like length together: (ids, weights).

    The first `drills` rounds are words to repeat and nothing else: so copying is there when the conversations begin.
    """
    words = Words(random.Random(seed))
    for number in itertools.count():
        make = drill if number < drills else document
        examples = encoder.encode([make(words.random, words) for _ in range(192)])
        examples = sorted((e for e in examples if len(e.ids) <= CONTEXT), key=lambda e: len(e.ids))
        chunks: list[list[Example]] = [[]]
        for example in examples:
            if (len(chunks[-1]) + 1) * len(example.ids) > TOKENS_PER_STEP:
                chunks.append([])
            chunks[-1].append(example)
        words.random.shuffle(chunks)
        yield from map(pad, chunks)


def pad(examples: list[Example]) -> tuple[Tensor, Tensor]:
    longest = max(len(e.ids) for e in examples)
    ids = [e.ids + [0] * (longest - len(e.ids)) for e in examples]
    weights = [e.weights + [0.0] * (longest - len(e.weights)) for e in examples]
    return torch.tensor(ids), torch.tensor(weights)


def loss_of(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross entropy; logits are computed only where there is something to learn."""
    wanted = weights[:, 1:] > 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(ids[:, :-1]).last_hidden_state[wanted]
        logits = model.lm_head(hidden)
    losses = functional.cross_entropy(logits.float(), ids[:, 1:][wanted], reduction="none")
    share = weights[:, 1:][wanted]
    return (losses * share).sum() / share.sum().clamp(min=1)


def optimizers(model: LlamaForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon (Jordan 2024) for the matrices between the layers, AdamW for the rest."""
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(matrices, lr=MUON_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(step: int, progress: float) -> float:
    """Warm up over 50 steps, hold, and fall to nothing by a cosine over the last two thirds."""
    falling = max(0.0, (progress - 1 / 3) * 1.5)
    return min(1.0, (step + 1) / 50) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, falling))))


def train(model: LlamaForCausalLM, corpus: Iterator[tuple[Tensor, Tensor]], steps: int) -> dict[str, float]:
    """One stage; returns what it took."""
    model.train()
    pair, started, tokens, smooth = optimizers(model), time.monotonic(), 0, 0.0
    for step, (ids, weights) in enumerate(itertools.islice(corpus, steps)):
        loss = loss_of(model, ids, weights)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer, full in zip(pair, (MUON_RATE, ADAM_RATE), strict=True):
            for group in optimizer.param_groups:
                group["lr"] = full * rate(step, step / steps)
            optimizer.step()
            optimizer.zero_grad()
        tokens += ids.numel()
        smooth += (loss.item() - smooth) * max(0.02, 1 / (step + 1))
        if step % 100 == 0:
            speed = tokens / (time.monotonic() - started)
            print(f"step {step:5d}  loss {smooth:.3f}  {tokens / 1e6:.1f} M tokens  {speed:,.0f}/s", flush=True)
    minutes, core_minutes = (time.monotonic() - started) / 60, time.process_time() / 60
    return {"steps": steps, "tokens": tokens, "loss": smooth, "minutes": minutes, "core_minutes_so_far": core_minutes}


def create(seed: int) -> tuple[PreTrainedTokenizerFast, LlamaForCausalLM]:
    tokenizer = make_tokenizer(seed)
    end, pad = tokenizer.eos_token_id, tokenizer.pad_token_id
    return tokenizer, make_model(pieces=len(tokenizer), context=CONTEXT, end=end, pad=pad)


def load(folder: pathlib.Path) -> tuple[PreTrainedTokenizerFast, LlamaForCausalLM]:
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    return tokenizer, LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def save(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, out: pathlib.Path) -> None:
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=True, temperature=0.7
    )
    copy.deepcopy(model).half().save_pretrained(out)
    tokenizer.save_pretrained(out, save_jinja_files=False)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train Palaver's tiny model.")
    parser.add_argument("--out", type=pathlib.Path, default=OUT, help="folder of the checkpoint (default: %(default)s)")
    parser.add_argument("--start", type=pathlib.Path, help="go on from this checkpoint instead of from nothing")
    parser.add_argument("--seed", type=int, default=7, help="of the weights and the corpus (default: %(default)s)")
    parser.add_argument("--steps", type=int, nargs="+", default=STAGES, help="of each stage (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="of torch (default: all cores)")
    parser.add_argument("--samples", type=int, default=200, help="replies measured of each kind (default: %(default)s)")
    options = parser.parse_args(argv)
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    tokenizer, model = load(options.start) if options.start else create(options.seed)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {torch.get_num_threads()} threads")
    encoder = Encoder(tokenizer)
    for stage, steps in enumerate(options.steps):
        drills = 0 if stage or options.start else DRILL_ROUNDS
        took = train(model, batches(encoder, options.seed + 1 + stage, drills=drills), steps)
        save(model, tokenizer, options.out)
        print(f"stage {stage + 1}: {json.dumps(took)}", flush=True)
    if options.samples:
        print(json.dumps(measure(options.out, options.samples, seed=options.seed + 2), indent=1))


if __name__ == "__main__":
    main()
