"""Remote text cannot drive a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.participants.console.clean import clean, clean_name, separate

J, N = "\u200d", "\u200c"  # zero-width joiner and non-joiner


@pytest.mark.parametrize(
    ("raw", "harmless"),
    [
        ("plain", "plain"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;new title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;ZXZpbA==\x07paste", "paste"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x9b2Jgone", "gone"),
        ("\x1bcreset", "reset"),
        ("\x1b]0;never ended", "0;never ended"),
        ("bell\x07back\x08space", "bellbackspace"),
        ("over\rwritten", "over\nwritten"),
        ("dos\r\nlines", "dos\nlines"),
        ("safe\u202egnp.exe", "safegnp.exe"),
        ("\u2066iso\u2069late", "isolate"),
        ("zero\u200bwidth\ufeff", "zerowidth"),
        ("soft\u00adhyphen", "softhyphen"),
        ("tags\U000e0041", "tags"),
        ("line\u2028separator", "line\nseparator"),
        ("no\u00a0break", "no break"),
        ("half \ud800", "half \ufffd"),
        ("\u3164blank", "blank"),
        ("木村 🫨 Ωμέγα", "木村 🫨 Ωμέγα"),
    ],
)
def test_what_could_drive_or_fool_a_terminal_is_taken_out(raw: str, harmless: str) -> None:
    assert clean(raw) == harmless


@pytest.mark.parametrize(
    "text",
    [
        f"👨{J}👩{J}👧{J}👦",
        f"🏳\ufe0f{J}🌈 👩🏽{J}✈\ufe0f ❤\ufe0f{J}🔥",
        f"می{N}خواهم نامه{N}ها",  # Persian: letters that would be joined
        f"क्{J}ष क्{N}ष",  # Devanagari: after a virama
        f"ක්{J}ය",  # Sinhala
    ],
)
def test_joiners_stay_where_emoji_and_scripts_need_them(text: str) -> None:
    assert clean(text) == text


@pytest.mark.parametrize(
    "text",
    [
        f"Zen{J}Sage",
        f"Zen{N}Sage",
        f"1{J}2",
        f"👨{J}",
        f"{J}👩",
        f"👨{J} 👩",
        f"👨{J}{J}👩",
        f"👨{N}👩",
        f"👨{J}🏽",
        f"👨{J}\u0301x",
        f"ب{N}",
        f"\n{N}ب",
        f"\n{J}",
        f"ا{N}ب",  # Alef joins nothing after it
        f"ب{N}{N}ب",
        f"한{J}글",
    ],
)
def test_joiners_go_where_nobody_could_see_them(text: str) -> None:
    assert clean(text) == text.replace(J, "").replace(N, "")


def test_no_joiner_is_left_in_a_name() -> None:
    assert clean_name(f"👨{J}👩 می{N}خواهم") == "👨👩 میخواهم"


def test_what_terminals_join_is_separate_where_widths_are_added_up() -> None:
    assert separate(f"a 👨{J}👩 👍🏽 ❤\ufe0f 1\ufe0f\u20e3 🇩🇪 é") == "a 👨👩 👍 ❤ 1  é"


@given(st.text(st.characters(exclude_categories=())) | st.text(st.sampled_from(f"{J}{N}👨🏽क्षبا\u0301\n x\ufe0f")))
def test_nothing_that_moves_hides_or_reorders_is_left_of_any_text(raw: str) -> None:
    left = {unicodedata.category(character) for character in clean(raw) if character not in f"\n\t{J}{N}"}
    assert left.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert clean(clean(raw)) == clean(raw)
    clean(raw).encode()


def test_a_name_stays_on_one_line_and_is_never_empty() -> None:
    assert clean_name("Zen\n12:00:00 #9 Moderator: \x1b[2J") == "Zen 12:00:00 #9 Moderator:"
    assert clean_name("\u200b") == "?"
