"""Make the tiny model: tokenizer and weights from the grammar's corpus, then its figures.

    python tools/train_tiny.py

Two workers of one thread each learn from batches of their own and share their gradients, so the weights follow from the
seed and the steps on any machine with the same kind of processor, however many cores it has.
"""

import argparse
import copy
import itertools
import json
import math
import pathlib
import random
import time
from dataclasses import dataclass
from multiprocessing.synchronize import Barrier
from typing import Any

import torch
from tiny_batches import CONTEXT, STRIDE, Encoder, batches
from tiny_figures import measure
from tiny_grammar import document
from tiny_weights import make_model
from tiny_words import Words
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from torch import Tensor, multiprocessing
from torch.nn import functional
from transformers import AttentionInterface, GenerationConfig, LlamaForCausalLM, PreTrainedTokenizerFast

OUT = pathlib.Path(__file__).resolve().parent.parent / "palaver" / "models" / "tiny"
PIECES = 1536
END, SPECIALS = "<|end|>", ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] | trim + '<|end|>' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
WORKERS, DRILLS, STEPS = 2, 12_000, 5600
MUON_RATE, ADAM_RATE, WARM_UP = 4e-3, 5e-3, 60
BLOCK = 128
"""Queries that attend to what came before them at a time."""
PATIENCE = 600.0
"""Seconds that a worker waits for the other one."""


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


def attend(module: Any, query: Tensor, key: Tensor, value: Tensor, *_: Any, **__: Any) -> tuple[Tensor, None]:
    """Causal attention in blocks of queries, in bfloat16: takes half as long as torch's own (one core, AVX-512)."""
    rows, heads, length, size = query.shape
    query, key, value = (x.bfloat16().reshape(rows * heads, length, size) for x in (query * module.scaling, key, value))
    mixed = []
    for start in range(0, length, BLOCK):
        end = min(start + BLOCK, length)
        future = torch.full((end - start, end), -torch.inf, dtype=torch.bfloat16).triu(start + 1)
        scores = torch.bmm(query[:, start:end], key[:, :end].transpose(1, 2)) + future
        mixed.append(torch.bmm(scores.softmax(-1), value[:, :end]))
    return torch.cat(mixed, 1).view(rows, heads, length, size).transpose(1, 2), None


AttentionInterface.register("causal_blocks", attend)


def loss_of(model: LlamaForCausalLM, ids: Tensor, weights: Tensor) -> Tensor:
    """Weighted cross entropy; logits only where there is something to learn, and up to a multiple of `STRIDE`."""
    shares = weights[:, 1:].flatten()
    wanted = shares.argsort(descending=True)[: math.ceil(shares.count_nonzero() / STRIDE) * STRIDE]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        hidden = model.model(ids[:, :-1]).last_hidden_state
        logits = model.lm_head(hidden.flatten(0, 1)[wanted])
    losses = functional.cross_entropy(logits.float(), ids[:, 1:].flatten()[wanted], reduction="none")
    return (losses * shares[wanted]).sum() / shares.sum().clamp(min=1)


def optimizers(model: LlamaForCausalLM, share: slice) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon (Jordan 2024) for one worker's share of the matrices between the layers, AdamW for its share of the rest.

    Each comes with its full rate.
    """
    matrices = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    others = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    muon = torch.optim.Muon(matrices[share], lr=MUON_RATE, weight_decay=0.01, adjust_lr_fn="match_rms_adamw")
    adam = torch.optim.AdamW(others[share], lr=ADAM_RATE, betas=(0.9, 0.98), weight_decay=0.0)
    return [(muon, MUON_RATE), (adam, ADAM_RATE)]


def rate(step: int, steps: int) -> float:
    """One cycle: warm up, and fall evenly to nothing."""
    return min((step + 1) / WARM_UP, 1 - step / steps)


@dataclass(frozen=True, slots=True)
class Team:
    """What the workers share beside the weights: a row of gradients for each, and a place to wait for each other."""

    gradients: Tensor
    barrier: Barrier

    def mean(self, rank: int, parameters: list[Tensor]) -> None:
        """Put the mean of all workers' gradients in the place of one's own, no longer than 1."""
        torch.cat([p.grad.flatten() for p in parameters if p.grad is not None], out=self.gradients[rank])
        self.barrier.wait(PATIENCE)
        mean = self.gradients.mean(0)
        mean /= mean.norm().clamp(min=1)
        for p, part in zip(parameters, mean.split([p.numel() for p in parameters]), strict=True):
            p.grad = part.view_as(p)


@dataclass(frozen=True, slots=True)
class Plan:
    """One training, as each worker gets it."""

    out: pathlib.Path
    start: pathlib.Path | None
    seed: int
    steps: int


def work(rank: int, plan: Plan, team: Team, tokenizer: PreTrainedTokenizerFast, model: LlamaForCausalLM) -> None:
    """One worker's part of the training; the first one tells how it goes and writes the checkpoint.

    The weights lie in memory that all workers share, and each worker changes its share of them.
    """
    torch.set_num_threads(1)
    model.set_attn_implementation("causal_blocks")
    drills = 0 if plan.start else DRILLS
    share = slice(rank, None, len(team.gradients))
    corpus = batches(Encoder(tokenizer), plan.seed, share, drills=drills)
    model.train()
    pair, started, smooth = optimizers(model, share), time.monotonic(), 0.0
    for step, (ids, weights) in enumerate(itertools.islice(corpus, plan.steps)):
        loss = loss_of(model, ids, weights)
        loss.backward()
        team.mean(rank, list(model.parameters()))
        for optimizer, full in pair:
            for group in optimizer.param_groups:
                group["lr"] = full * rate(step, plan.steps)
            optimizer.step()
        model.zero_grad()
        team.barrier.wait(PATIENCE)
        smooth += (loss.item() - smooth) * max(0.01, 1 / (step + 1))
        if rank == 0 and (step % 50 == 0 or step == plan.steps - 1):
            tell(step + 1, plan.steps, smooth, time.monotonic() - started)
    if rank == 0:
        save(model, tokenizer, plan.out)


def tell(done: int, steps: int, loss: float, seconds: float) -> None:
    left = seconds / done * (steps - done)
    spent = time.process_time()
    print(
        f"step {done:5d} of {steps}  loss {loss:.3f}  {seconds / 60:5.1f} min gone, {left / 60:5.1f} left"
        f"  ({spent / 60:.1f} min of this worker's processor)",
        flush=True,
    )


def train(plan: Plan) -> None:
    """Train with `WORKERS` processes; raises when one of them fails."""
    context = multiprocessing.get_context("spawn")
    torch.manual_seed(plan.seed)
    tokenizer, model = load(plan.start) if plan.start else create(plan.seed)
    size = sum(p.numel() for p in model.parameters())
    print(f"{size:,} parameters, {WORKERS} workers", flush=True)
    team = Team(torch.zeros(WORKERS, size).share_memory_(), context.Barrier(WORKERS))
    multiprocessing.spawn(work, args=(plan, team, tokenizer, model), nprocs=WORKERS)


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
    parser.add_argument("--steps", type=int, default=STEPS, help="default: %(default)s")
    parser.add_argument("--samples", type=int, default=200, help="replies measured of each kind (default: %(default)s)")
    options = parser.parse_args(argv)
    train(Plan(options.out, options.start, options.seed, options.steps))
    if options.samples:
        print(json.dumps(measure(options.out, options.samples, seed=options.seed + 2), indent=1))


if __name__ == "__main__":
    main()
