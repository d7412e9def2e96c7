"""From logits to a token: greedy, or drawn with a number of the reply's own, whatever else is in the batch."""

import random
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

_MOST_LIKELY = 1024
"""Nucleus sampling sorts this many candidates first, the whole vocabulary only if they do not suffice."""
_AT_ONCE = 2**16
"""Probabilities that a processor sums up at once: four times as many no longer fit a cache and take twenty times as
long. A card sums up all."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn. 0 or 1 switches a filter off: `top_k` 0, `top_p` 1, `min_p` 0, `repetition_penalty` 1."""

    temperature: float = 0.7
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    seed: int = 0

    @property
    def is_greedy(self) -> bool:
        """Temperature 0: always the likeliest token."""
        return self.temperature <= 0

    @property
    def is_narrowed(self) -> bool:
        """Drawn from a part of the vocabulary only."""
        return self.top_k > 0 or self.top_p < 1 or self.min_p > 0

    @property
    def candidates(self) -> int:
        """How many of the likeliest are looked at."""
        return self.top_k if self.top_k > 0 else _MOST_LIKELY


class Sampler:
    """Draws the tokens of one reply: one uniform number a token from a generator seeded for this reply alone.

    The numbers do not depend on the batch or the device. The probabilities do in their last bits (a matrix product
    over three rows adds up in another order than over one), so the same seed may give another token where two
    candidates meet within that rounding; in bfloat16 that happens, in float32 hardly ever.
    """

    def __init__(self, sampling: Sampling) -> None:
        self.sampling = sampling
        self._random = random.Random(sampling.seed)

    def uniform(self) -> float:
        """The number that decides about the next token."""
        return self._random.random()


Due = tuple[Sampler, Sequence[int]]
"""A sampler and the tokens that it has seen: prompt and reply so far."""
Draw = Callable[[torch.Tensor, Sequence[Sampler]], list[int]]
"""A token for each row of logits."""


def draw_all(logits: torch.Tensor, due: Sequence[Due]) -> list[int]:
    """The next token of each, from logits `[len(due), vocabulary]`.

    Those that are drawn alike are drawn in one go: among sixteen it takes a third of the time, on a card less.
    """
    logits = logits.float()
    if any(sampler.sampling.repetition_penalty != 1.0 for sampler, _ in due):
        logits = _less_repeated(logits, due)
    alike: defaultdict[tuple[Draw, int], list[int]] = defaultdict(list)
    for place, (sampler, _) in enumerate(due):
        alike[_way(sampler.sampling)].append(place)
    drawn: dict[int, int] = {}
    for (draw, _), places in alike.items():
        at_once = len(places) if logits.device.type != "cpu" else max(1, _AT_ONCE // logits.shape[-1])
        for start in range(0, len(places), at_once):
            some = places[start : start + at_once]
            rows = logits if len(some) == len(due) else logits[some]
            drawn |= zip(some, draw(rows, [due[place][0] for place in some]), strict=True)
    return [drawn[place] for place in range(len(due))]


def _way(sampling: Sampling) -> tuple[Draw, int]:
    """How it is drawn, and among how many candidates; those with the same answer go together."""
    if sampling.is_greedy:
        return _draw_greedy, 0
    return (_draw_narrowed, sampling.candidates) if sampling.is_narrowed else (_draw_plain, 0)


def _draw_greedy(logits: torch.Tensor, samplers: Sequence[Sampler]) -> list[int]:
    return [int(token) for token in logits.argmax(-1).tolist()]


def _draw_plain(logits: torch.Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """From the whole vocabulary as the model has it, at some temperature."""
    probabilities = torch.softmax(logits / _column(logits, [s.sampling.temperature for s in samplers]), -1)
    return [int(token) for token in _pick(probabilities, [s.uniform() for s in samplers])[:, 0].tolist()]


def _draw_narrowed(logits: torch.Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """From the likeliest; from the whole vocabulary, sorted, where a nucleus is larger than what was looked at."""
    uniform = [sampler.uniform() for sampler in samplers]
    tokens, is_short = _draw_among(logits, samplers, uniform, samplers[0].sampling.candidates)
    short = [place for place, flag in enumerate(is_short) if flag]
    if short:
        again = [samplers[place] for place in short], [uniform[place] for place in short]
        for place, token in zip(short, _draw_among(logits[short], *again, logits.shape[-1])[0], strict=True):
            tokens[place] = token
    return tokens


def _draw_among(
    logits: torch.Tensor, samplers: Sequence[Sampler], uniform: Sequence[float], candidates: int
) -> tuple[list[int], list[bool]]:
    """A token for each among so many of its likeliest, and whether those do not fill its nucleus."""
    settings = [sampler.sampling for sampler in samplers]
    scaled = logits / _column(logits, [each.temperature for each in settings])
    top_p = _column(logits, [each.top_p for each in settings])
    min_p = _column(logits, [each.min_p for each in settings])
    likely, tokens = torch.softmax(scaled, -1).topk(min(candidates, logits.shape[-1]))
    total = likely.sum(-1, keepdim=True)
    is_cut = _column(logits, [float(each.top_k > 0) for each in settings]) > 0
    kept = torch.where(is_cut, likely / total, likely)
    allowed = (kept.cumsum(-1) - kept < top_p) & (likely >= min_p * likely[:, :1])
    allowed[:, 0] = True
    values = scaled.gather(-1, tokens).masked_fill(~allowed, -torch.inf)
    drawn = tokens.gather(-1, _pick(torch.softmax(values, -1), uniform))
    is_short = (total < top_p) & ~is_cut & (tokens.shape[-1] < logits.shape[-1])
    found = torch.cat([drawn, is_short], -1).tolist()  # one wait for the card instead of two
    return [int(token) for token, _ in found], [bool(flag) for _, flag in found]


def _column(like: torch.Tensor, numbers: Sequence[float]) -> torch.Tensor:
    return like.new_tensor(numbers)[:, None]


def _pick(probabilities: torch.Tensor, uniform: Sequence[float]) -> torch.Tensor:
    """The place in each row, `[n, 1]`, where the running sum passes `uniform` (inverse transform sampling)."""
    dtype = torch.float32 if probabilities.device.type == "mps" else torch.float64
    sums = probabilities.cumsum(-1, dtype=dtype)
    reached = torch.tensor(uniform, dtype=dtype, device=sums.device)[:, None] * sums[:, -1:]
    return torch.searchsorted(sums, reached, right=True).clamp(max=sums.shape[-1] - 1)


def _less_repeated(logits: torch.Tensor, due: Sequence[Due]) -> torch.Tensor:
    """Logits of tokens that were said already, moved down by the penalty (CTRL, arXiv:1909.05858)."""
    logits = logits.clone()
    for row, (sampler, seen) in zip(logits, due, strict=True):
        penalty = sampler.sampling.repetition_penalty
        if penalty != 1.0 and seen:
            places = torch.tensor(sorted(set(seen)), device=logits.device)
            values = row[places]
            row[places] = torch.where(values > 0, values / penalty, values * penalty)
    return logits
