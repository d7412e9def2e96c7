"""How much of what is said is new."""

import random

import pytest

from palaver.evaluation import diversity


def test_words_are_without_case_and_signs() -> None:
    assert diversity.words("Hello, WORLD! it's") == ["hello", "world", "it", "s"]


def test_distinct_counts_different_runs_of_words_over_all() -> None:
    assert diversity.distinct([["a", "b", "a"], ["b"]], 1) == 2 / 4
    assert diversity.distinct([["a", "b", "a", "b"]], 2) == 2 / 3
    assert diversity.distinct([["a"]], 2) is None


def test_repetition_is_what_an_earlier_text_had_already() -> None:
    assert diversity.repetition([["a", "b", "c"], ["a", "b", "c", "d"]]) == 1 / 3
    assert diversity.repetition([["a", "b", "c"]]) == 0
    assert diversity.repetition([["a"]]) is None


def test_self_bleu_is_one_for_the_same_words_and_nought_for_others() -> None:
    same = ["one", "two", "three", "four", "five"]
    assert diversity.self_bleu([same, same, same]) == pytest.approx(1)
    assert diversity.self_bleu([["a", "b"], ["c", "d"]]) == 0
    assert diversity.self_bleu([same]) is None


def test_self_bleu_is_the_mean_of_sacrebleus_sentence_scores() -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    draw = random.Random(7)
    texts = [[draw.choice("abcdefg") for _ in range(draw.randint(4, 12))] for _ in range(9)]
    lines = [" ".join(text) for text in texts]
    scores = [
        sacrebleu.sentence_bleu(
            line, lines[:place] + lines[place + 1 :], smooth_method="add-k", smooth_value=1, tokenize="none"
        ).score
        for place, line in enumerate(lines)
    ]
    assert diversity.self_bleu(texts) == pytest.approx(sum(scores) / len(scores) / 100, abs=1e-6)
