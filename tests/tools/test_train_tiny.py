"""The tiny model's trainer, run as a user runs it, and the corpus that it is fed with."""

import hashlib
import os
import pathlib
import subprocess
import sys
from random import Random

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))  # scripts, not a package

import tiny_figures  # noqa: E402
import tiny_grammar  # noqa: E402
import tiny_lexicon  # noqa: E402
import tiny_words  # noqa: E402
import train_tiny  # noqa: E402


def documents(count: int, seed: int = 1) -> list[tiny_grammar.Document]:
    words = tiny_words.Words(Random(seed))
    return [tiny_grammar.document(words.random, words) for _ in range(count)]


def run(out: pathlib.Path, *more: str) -> str:
    """Train for three steps in a process of its own (7 s on a free core); returns the digest of the weights."""
    command = [sys.executable, "tools/train_tiny.py", "--out", str(out), *more]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    subprocess.run(
        [*command, "--steps", "3", "--threads", "1", "--samples", "0"],
        cwd=ROOT,
        env=environment,
        check=True,
        capture_output=True,
    )
    return hashlib.sha256((out / "model.safetensors").read_bytes()).hexdigest()


@pytest.mark.system
@pytest.mark.timeout(600)
def test_three_steps_make_a_loadable_checkpoint_that_the_seed_alone_decides(tmp_path: pathlib.Path) -> None:
    first = run(tmp_path / "a", "--seed", "7")
    assert first == run(tmp_path / "b", "--seed", "7")
    assert first != run(tmp_path / "c", "--start", str(tmp_path / "a"))
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "a")
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "a", dtype="auto")
    assert model.config.vocab_size == len(tokenizer)
    assert (tmp_path / "a" / "tokenizer.json").read_bytes() == (tmp_path / "b" / "tokenizer.json").read_bytes()


def test_the_trained_tokens_are_those_of_the_chat_template() -> None:
    tokenizer = AutoTokenizer.from_pretrained(train_tiny.OUT)
    batch = documents(40)
    for document, example in zip(batch, train_tiny.Encoder(tokenizer).encode(batch), strict=True):
        messages = [{"role": turn.role, "content": turn.content} for turn in document.turns]
        assert example.ids == tokenizer.apply_chat_template(messages)["input_ids"]
        assert len(example.weights) == len(example.ids)


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


def test_garbled_words_and_foreign_labels_are_seen() -> None:
    document = tiny_grammar.Document("group", "sage", [], "tea", ("Mira", "Moderator"))
    assert tiny_figures.foreign_words("The river of tae.", "tea") == ["tae"]
    assert tiny_figures.has_label("Yes.\nMira: no.", document)
    assert not tiny_figures.has_label("Yes, Mira: no.", document)
