"""The tiny model's trainer, run as a user runs it, and the corpus that it is fed with."""

import hashlib
import itertools
import multiprocessing
import os
import pathlib
import re
import subprocess
import sys
import threading
import types
from collections.abc import Iterator
from random import Random

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # scripts, not a package

import tiny_batches  # noqa: E402
import tiny_figures  # noqa: E402
import tiny_grammar  # noqa: E402
import tiny_lexicon  # noqa: E402
import tiny_words  # noqa: E402
import train_tiny  # noqa: E402


def documents(count: int, seed: int = 1) -> list[tiny_grammar.Document]:
    words = tiny_words.Words(Random(seed))
    return [tiny_grammar.document(words.random, words) for _ in range(count)]


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Training sets torch to one thread; afterwards it has as many as before."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def trained(out: pathlib.Path, seed: int) -> str:
    """Train by one worker for three steps from the shipped weights; returns the digest of what comes of them."""
    tokenizer, model = train_tiny.load(train_tiny.OUT)
    size = sum(parameter.numel() for parameter in model.parameters())
    team = train_tiny.Team(torch.zeros(1, size), multiprocessing.get_context("spawn").Barrier(1))
    train_tiny.work(0, train_tiny.Plan(out, None, seed=seed, steps=3), team, tokenizer, model)
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.system
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("one_thread")
def test_the_same_seed_gives_the_same_weights_to_the_bit(tmp_path: pathlib.Path) -> None:
    first = trained(tmp_path / "a", 7)
    assert first == trained(tmp_path / "b", 7)
    assert first != trained(tmp_path / "c", 8)


@pytest.mark.system
@pytest.mark.timeout(600)
def test_the_command_makes_a_checkpoint_that_can_be_loaded(tmp_path: pathlib.Path) -> None:
    """Two workers, one step; the tokenizer is the same as one made here."""
    command = [sys.executable, "tools/train_tiny.py", "--out", str(tmp_path), "--steps", "1", "--samples", "0"]
    ended = subprocess.run(command, cwd=ROOT, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"step +1 of 1  loss \d+\.\d+ +\d+\.\d min gone, +0\.0 left", ended.stdout)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(tmp_path, dtype="auto")
    assert model.config.vocab_size == len(tokenizer) == train_tiny.PIECES
    assert tokenizer.get_vocab() == train_tiny.make_tokenizer(7).get_vocab()
    assert model.dtype == torch.float16


@pytest.mark.parametrize(("length", "mean"), [(0.1, 0.2), (100.0, 3**-0.5)])
def test_workers_take_the_mean_of_their_gradients_cut_to_a_length_of_one(length: float, mean: float) -> None:
    pair = [torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)]
    for layer, times in zip(pair, (1, 3), strict=True):
        for parameter in layer.parameters():
            parameter.grad = torch.full_like(parameter, length * times)
    team = train_tiny.Team(torch.zeros(2, 3), multiprocessing.get_context("spawn").Barrier(2))
    other = threading.Thread(target=team.mean, args=(1, list(pair[1].parameters())))
    other.start()
    team.mean(0, list(pair[0].parameters()))
    other.join()
    gradients = [p.grad for layer in pair for p in layer.parameters()]
    assert all(torch.allclose(g, torch.tensor(mean)) for g in gradients if g is not None)
    assert None not in gradients


def test_each_weight_is_changed_by_one_worker() -> None:
    model = train_tiny.load(train_tiny.OUT)[1]
    shares = [train_tiny.optimizers(model, slice(rank, None, 2)) for rank in range(2)]
    changed = [p for share in shares for optimizer, _ in share for g in optimizer.param_groups for p in g["params"]]
    assert sorted(map(id, changed)) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize("length", [7, 128, 300])
def test_attention_in_blocks_is_the_attention_of_torch(length: int) -> None:
    query, key, value = torch.randn(3, 2, 5, length, 32, generator=torch.Generator().manual_seed(1))
    scale = types.SimpleNamespace(scaling=32**-0.5)
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
    mixed = train_tiny.attend(scale, query, key, value)[0].transpose(1, 2)
    assert torch.allclose(mixed.float(), expected, atol=0.03)
    assert not torch.allclose(mixed[:, :, 1:].float(), expected[:, :, :-1], atol=0.03)


def test_the_trained_tokens_are_those_of_the_chat_template() -> None:
    tokenizer = AutoTokenizer.from_pretrained(train_tiny.OUT)
    batch = documents(40)
    for document, example in zip(batch, tiny_batches.Encoder(tokenizer).encode(batch), strict=True):
        messages = [{"role": turn.role, "content": turn.content} for turn in document.turns]
        assert example.ids == tokenizer.apply_chat_template(messages)["input_ids"]
        assert len(example.weights) == len(example.ids)


def test_names_and_topics_from_before_weigh_more_and_nothing_else_does() -> None:
    tokenizer = AutoTokenizer.from_pretrained(train_tiny.OUT)
    turns = [tiny_grammar.Turn("assistant", (("", "So, Quorbel balls now.", 0.5),), ("Quorbel",))]
    example = tiny_batches.Encoder(tokenizer).encode([tiny_grammar.Document("drill", "sage", turns, "Quorbel")])[0]
    heavy = [i for i, weight in zip(example.ids, example.weights, strict=True) if weight > 0.5]
    assert tokenizer.decode(heavy) == " Quorbel"
    assert set(example.weights) == {0.0, 0.5, 0.5 * tiny_batches.COPY_WEIGHT}


def test_a_batch_has_one_of_few_shapes_and_costs_about_the_same() -> None:
    encoder = tiny_batches.Encoder(AutoTokenizer.from_pretrained(train_tiny.OUT))
    for ids, weights in itertools.islice(tiny_batches.batches(encoder, 1, slice(0, None, 1), drills=256), 40):
        length = ids.shape[1] - 1
        assert ids.shape == weights.shape == (tiny_batches.rows(length), length + 1)
        assert length % tiny_batches.STRIDE == 0
        assert 0.6 < ids.numel() * (1 + length / tiny_batches.ATTENTION) / tiny_batches.BATCH_COST < 1.4


def test_workers_get_examples_of_their_own_in_batches_of_the_same_shape() -> None:
    encoder = tiny_batches.Encoder(AutoTokenizer.from_pretrained(train_tiny.OUT))
    mine, other = (tiny_batches.batches(encoder, 1, slice(rank, None, 2), drills=0) for rank in range(2))
    for (ids, _), (others, _) in itertools.islice(zip(mine, other, strict=True), 20):
        assert ids.shape == others.shape
        assert not ids.equal(others)


def test_the_corpus_follows_from_its_seed() -> None:
    assert documents(50, seed=3) == documents(50, seed=3) != documents(50, seed=4)


def test_own_lines_bear_no_label_and_others_always_do() -> None:
    for document in documents(200):
        if document.kind not in ("group", "first", "pass"):
            continue
        for turn in document.turns[1:]:
            assert all(bool(label) == (turn.role == "user") for label, _, _ in turn.pieces)


def test_what_is_learnt_can_be_known_from_what_was_seen() -> None:
    for document in documents(300):
        *before, last = document.turns
        text, weight = last.pieces[-1][1:]
        if document.kind in ("group", "first") and weight and document.topic in text:
            assert any(document.topic in turn.content for turn in before)


def test_silence_is_learnt_only_after_the_moderator_asked_for_it() -> None:
    for document in documents(400):
        passes = [turn for turn in document.turns if turn.content == tiny_lexicon.PASS]
        assert len(passes) == (document.kind == "pass")


def test_every_persona_is_told_by_its_own_markers() -> None:
    for kind, persona in tiny_grammar.PERSONAS_AND_USER.items():
        for line in (*persona.bodies, *persona.asks):
            plain = line.replace("{T}", "x").replace("{N}", "x").replace("{K}", "x").replace("{Q}", "x")
            assert tiny_figures.style_of(plain) == kind, line


def test_names_and_topics_kept_for_measuring_are_not_in_the_corpus() -> None:
    from tiny_topics import NAMES, TOPICS, UNSEEN_NAMES, UNSEEN_TOPICS

    assert not set(TOPICS) & set(UNSEEN_TOPICS)
    assert not set(NAMES) & set(UNSEEN_NAMES)


@pytest.mark.parametrize("unseen", [False, True])
def test_names_and_topics_stay_on_one_line_and_have_no_personas_mark(unseen: bool) -> None:
    words = tiny_words.Words(Random(1), unseen=unseen)
    assert not any("\n" in drawn for _ in range(500) for drawn in (words.topic(), words.name()))
    assert all(tiny_figures.style_of(word) is None for word in tiny_words.ENGLISH)


def test_garbled_words_and_foreign_labels_are_seen() -> None:
    document = tiny_grammar.Document("group", "sage", [], "tea", ("Mira", "Moderator"))
    prompt = tiny_figures.text_of([{"role": "user", "content": "Moderator: tea?\nQuorbel: Yes."}])
    assert tiny_figures.foreign_words("The river of tea, Quorbel.", prompt) == []
    assert tiny_figures.foreign_words("The river of tae.", "tea") == ["tae"]
    assert tiny_figures.has_label("Yes.\nMira: no.", document)
    assert not tiny_figures.has_label("Yes, Mira: no.", document)
