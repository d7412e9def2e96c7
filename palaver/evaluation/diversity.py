"""How much of what is said is new: distinct-n, self-BLEU, repetition. No model; words are `\\w+`, without case."""

import math
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from typing import Final

_WORD: Final = re.compile(r"\w+")
_ORDER: Final = 4
"""The longest n-grams of BLEU."""

Gram = tuple[str, ...]


def words(text: str) -> list[str]:
    """The words of a text, without case."""
    return _WORD.findall(text.casefold())


def grams(tokens: Sequence[str], size: int) -> list[Gram]:
    """All runs of `size` words."""
    return [tuple(tokens[place : place + size]) for place in range(len(tokens) - size + 1)]


def distinct(texts: Sequence[Sequence[str]], size: int) -> float | None:
    """Different n-grams over all n-grams (Li et al. 2016); None where there are none."""
    found = [gram for tokens in texts for gram in grams(tokens, size)]
    return len(set(found)) / len(found) if found else None


def repetition(texts: Sequence[Sequence[str]], size: int = 3) -> float | None:
    """Share of n-grams that an earlier text had already."""
    seen: set[Gram] = set()
    again = total = 0
    for tokens in texts:
        here = grams(tokens, size)
        again += sum(gram in seen for gram in here)
        total += len(here)
        seen.update(here)
    return again / total if total else None


def self_bleu(texts: Sequence[Sequence[str]]) -> float | None:
    """Mean BLEU-4 of each text against all others, 0 (nothing shared) to 1 (Zhu et al. 2018).

    n-grams above one word are smoothed by adding 1 (Lin and Och 2004). None for fewer than two texts with words.
    """
    texts = [tokens for tokens in texts if tokens]
    if len(texts) < 2:
        return None
    counts = [[Counter(grams(tokens, size)) for tokens in texts] for size in range(1, _ORDER + 1)]
    most = [_two_most(of_size) for of_size in counts]
    lengths = sorted(len(tokens) for tokens in texts)
    scores = []
    for number, tokens in enumerate(texts):
        logs = [
            _log_precision(counts[size][number], most[size], number, smooth=size > 0)
            for size in range(min(_ORDER, len(tokens)))
        ]
        reference = _closest(lengths, len(tokens))
        brevity = min(0.0, 1 - reference / len(tokens))
        scores.append(math.exp(sum(logs) / len(logs) + brevity) if logs[0] > -math.inf else 0.0)
    return sum(scores) / len(scores)


def _two_most(texts: Sequence[Counter[Gram]]) -> dict[Gram, tuple[int, int, int]]:
    """For each n-gram: the text that has it most often, how often, and how often another has it at most."""
    most: dict[Gram, tuple[int, int, int]] = {}
    for number, counted in enumerate(texts):
        for gram, count in counted.items():
            whose, first, second = most.get(gram, (-1, 0, 0))
            most[gram] = (number, count, first) if count > first else (whose, first, max(second, count))
    return most


def _log_precision(
    counted: Counter[Gram], most: dict[Gram, tuple[int, int, int]], number: int, *, smooth: bool
) -> float:
    """Logarithm of the share of n-grams that some other text has as often."""
    found = 0
    for gram, count in counted.items():
        whose, first, second = most[gram]
        found += min(count, second if whose == number else first)
    total = counted.total()
    share = (found + smooth) / (total + smooth)
    return math.log(share) if share else -math.inf


def _closest(lengths: Sequence[int], length: int) -> int:
    """The length nearest to `length` among the others of `lengths` (sorted); the shorter of two as near."""
    place = bisect_left(lengths, length)
    others = [*lengths[max(place - 1, 0) : place], *lengths[place + 1 : place + 2]]
    return min(others, key=lambda other: (abs(other - length), other))
