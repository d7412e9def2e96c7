"""Tokens are drawn by the logits, the filters and the reply's own numbers."""

import math
from collections import Counter

import pytest
import torch

from palaver.models.engine.sampling import Sampler, Sampling, draw_all


def drawn(logits: list[float], count: int = 2000, **settings: float) -> Counter[int]:
    sampler = Sampler(Sampling(**{"temperature": 1.0, "seed": 5, **settings}))  # type: ignore[arg-type]  # by name
    return Counter(draw_all(torch.tensor([logits]), [(sampler, [])])[0] for _ in range(count))


def test_temperature_zero_takes_the_likeliest() -> None:
    assert drawn([0.1, 0.3, 0.2], 5, temperature=0.0) == {1: 5}


def test_frequencies_follow_the_probabilities() -> None:
    counts = drawn([math.log(0.5), math.log(0.3), math.log(0.2)], 4000)
    assert [counts[token] / 4000 for token in range(3)] == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_a_high_temperature_flattens() -> None:
    assert drawn([2.0, 0.0], temperature=10.0)[1] > 3 * drawn([2.0, 0.0], temperature=0.5)[1]


def test_top_k_leaves_the_k_likeliest() -> None:
    assert set(drawn([1.0, 0.9, 0.8, 0.7], top_k=2)) == {0, 1}


def test_top_p_leaves_the_smallest_nucleus() -> None:
    logits = [math.log(share) for share in (0.1, 0.6, 0.3)]
    assert set(drawn(logits, top_p=0.6)) == {1}
    assert set(drawn(logits, top_p=0.61)) == {1, 2}


def test_top_p_looks_at_the_whole_vocabulary_when_it_must() -> None:
    assert len(drawn([0.0] * 1500, 1300, top_p=0.99)) > 600


def test_min_p_leaves_out_what_is_far_below_the_best() -> None:
    assert set(drawn([math.log(0.6), math.log(0.35), math.log(0.05)], min_p=0.1)) == {0, 1}


def test_repeated_tokens_are_moved_down() -> None:
    sampler = Sampler(Sampling(temperature=0.0, repetition_penalty=2.0))
    assert draw_all(torch.tensor([[1.0, 0.9, -1.0]]), [(sampler, [0, 2])]) == [1]


def test_a_seed_repeats_and_another_one_differs() -> None:
    def sequence(seed: int) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, seed=seed))
        return [draw_all(torch.zeros(1, 50), [(sampler, [])])[0] for _ in range(20)]

    assert sequence(1) == sequence(1) != sequence(2)


def test_tokens_without_probability_are_never_drawn() -> None:
    assert set(drawn([-math.inf, 0.0, -math.inf, 0.0, -math.inf])) == {1, 3}


def test_what_is_drawn_together_is_what_each_would_draw_alone() -> None:
    settings: list[dict[str, float]] = [
        {"temperature": 0.7},
        {"temperature": 0.0},
        {"top_k": 5},
        {"top_k": 1},
        {},
        {"min_p": 0.1},
        {"top_p": 0.95, "temperature": 3.0},
        {"repetition_penalty": 1.3, "top_k": 5},
    ] * 3
    together, alone = (
        [Sampler(Sampling(**{"seed": seed, **one})) for seed, one in enumerate(settings)]  # type: ignore[arg-type]  # by name
        for _ in range(2)
    )
    generator = torch.Generator().manual_seed(7)
    for _ in range(50):
        logits = torch.randn(len(settings), 3000, generator=generator)
        seen = list(range(0, 3000, 7))
        expected = [draw_all(row[None], [(sampler, seen)])[0] for sampler, row in zip(alone, logits, strict=True)]
        assert draw_all(logits, [(sampler, seen) for sampler in together]) == expected
