"""The embedded model as it ships: size, tokens, and how it behaves in a room."""

import pathlib
import re
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from palaver.core.message import Message, Role
from palaver.core.prompt import own_words, seen_by
from palaver.models import tiny

PROMPTS = pathlib.Path(__file__).resolve().parents[2] / "prompts"
CAST = {"Zen Sage": "sage", "TinkerBot": "inventor", "Researcher": "researcher"}
SPECIALS = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]


class Tiny:
    """The loaded checkpoint and a greedy reply."""

    def __init__(self) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(tiny.path(), local_files_only=True)
        self.model: Any = AutoModelForCausalLM.from_pretrained(
            tiny.path(), local_files_only=True, dtype=torch.float32
        ).eval()

    def reply(self, messages: list[dict[str, str]], temperature: float) -> tuple[str, bool]:
        """The text, and whether the turn ended by itself; greedy at temperature 0."""
        sampling = {"do_sample": True, "temperature": temperature} if temperature else {"do_sample": False}
        inputs = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        with torch.inference_mode():
            output = self.model.generate(**inputs, max_new_tokens=80, **sampling)
        new = output[0, inputs["input_ids"].shape[1] :].tolist()
        return self.tokenizer.decode(new, skip_special_tokens=True).strip(), new[-1] == self.tokenizer.eos_token_id


@pytest.fixture(scope="module")
def loaded() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Tiny()
    torch.set_num_threads(threads)


class Talk:
    """A room's messages, and its replies by the tiny model under the shipped personalities."""

    def __init__(self, loaded: Tiny, temperature: float = 0.0) -> None:
        self.loaded, self.messages, self.temperature = loaded, list[Message](), temperature

    def say(self, sender: str, content: str, role: Role = "moderator") -> None:
        number = len(self.messages) + 1
        message = Message(
            room="main", seq=number, id=str(number), sender=sender, role=role, content=content, timestamp=""
        )
        self.messages.append(message)

    def let(self, name: str, persona: str | None = None) -> tuple[str, bool]:
        text = (PROMPTS / f"{persona or CAST[name]}.txt").read_text(encoding="utf-8").strip()
        prompt = seen_by(name, self.messages, persona=text, history=10)
        reply, ended = self.loaded.reply(prompt.messages, self.temperature)
        self.say(name, reply, "model")
        return reply, ended


def test_the_package_data_stays_within_three_megabytes_in_half_precision(loaded: Tiny) -> None:
    files = [file for file in tiny.path().iterdir() if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 3_000_000
    assert {"config.json", "generation_config.json", "tokenizer.json", "MODEL_CARD.md"} <= {f.name for f in files}
    assert AutoModelForCausalLM.from_pretrained(tiny.path(), dtype="auto").dtype == torch.float16


def test_it_is_a_llama_with_tied_embeddings_and_a_context_of_at_least_1024(loaded: Tiny) -> None:
    config = loaded.model.config
    assert config.model_type == "llama"
    assert config.tie_word_embeddings
    assert config.max_position_embeddings >= 1024
    assert 1_000_000 <= sum(p.numel() for p in loaded.model.parameters()) <= 1_500_000


def test_the_tokenizer_gives_back_any_text_behind_its_opening_blank(loaded: Tiny) -> None:
    assert loaded.tokenizer.model_input_names == ["input_ids", "attention_mask"]
    for text in ("Hello, Zen Sage!", "two\nlines", "a\n\n 1. list", "naïve 漢字 🦊", "x  =  42\tend"):
        ids = loaded.tokenizer(text)["input_ids"]
        assert loaded.tokenizer.decode(ids) == " " + text


def test_a_word_is_the_same_pieces_at_the_start_of_a_line_and_within_it(loaded: Tiny) -> None:
    alone = loaded.tokenizer("Quorbel")["input_ids"]
    within = loaded.tokenizer("hear\nQuorbel and Quorbel")["input_ids"]
    assert str(alone)[1:-1] in str(within)
    assert within[-len(alone) :] == alone


def test_special_tokens_are_single_and_can_be_kept_out_of_user_text(loaded: Tiny) -> None:
    for token in SPECIALS:
        special = loaded.tokenizer.convert_tokens_to_ids(token)
        assert loaded.tokenizer(token)["input_ids"] == [special]
        assert special not in loaded.tokenizer(token, split_special_tokens=True)["input_ids"]


def test_earlier_turns_keep_their_tokens_when_the_conversation_goes_on(loaded: Tiny) -> None:
    talk = [{"role": "system", "content": "You are Bo."}, {"role": "user", "content": "Al: hi\nCy: hey"}]
    before = loaded.tokenizer.apply_chat_template(talk, add_generation_prompt=True)["input_ids"]
    talk.append({"role": "assistant", "content": "Hello, Al."})
    after = loaded.tokenizer.apply_chat_template(talk)["input_ids"]
    assert after[: len(before)] == before


def test_three_personas_talk_with_turn_ends_and_no_line_of_another_speaker(loaded: Tiny) -> None:
    talk = Talk(loaded)
    talk.say("Moderator", "What do you think about tea?")
    said: dict[str, list[str]] = {name: [] for name in CAST}
    for _ in range(4):
        for name in CAST:
            reply, ended = talk.let(name)
            assert ended
            assert reply
            assert own_words(reply, name, ["Moderator", *CAST]) == (reply, False)
            said[name].append(reply)
    assert "tea" in said["Zen Sage"][0]


def test_at_its_usual_temperature_it_seldom_says_a_line_twice(loaded: Tiny) -> None:
    """At temperature 0 it does repeat itself; the model card says so."""
    torch.manual_seed(1)
    talk = Talk(loaded, temperature=0.7)
    talk.say("Moderator", "What do you think about tea?")
    said = [talk.let(name)[0] for _ in range(4) for name in CAST]
    assert len(set(said)) >= 10


def test_the_personality_file_makes_the_style(loaded: Tiny) -> None:
    first = {}
    for name in CAST:
        talk = Talk(loaded)
        talk.say("Moderator", "Let us talk about music.")
        first[name] = talk.let(name)[0]
    assert len(set(first.values())) == len(CAST)
    assert re.search("gadget|machine|prototype|workshop|robot|screwdriver|wired|device|solder", first["TinkerBot"])
    assert re.search("evidence|stud|data|literature|finding", first["Researcher"], re.IGNORECASE)


def test_it_is_silent_after_no_replies_until_it_is_cleared(loaded: Tiny) -> None:
    talk = Talk(loaded)
    talk.say("Moderator", "What do you think about trains?")
    assert talk.let("Zen Sage")[0] != "[PASS]"
    talk.say("Moderator", "No replies, please.")
    assert talk.let("TinkerBot")[0] == "[PASS]"
    talk.messages.pop()
    talk.say("Moderator", "You may speak again.")
    assert "[PASS]" not in talk.let("TinkerBot")[0]


def test_it_leaves_the_topic_when_the_moderator_changes_it(loaded: Tiny) -> None:
    talk = Talk(loaded)
    talk.say("Moderator", "What do you think about bread?")
    talk.let("Zen Sage")
    talk.say("Moderator", "Now please talk about bridges instead.")
    reply = talk.let("TinkerBot")[0]
    assert "bridges" in reply
    assert "bread" not in reply


def exchanges(loaded: Tiny, seed: int) -> list[str]:
    """What a simulated user says to the sage until it ends, at most eleven times."""
    torch.manual_seed(seed)
    talk = Talk(loaded, temperature=0.7)
    talk.say("Moderator", "Today's topic is music.")
    asked: list[str] = []
    while len(asked) < 11 and not any("[END]" in text for text in asked):
        talk.let("Zen Sage")
        asked.append(talk.let("Curious User", "curious_user")[0])
    return asked


@pytest.mark.timeout(600)
def test_simulated_users_ask_and_can_end_when_satisfied(loaded: Tiny) -> None:
    """Over 42 seeds 34 ended within eleven questions; the bound is a third, for it is a guard and no boast."""
    talks = [exchanges(loaded, seed) for seed in range(12)]
    assert sum("?" in text for asked in talks for text in asked) >= 0.7 * sum(len(asked) - 1 for asked in talks)
    ended = [asked for asked in talks if asked[-1].endswith("[END]")]
    assert len(ended) >= len(talks) / 3
    assert sum(map(len, ended)) / len(ended) >= 3
