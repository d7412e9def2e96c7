"""What is streamed is always a beginning of what is said in the end."""

from hypothesis import given
from hypothesis import strategies as st

from palaver.core.prompt import own_words
from palaver.core.protocol import MAX_CONTENT
from palaver.participants.utterance import Utterance, is_pass

OTHERS = ["Ada", "Zen Sage", "Tinker"]
PIECES = [
    "Ada",
    "ada",
    ":",
    " ",
    "\n",
    "Zen",
    " Sage",
    "Bot",
    "**",
    "[PASS]",
    "[PA",
    "SS]",
    '"',
    "hi",
    "Tinker: no",
    ".",
]


def streamed(pieces: list[str], name: str = "Bot") -> tuple[str, str]:
    """What a stream lets out, looked at after each piece, and what is said in the end."""
    utterance = Utterance(name, OTHERS)
    out = ""
    for piece in pieces:
        utterance.feed(piece)
        out += utterance.ready()
    said, _ = own_words("".join(pieces), name, OTHERS)
    return out, "" if is_pass(said) else said


@given(st.lists(st.sampled_from(PIECES), max_size=12))
def test_whatever_a_model_writes_the_stream_is_a_beginning_of_what_is_said(pieces: list[str]) -> None:
    """A2.13"""
    out, said = streamed(pieces)
    assert said.startswith(out)


def test_plain_words_are_let_out_as_they_come() -> None:
    utterance = Utterance("Bot", OTHERS)
    let_out = []
    for piece in ["A river", " does", " not", " hurry.\n", "A stone"]:
        utterance.feed(piece)
        let_out.append(utterance.ready())
    assert let_out == ["A river", " does", " not", " hurry.", "\nA stone"]


def test_the_own_label_is_never_streamed() -> None:
    assert streamed(["Bo", "t", ": ", "hello"]) == ("hello", "hello")


def test_nothing_is_streamed_past_a_foreign_label() -> None:
    assert streamed(["I agree.\n", "Zen", " Sage", ": ", "so do I"]) == ("I agree.", "I agree.")


def test_a_name_that_turns_out_to_be_no_label_is_let_out() -> None:
    assert streamed(["Ada", " is right."])[0] == "Ada is right."


def test_silence_is_known_in_every_dress() -> None:
    assert all(is_pass(text) for text in ["[PASS]", " [pass]\n", '"[PASS]"', "[PASS]."])
    assert not any(is_pass(text) for text in ["", "PASS", "[PASS] because", "no"])
    assert streamed(["[", "PA", "SS]"]) == ("", "")


def test_no_more_is_let_out_than_a_message_takes() -> None:
    utterance = Utterance("Bot", OTHERS)
    out = ""
    for _ in range(3):
        utterance.feed("word " * 10_000)
        out += utterance.ready()
    assert out == ("word " * 30_000)[:MAX_CONTENT]
