"""From logits to a token: greedy, or drawn with a number of the reply's own, whatever else is in the batch."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

_MOST_LIKELY = 1024
"""Nucleus sampling sorts this many candidates first, the whole vocabulary only if they do not suffice."""
_AT_ONCE = 2**16
"""Probabilities that are summed up at once: four times as many no longer fit a cache and take twenty times as long."""


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
    def is_plain(self) -> bool:
        """Drawn from the whole vocabulary as the model has it, at some temperature."""
        return not self.is_greedy and not self.is_narrowed and self.repetition_penalty == 1.0


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

    def draw(self, logits: torch.Tensor, seen: Sequence[int]) -> torch.Tensor:
        """The next token, as a tensor of no dimensions; `logits` is one row `[vocabulary]`, `seen` the prompt's end."""
        sampling = self.sampling
        logits = logits.float()
        if sampling.repetition_penalty != 1.0 and seen:
            logits = _less_repeated(logits, seen, sampling.repetition_penalty)
        if sampling.is_greedy:
            return logits.argmax()
        uniform = self.uniform()
        if not sampling.is_narrowed:
            return _pick(torch.softmax(logits / sampling.temperature, -1), uniform)
        values, tokens = _candidates(logits / sampling.temperature, sampling)
        return tokens[_pick(torch.softmax(values, -1), uniform)]


Due = tuple[Sampler, torch.Tensor, Sequence[int]]
"""A sampler, its logits and what it has seen."""


def draw_all(due: Sequence[Due]) -> list[int]:
    """A token for each; plain ones are drawn in one go, which among sixteen takes a third of the time."""
    plain = [place for place, (sampler, _, _) in enumerate(due) if sampler.sampling.is_plain]
    others = [place for place, (sampler, _, _) in enumerate(due) if not sampler.sampling.is_plain]
    drawn: dict[int, int] = {}
    at_once = max(1, _AT_ONCE // due[0][1].shape[-1]) if due else 1
    for start in range(0, len(plain), at_once):
        places = plain[start : start + at_once]
        drawn |= zip(places, _draw_plain([due[place] for place in places]).tolist(), strict=True)
    if others:
        tokens = [sampler.draw(logits, seen) for sampler, logits, seen in (due[place] for place in others)]
        drawn |= zip(others, torch.stack(tokens).tolist(), strict=True)
    return [drawn[place] for place in range(len(due))]


def _draw_plain(due: Sequence[Due]) -> torch.Tensor:
    logits = torch.stack([row for _, row, _ in due]).float()
    temperatures = logits.new_tensor([sampler.sampling.temperature for sampler, _, _ in due])
    uniform = torch.tensor([sampler.uniform() for sampler, _, _ in due], dtype=_sum_type(logits), device=logits.device)
    return _pick(torch.softmax(logits / temperatures[:, None], -1), uniform[:, None])


def _pick(probabilities: torch.Tensor, uniform: torch.Tensor | float) -> torch.Tensor:
    """The place in each row where the running sum passes `uniform` (inverse of the cumulative distribution)."""
    sums = probabilities.cumsum(-1, dtype=_sum_type(probabilities))
    place = torch.searchsorted(sums, sums[..., -1:] * uniform, right=True)
    return place.clamp(max=sums.shape[-1] - 1)[..., 0]


def _sum_type(tensor: torch.Tensor) -> torch.dtype:
    return torch.float32 if tensor.device.type == "mps" else torch.float64


def _candidates(scaled: torch.Tensor, sampling: Sampling) -> tuple[torch.Tensor, torch.Tensor]:
    """The logits that may be drawn, likeliest first, and their tokens."""
    size = len(scaled)
    probabilities = torch.softmax(scaled, -1)
    count = min(size, sampling.top_k) if sampling.top_k > 0 else min(size, _MOST_LIKELY)
    likely, tokens = probabilities.topk(count)
    if sampling.top_k <= 0 and count < size and float(likely.sum()) < min(sampling.top_p, 1.0):
        likely, tokens = probabilities.sort(descending=True)
    kept = likely / likely.sum() if sampling.top_k > 0 else likely
    allowed = kept.cumsum(-1) - kept < sampling.top_p
    allowed &= likely >= sampling.min_p * likely[0]
    allowed[0] = True
    return scaled[tokens[allowed]], tokens[allowed]


def _less_repeated(logits: torch.Tensor, seen: Sequence[int], penalty: float) -> torch.Tensor:
    """Logits of tokens that were said already, moved down by `penalty` (CTRL, arXiv:1909.05858)."""
    places = torch.tensor(sorted(set(seen)), device=logits.device)
    logits = logits.clone()
    values = logits[places]
    logits[places] = torch.where(values > 0, values / penalty, values * penalty)
    return logits
