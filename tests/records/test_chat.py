"""Conversations as chat models are trained on them."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import PalaverError
from palaver.core.message import Message, Role
from palaver.records.chat import models_of, openai_row, sharegpt_row, trl_rows
from palaver.records.formats import rendered
from palaver.records.reading import from_openai
from tests.core.test_prompt import ROLES, message, rooms

TALK = [
    message(1, "Mod", "Hello, Ada."),
    message(2, "Ada", "Hi."),
    message(3, "Mod", "psst", to="Bob"),
    message(4, "Bob", "gone", redacted="rude"),
    message(5, "Bob", "I am Bob."),
]
_NAMES = st.sampled_from(["Ada", "Zen Sage", "Éluard", "a: b", "<b>", "名前"])


@st.composite
def wild(draw: st.DrawFn) -> list[Message]:
    """Any text by anybody, public."""
    made = []
    for seq in range(1, draw(st.integers(1, 8)) + 1):
        role: Role = draw(st.sampled_from(["model", "moderator"]))
        text = draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1).filter(str.strip))
        made.append(msgspec.structs.replace(message(seq, draw(_NAMES), text), role=role))
    return made


def back(body: bytes) -> list[Message]:
    return from_openai(body.decode().split("\n"), room="main")


@given(messages=wild())
def test_what_is_exported_for_openai_comes_back_the_same(messages: list[Message]) -> None:
    again = back(rendered("openai", messages, seen_as=None, title=""))
    assert [(one.sender, one.role, one.content) for one in again] == [
        (one.sender, one.role, one.content) for one in messages
    ]


@given(messages=rooms(), name=st.sampled_from(list(ROLES)))
def test_nothing_that_was_not_for_a_participant_is_in_its_rows(messages: list[Message], name: str) -> None:
    for form in ("openai", "sharegpt", "trl", "md", "html", "csv", "jsonl"):
        body = rendered(form, messages, seen_as=name, title="").decode()
        for one in messages:
            marked = (
                one.content if form in ("openai", "sharegpt", "trl", "md", "csv", "jsonl") else f"&lt;{one.seq}&gt;"
            )
            if not one.is_for(name, ROLES[name]):
                assert marked not in body


def test_a_participant_s_own_words_are_the_assistant_s() -> None:
    turns = openai_row(TALK, "bob")["messages"]
    assert turns == [
        {"role": "user", "content": "Mod: Hello, Ada.\nAda: Hi.\nMod: psst"},
        {"role": "assistant", "content": "I am Bob."},
    ]
    assert [turn["from"] for turn in sharegpt_row(TALK, "Ada")["conversations"]] == ["human", "gpt", "human"]


def test_without_a_name_messages_bear_their_authors_and_whispers_stay_out() -> None:
    turns = openai_row(TALK, None)["messages"]
    assert [(turn["role"], turn["name"]) for turn in turns] == [
        ("user", "Mod"),
        ("assistant", "Ada"),
        ("assistant", "Bob"),
    ]


def test_rows_for_training_end_with_the_model_s_word() -> None:
    rows = list(trl_rows(TALK, [*models_of(TALK), "Zen Sage"]))
    assert [row["messages"][-1] for row in rows] == [
        {"role": "assistant", "content": "Hi."},
        {"role": "assistant", "content": "I am Bob."},
    ]


def test_merged_turns_come_apart_at_their_labels() -> None:
    request = {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": "Mod: one\nstill one\nBob: two"},
            {"role": "assistant", "content": "three"},
            {"role": "user", "content": "Bob: four"},
            {"role": "user", "content": [{"type": "text", "text": "five"}], "name": "Mod"},
        ]
    }
    again = from_openai([json.dumps(request)], room="r", assistant="Ada")
    assert [(one.sender, one.content) for one in again] == [
        ("system", "Be kind."),
        ("Mod", "one\nstill one"),
        ("Bob", "two"),
        ("Ada", "three"),
        ("Bob", "four"),
        ("Mod", "five"),
    ]


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is no JSON"),
        ("[" * 100_000, "line 2 is no JSON"),
        ('{"prompt": "x"}', "line 2 must be an object with `messages`"),
        ('{"messages": [{"role": "tool", "content": "x"}]}', "line 2: role 'tool' is unknown"),
        ('{"messages": [{"role": "user", "content": 3}]}', "line 2: `content` must be text"),
    ],
)
def test_a_line_that_is_no_request_is_named(line: str, says: str) -> None:
    with pytest.raises(PalaverError, match=says):
        from_openai(['{"messages": []}', line], room="r")
