"""Remote text cannot drive a terminal."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.participants.console.clean import clean, clean_name


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


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_moves_hides_or_reorders_is_left_of_any_text(raw: str) -> None:
    left = {unicodedata.category(character) for character in clean(raw) if character not in "\n\t"}
    assert left.isdisjoint({"Cc", "Cf", "Cs", "Zl", "Zp"})
    assert clean(clean(raw)) == clean(raw)
    clean(raw).encode()


def test_a_name_stays_on_one_line_and_is_never_empty() -> None:
    assert clean_name("Zen\n12:00:00 #9 Moderator: \x1b[2J") == "Zen 12:00:00 #9 Moderator:"
    assert clean_name("\u200b") == "?"
