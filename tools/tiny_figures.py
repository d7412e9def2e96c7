"""How well the tiny model keeps to the rules of the room: samples replies to conversations that it has not seen."""

import json
import pathlib
import re
import sys
from collections import Counter
from collections.abc import Iterable
from random import Random
from typing import Any

import tiny_lexicon as lexicon
import tiny_topics as stock
import torch
from tiny_grammar import PERSONAS_AND_USER, Document, group
from tiny_words import FILES, Words
from transformers import AutoModelForCausalLM, AutoTokenizer

from palaver.core.message import Message, Role
from palaver.core.prompt import seen_by

LIMIT = 80
LONGEST = 2400
"""Characters of a prompt, so that it stays within the context."""
CAST = {"Zen Sage": "sage", "TinkerBot": "inventor", "Researcher": "researcher"}
ROUNDS = 5
VOCABULARY = set(
    re.findall(
        r"[\w'-]+",
        json.dumps([[p.keys, p.bodies, p.asks] for p in PERSONAS_AND_USER.values()])
        + json.dumps([lexicon.AGREES, lexicon.DISAGREES, lexicon.ANSWERS, lexicon.TURNS])
        + json.dumps([lexicon.GREETS, lexicon.FAREWELLS, lexicon.END, lexicon.PASS]),
    )
)


def style_of(text: str) -> str | None:
    """The persona whose marker words the text has most of; None where it has none."""
    counts = Counter(
        {
            kind: sum(len(re.findall(rf"\b{marker}", text.lower())) for marker in persona.markers)
            for kind, persona in PERSONAS_AND_USER.items()
        }
    )
    kind, count = counts.most_common(1)[0]
    return kind if count else None


def prompt_of(document: Document) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in document.turns[:-1]]


def text_of(prompt: list[dict[str, str]]) -> str:
    return "\n".join(message["content"] for message in prompt)


def foreign_words(reply: str, prompt: str) -> list[str]:
    """Words that neither the grammar knows nor the prompt has: garbled names and topics."""
    known = VOCABULARY | set(re.findall(r"[\w'-]+", prompt))
    return [word for word in re.findall(r"[\w'-]+", reply) if word not in known]


def has_label(reply: str, document: Document) -> bool:
    """Whether somebody's `Name:` stands at the start of a line."""
    return any(line.strip().startswith(f"{name}:") for line in reply.splitlines() for name in document.names)


def replies(
    model: Any, tokenizer: Any, prompts: list[list[dict[str, str]]], temperature: float
) -> list[tuple[str, bool]]:
    """What the model says to each prompt, and whether it ended by itself; batches of like length."""
    found: dict[int, tuple[str, bool]] = {}
    order = sorted(range(len(prompts)), key=lambda i: sum(len(m["content"]) for m in prompts[i]))
    for start in range(0, len(order), 25):
        part = order[start : start + 25]
        inputs = tokenizer.apply_chat_template(
            [prompts[i] for i in part], add_generation_prompt=True, return_tensors="pt", return_dict=True, padding=True
        )
        sampling = {"do_sample": True, "temperature": temperature, "top_k": 0} if temperature else {"do_sample": False}
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=LIMIT, **sampling)
        for i, row in zip(part, output[:, inputs["input_ids"].shape[1] :].tolist(), strict=True):
            text = tokenizer.decode(row, skip_special_tokens=True).strip()
            found[i] = (text, tokenizer.eos_token_id in row)
    return [found[i] for i in range(len(prompts))]


def gather(kind: str, count: int, words: Words, me: str | None = None) -> list[Document]:
    """So many group conversations of one kind (`first`, `group`, `pass`) that end in a line that can be known."""
    found: list[Document] = []
    while len(found) < count:
        document = group(words.random, words, me=me or words.random.choice(list(lexicon.PERSONAS)))
        short = sum(len(turn.content) for turn in document.turns) < LONGEST
        if document.kind == kind and short and document.turns[-1].pieces[-1][2] > 0:
            found.append(document)
    return found


def measure(folder: pathlib.Path, count: int, *, seed: int, temperature: float = 0.7) -> dict[str, float]:
    """Percentages over `count` sampled replies of each kind; names and topics were kept from training."""
    torch.manual_seed(seed)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    known, unseen = Words(Random(seed)), Words(Random(seed), unseen=True)
    pseudo = Words(Random(seed + 1))

    def said(documents: list[Document]) -> list[tuple[str, bool]]:
        return replies(model, tokenizer, [prompt_of(d) for d in documents], temperature)

    talk = gather("group", count, unseen)
    talked = said(talk)
    silent = gather("pass", count, unseen)
    first_unseen = gather("first", count, unseen)
    first_known = [d for d in gather("first", 4 * count, known) if d.topic in stock.TOPICS][:count]
    first_pseudo = [d for d in gather("first", 4 * count, pseudo) if d.topic not in stock.TOPICS][:count]
    spoken = [(d, *answer) for d, answer in zip(talk, talked, strict=True)]
    openings = {
        name: list(zip(documents, said(documents), strict=True))
        for name, documents in (("known", first_known), ("unseen", first_unseen), ("pseudo", first_pseudo))
    }
    prompts = {id(d): text_of(prompt_of(d)) for d in talk}
    figures = {
        "turn_ends": percent(ended for _, _, ended in spoken),
        "valid_words": percent(not foreign_words(text, prompts[id(d)]) for d, text, _ in spoken),
        "persona_style": percent(style_of(text) == d.persona for d, text, _ in spoken),
        "foreign_label": percent(has_label(text, d) for d, text, _ in spoken),
        "false_pass": percent(lexicon.PASS in text for _, text, _ in spoken),
        "pass_obeyed": percent(text == lexicon.PASS for text, _ in said(silent)),
    }
    for name, pairs in openings.items():
        figures[f"topic_{name}"] = percent(d.topic in text for d, (text, _) in pairs)
    topics = [*stock.TOPICS[: count // 8], *stock.UNSEEN_TOPICS[: count // 8]]
    return figures | cast(model, tokenizer, topics, temperature)


class Talk:
    """A room in which the shipped personalities talk in turn about one topic, as clients with their defaults see it."""

    def __init__(self, topic: str) -> None:
        self.topic, self.messages = topic, list[Message]()
        self.say("Moderator", f"Welcome. Let us talk about {topic}.", "moderator")

    def say(self, sender: str, content: str, role: Role = "model") -> None:
        number = len(self.messages) + 1
        self.messages.append(
            Message(room="main", seq=number, id=str(number), sender=sender, role=role, content=content, timestamp="")
        )

    def prompt(self, name: str) -> list[dict[str, str]]:
        return seen_by(name, self.messages, persona=FILES[CAST[name]], history=5).messages


def cast(model: Any, tokenizer: Any, topics: Iterable[str], temperature: float) -> dict[str, float]:
    """Percentages of what three shipped personalities say to each other, in a room for each topic."""
    talks = [Talk(topic) for topic in topics]
    heard: list[tuple[str, str, str]] = []
    repeated = 0
    for _ in range(ROUNDS):
        for name, persona in CAST.items():
            prompts = [talk.prompt(name) for talk in talks]
            for talk, prompt, (text, _) in zip(
                talks, prompts, replies(model, tokenizer, prompts, temperature), strict=True
            ):
                heard.append((persona, text, text_of(prompt)))
                if text != lexicon.PASS:  # silence is no message
                    repeated += text in [message.content for message in talk.messages]
                    talk.say(name, text)
    openings = {talk.topic: talk.messages[1].content for talk in talks if len(talk.messages) > 1}
    spoken = [(persona, text, prompt) for persona, text, prompt in heard if text != lexicon.PASS]
    return {
        "cast_style": percent(style_of(text) == persona for persona, text, _ in spoken),
        "cast_valid_words": percent(not foreign_words(text, prompt) for _, text, prompt in spoken),
        "cast_topic_opened": percent(topic in text for topic, text in openings.items()),
        "cast_repeated": round(100 * repeated / max(1, len(spoken)), 1),
        "cast_silent": percent(text == lexicon.PASS for _, text, _ in heard),
    }


def percent(truths: Iterable[bool]) -> float:
    values = list(truths)
    return round(100 * sum(values) / max(1, len(values)), 1)


if __name__ == "__main__":
    print(json.dumps(measure(pathlib.Path(sys.argv[1]), int(sys.argv[2]), seed=9), indent=1))
