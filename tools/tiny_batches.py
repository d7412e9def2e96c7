"""The tiny model's corpus as tensors: documents to token ids with a weight for each, in batches that take as long."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import torch
from tiny_grammar import Document, document, drill
from tiny_words import Words
from torch import Tensor
from transformers import PreTrainedTokenizerFast

CONTEXT = 1024
AT_ONCE = 256
"""Documents that are made at a time."""
STRIDE = 32
"""A row's length is a multiple of this and each length has its number of rows: a matrix product of a shape that was not
seen yet takes long, for its code is made first."""
BATCH_COST = 1700
"""A token costs 1, and 1 more for each `ATTENTION` tokens of its row: attention looks back at all of them."""
ATTENTION = 900
COPY_WEIGHT = 2.5
"""Names and topics taken from before are few among the tokens, and the hardest to learn."""


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
        encoded = self.inner.encode_batch(texts, add_special_tokens=False)
        known = {text: (encoding.ids, encoding.offsets) for text, encoding in zip(texts, encoded, strict=True)}
        known[""] = [], []
        return [self._example(d, known) for d in documents]

    def _example(self, document: Document, known: dict[str, tuple[list[int], list[tuple[int, int]]]]) -> Example:
        ids: list[int] = []
        weights: list[float] = []

        def add(new: list[int], new_weights: list[float]) -> None:
            ids.extend(new)
            weights.extend(new_weights)

        for turn in document.turns:
            add([self.headers[turn.role]], [0.0])
            for i, (label, text, weight) in enumerate(turn.pieces):
                before, (new, offsets) = ([self.newline] if i else []) + known[label][0], known[text]
                add(before, [0.0] * len(before))
                add(new, weigh(text, offsets, turn.copied, weight))
            add([self.end], [weight if turn.role == "assistant" else 0.0])
        return Example(ids, weights)


def weigh(text: str, offsets: list[tuple[int, int]], copied: tuple[str, ...], weight: float) -> list[float]:
    """Each token's weight, greater within the words that are copied from before."""
    starts = [(text.find(word), len(word)) for word in copied] if weight else []
    spans = [(start, start + length) for start, length in starts if start >= 0]
    return [
        weight * (COPY_WEIGHT if any(first < end and start < last for start, end in spans) else 1.0)
        for first, last in offsets
    ]


def batches(encoder: Encoder, seed: int, share: slice, *, drills: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches of examples of like length: (ids, weights).

    Each worker's `share` starts at its own number and its step is the number of workers: at one time all of them get
    batches of one shape, so that none waits for the others. The first `drills` examples are words to repeat and nothing
    else: so copying is there when the conversations begin.
    """
    words = Words(Random(seed))
    waiting: dict[int, list[Example]] = {}
    for number in itertools.count():
        make = drill if number * AT_ONCE < drills else document
        for example in encoder.encode([make(words.random, words) for _ in range(AT_ONCE)]):
            length = math.ceil((len(example.ids) - 1) / STRIDE) * STRIDE
            if length <= CONTEXT:
                alike = waiting.setdefault(length, [])
                alike.append(example)
                if len(alike) == rows(length) * share.step:
                    yield pad(waiting.pop(length)[share], length + 1)


def rows(length: int) -> int:
    """How many rows of one length a batch has."""
    return max(1, round(BATCH_COST / (length * (1 + length / ATTENTION))))


def pad(examples: list[Example], length: int) -> tuple[Tensor, Tensor]:
    ids = [e.ids + [0] * (length - len(e.ids)) for e in examples]
    weights = [e.weights + [0.0] * (length - len(e.weights)) for e in examples]
    return torch.tensor(ids), torch.tensor(weights)
