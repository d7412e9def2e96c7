"""A room as one participant sees it."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.message import Message, Role, key_of
from palaver.core.prompt import BLOCK, own_words, seen_by

NAMES = ("Ada", "Bob", "Zen Sage", "Mod")
ROLES: dict[str, Role] = {"Ada": "model", "Bob": "model", "Zen Sage": "model", "Mod": "moderator"}


def message(seq: int, sender: str, content: str, to: str | None = None, redacted: str | None = None) -> Message:
    """One message of a room."""
    return Message(
        room="main",
        seq=seq,
        id=f"m{seq}",
        sender=sender,
        role=ROLES.get(sender, "model"),
        to=to,
        content=content,
        timestamp="2026-01-01T00:00:00.000Z",
        redacted=redacted,
    )


def talk(length: int) -> list[Message]:
    """Everybody in turn; every text is its own."""
    return [message(seq, NAMES[seq % 3], f"words-{seq}.") for seq in range(1, length + 1)]


@st.composite
def rooms(draw: st.DrawFn) -> list[Message]:
    """Messages with unmistakable texts: some whispered, some redacted."""
    made = []
    for seq in range(1, draw(st.integers(1, 30)) + 1):
        to = draw(st.none() | st.none() | st.sampled_from(NAMES))
        gone = draw(st.sampled_from([None, None, None, "rude"]))
        made.append(message(seq, draw(st.sampled_from(NAMES)), f"<{seq}>", to, gone))
    return made


@given(
    messages=rooms(),
    name=st.sampled_from(NAMES),
    history=st.integers(0, 40),
    tokens=st.sampled_from([0, 1, 20, 60, 1000]),
    persona=st.sampled_from(["", "You are somebody."]),
)
def test_what_is_not_for_a_participant_never_enters_its_prompt(
    messages: list[Message], name: str, history: int, tokens: int, persona: str
) -> None:
    """Also A2.13: the system prompt once, the current message once, names present."""
    role = ROLES[name]
    prompt = seen_by(name, messages, role=role, persona=persona, history=history, max_tokens=tokens)
    text = "\n".join(turn["content"] for turn in prompt.messages)
    mine = [one for one in messages if one.redacted is None and (one.to in (None, name) or one.sender == name)]
    mine = [one for one in messages if one.redacted is None] if role == "moderator" else mine
    for one in messages:
        assert text.count(f"<{one.seq}>") <= (1 if one in mine else 0)
    roles = [turn["role"] for turn in prompt.messages]
    assert roles.count("system") == bool(persona) and (not persona or prompt.messages[0]["content"] == persona)
    assert all(one != other for one, other in pairwise(roles)), "neighbours are merged"
    if mine:
        assert text.count(f"<{mine[-1].seq}>") == 1, "the current message is never left out"
        assert prompt.saw_to == mine[-1].seq and prompt.saw_from in [one.seq for one in mine]
        assert not history or len(mine) - prompt.trimmed <= history
    for one in mine[prompt.trimmed :]:
        assert (one.content if one.sender == name else f"{one.sender}: {one.content}") in text


def test_own_words_are_the_assistants_and_all_others_the_users() -> None:
    prompt = seen_by("ada", [message(1, "Mod", "hi"), message(2, "Ada", "hello"), message(3, "Bob", "hey")])
    assert prompt.messages == [
        {"role": "user", "content": "Mod: hi"},
        {"role": "assistant", "content": "hello"},
        {"role": "user", "content": "Bob: hey"},
    ]
    assert set(prompt.stop) == {"\nMod:", "\nBob:"}


def test_the_same_call_with_another_name_is_the_other_side() -> None:
    messages = [message(1, "Ada", "hi"), message(2, "Bob", "hello")]
    assert [turn["role"] for turn in seen_by("Ada", messages).messages] == ["assistant", "user"]
    assert [turn["role"] for turn in seen_by("Bob", messages).messages] == ["user", "assistant"]


def test_without_labels_a_talk_between_two_is_plain() -> None:
    prompt = seen_by("Ada", [message(1, "Bob", "hi")], labels=False)
    assert prompt.messages == [{"role": "user", "content": "hi"}] and prompt.stop == ()


@pytest.mark.parametrize("history", [5, 10, 12, 37])
def test_trimming_by_number_keeps_the_beginning_for_a_block_of_turns(history: int) -> None:
    messages = talk(120)
    firsts = [seen_by("Ada", messages[:length], history=history).saw_from for length in range(history + 1, 120)]
    changes = sum(one != other for one, other in pairwise(firsts))
    assert changes <= len(firsts) // BLOCK + 1
    kept = [length - seen_by("Ada", messages[:length], history=history).trimmed for length in range(history, 120)]
    assert max(kept) == history and min(kept) >= history - BLOCK + 1


def test_trimming_by_tokens_keeps_the_beginning_for_some_turns() -> None:
    messages = talk(120)
    firsts = [seen_by("Ada", messages[:length], max_tokens=200).saw_from for length in range(40, 120)]
    assert len(set(firsts)) <= len(firsts) // BLOCK + 2
    assert firsts == sorted(firsts)


def test_a_question_that_is_too_long_by_itself_is_kept() -> None:
    """A2.14"""
    prompt = seen_by("Ada", [*talk(9), message(10, "Mod", "why " * 500)], max_tokens=50)
    assert prompt.saw_from == prompt.saw_to == 10 and prompt.trimmed == 9


def test_tokens_are_counted_by_whoever_knows_how() -> None:
    few = seen_by("Ada", talk(40), max_tokens=100, count=lambda text: 50)
    many = seen_by("Ada", talk(40), max_tokens=100, count=lambda text: 1)
    assert few.trimmed > many.trimmed


OWN = [
    ("hello", "hello", False),
    ("Ada: hello", "hello", False),
    ("ada : hello", "hello", False),
    ("**Ada:** hello", "hello", False),
    ("**Ada**: hello", "hello", False),
    ("Ada:*smiles*", "*smiles*", False),
    ("hello\nBob: and I say", "hello", True),
    ("hello\n  **Bob**: and I say", "hello", True),
    ("hello\nzen sage: om", "hello", True),
    ("Bob: I am Bob", "", True),
    ("I told Bob: no", "I told Bob: no", False),
    ("Bobby: is not Bob", "Bobby: is not Bob", False),
    ("hello\nAda: more of me", "hello\nAda: more of me", False),
]


@pytest.mark.parametrize(("text", "expected", "cut"), OWN)
def test_text_after_anothers_label_is_cut(text: str, expected: str, cut: bool) -> None:
    """A2.13"""
    assert own_words(text, "Ada", ["Ada", "Bob", "Zen Sage"]) == (expected, cut)


@given(text=st.text(), others=st.lists(st.sampled_from(["Bob", "C++", "(", "Zen Sage"])))
def test_own_words_are_always_part_of_the_text(text: str, others: list[str]) -> None:
    said, _ = own_words(text, "Ada", others)
    assert said in text and key_of(said) == key_of(said.strip())
