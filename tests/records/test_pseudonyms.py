"""Who said it, taken out."""

import re

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.message import key_of
from palaver.records.pseudonyms import Blinding, blinded
from tests.core.test_prompt import message

NAMES = ["Zen Sage", "Sage", "TinkerBot", "Straße", "名前", "R2-D2", "C++"]


def test_names_go_whole_longest_first_in_any_case_and_with_their_possessives() -> None:
    blinding = Blinding(NAMES)
    a, b, c, d, e, f, g = blinding.key
    told = {
        "zen sage's stone and SAGE’s": f"{a}'s stone and {b}’s",
        '@"Zen Sage", @TinkerBot!': f'@"{a}", @{c}!',
        "ZenSage, zen_sage, Zen\nSage": f"{a}, {a}, {a}",
        "sagebrush and TinkerBots": "sagebrush and TinkerBots",
        "STRASSE or strasse": f"{d} or {d}",
        "名前 R2-D2 r2d2": f"{e} {f} {f}",
        "C++ C": f"{g} C",
    }
    assert {text: blinding.text(text) for text in told} == told


@given(st.lists(st.sampled_from([*NAMES, "ZEN SAGE'S", "sage", " ", ", ", "is", "ſtraße", "İ", "\n"]), max_size=12))
def test_no_name_is_left_as_a_word(words: list[str]) -> None:
    text = Blinding(NAMES).text("".join(words)).casefold()
    for name in NAMES:
        assert not re.search(rf"(?<!\w){re.escape(key_of(name))}(?!\w)", text), text


@given(st.text(), st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=5))
def test_any_text_and_any_names_can_be_blinded(text: str, names: set[str]) -> None:
    blinding = Blinding(sorted(names))
    blinding.text(text)
    assert set(blinding.key.values()) <= names


def test_the_order_tells_nothing_with_a_seed_and_is_the_same_again() -> None:
    names = [f"N{number}" for number in range(40)]
    plain, drawn = Blinding(names), Blinding(names, seed=3)
    assert list(plain.key)[:2] == ["Speaker A", "Speaker B"]
    assert list(plain.key)[26] == "Speaker AA"
    assert plain.key != drawn.key == Blinding(names, seed=3).key
    assert sorted(drawn.key.values()) == sorted(names)


def test_a_participant_called_like_a_pseudonym_is_not_mixed_up() -> None:
    blinding = Blinding(["Speaker A", "Ada"])
    assert blinding.name("ada") == "Speaker C"
    assert blinding.text("Speaker A") == "Speaker B"


def test_a_message_keeps_nothing_that_tells_its_model() -> None:
    meta = {"model": "phi-2", "persona_hash": "ab", "device": "cuda:0", "by": "Bob", "completion_tokens": 7}
    one = msgspec.structs.replace(message(1, "Ada", "I, Ada.", to="Bob", redacted="Bob asked"), meta=meta)
    (hidden,), blinding = blinded([one], names=["Mod"])
    assert (hidden.sender, hidden.to, hidden.content) == ("Speaker A", "Speaker B", "I, Speaker A.")
    assert hidden.meta == {"completion_tokens": 7}
    assert hidden.redacted == "Speaker B asked"
    assert hidden.id == "1"
    assert blinding.key["Speaker C"] == "Mod"


def test_a_message_that_was_written_by_another_still_says_so() -> None:
    one = msgspec.structs.replace(message(1, "Ada", "I quit."), meta={"sent_as": True, "by": "Mod", "model": "phi-2"})
    (hidden,), blinding = blinded([one])
    assert hidden.meta == {"sent_as": True, "by": "Speaker B"}
    assert blinding.key["Speaker B"] == "Mod"
