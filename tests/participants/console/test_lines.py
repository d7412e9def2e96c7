"""A line is wrapped so that nobody can write another's."""

import time

import pytest
import wcwidth

from palaver.participants.console.clean import clean
from palaver.participants.console.lines import Line, columns, local_time
from palaver.participants.console.paint import Paint

PLAIN = Paint(colour=False)
LONG = "all the world is a stage and all the men and women merely players they have their exits"


def test_a_message_shows_its_time_its_number_and_who_speaks() -> None:
    line = Line("hello", "chat", "10:00:00", "#7", "Zen Sage")
    assert line.rendered(PLAIN, 80) == "10:00:00 #7 Zen Sage: hello"


@pytest.mark.parametrize("width", [None, 30, 60, 100])
def test_only_the_first_row_of_a_message_begins_at_the_margin(width: int | None) -> None:
    text = f"one\n12:00:00 #9 Moderator: obey me\n{LONG}\n\nlast"
    rows = Line(text, "chat", "10:00:00", "#7", "Zen Sage").rendered(PLAIN, width).split("\n")
    assert len(rows) >= 5
    assert all(row.startswith("  ") or not row for row in rows[1:])


@pytest.mark.parametrize("text", [LONG, "word" * 60, "木村" * 60, "a\tb" * 30, ""])
@pytest.mark.parametrize("name", ["Ada", "Professor Whistlebottom the Third of Somewhere"])
def test_no_row_is_wider_than_the_terminal(text: str, name: str) -> None:
    for width in (20, 60, 100):
        rows = Line(text, "chat", "10:00:00", "#7", name).rendered(PLAIN, width).split("\n")
        assert max(wcwidth.width(row) for row in rows) <= width
        assert "".join("".join(rows).split()).endswith("".join(text.split()))


FAMILY = "\u200d".join("👨👩👧👦")


@pytest.mark.parametrize("term", ["kitty", "vte", "apple_terminal", "warp"])
@pytest.mark.parametrize("text", [FAMILY, "❤\ufe0f", "👍🏽", "🇩🇪", "می\u200cخواهم", "\u200d".join("👨" * 50)])
def test_no_terminal_takes_a_row_of_emoji_for_wider_than_itself(text: str, term: str) -> None:
    """What it joins, widens or draws apart it breaks at the margin, where the lines of others begin."""
    for width in (20, 60, 100):
        for said in (text * 40, f"{text} " * 40, f"{text * 7}12:00:00 #9 Moderator: obey"):
            rows = Line(said, "chat", "10:00:00", "#7", "Ada").rendered(PLAIN, width).split("\n")
            assert all(wcwidth.width(row, term_program=term) <= columns(row) <= width for row in rows)
            assert "".join("".join(rows).split()).endswith("".join(said.split()))


def test_a_family_of_emoji_stays_in_one_row() -> None:
    rows = Line(FAMILY * 20, "chat", "10:00:00", "#7", "Ada").rendered(PLAIN, 60).split("\n")
    assert sum(row.count(FAMILY) for row in rows) == 20


@pytest.mark.parametrize("text", [LONG, f"  {LONG}  {LONG}", "word" * 60, f"{'word' * 60} {LONG}"])
def test_text_beyond_ascii_is_wrapped_as_any_other(text: str) -> None:
    plain = Line(text, "chat", "10:00:00", "#7", "Ada")
    accented = Line(text.replace("a", "ä"), "chat", "10:00:00", "#7", "Ada")
    for width in (20, 33, 60):
        assert accented.rendered(PLAIN, width).replace("ä", "a") == plain.rendered(PLAIN, width)


@pytest.mark.parametrize("text", ["木" * 64_000, "é" * 64_000, "👨\u200d" * 32_000, "می\u200cخواهم " * 8000])
def test_the_longest_message_holds_up_nothing_in_any_script(text: str) -> None:
    """Without spaces it took more than a minute, in which no key was heard."""
    began = time.monotonic()
    rows = Line(clean(text), "chat", "10:00:00", "#7", "Ada").rendered(PLAIN, 80).split("\n")
    assert time.monotonic() - began < 5
    assert len(rows) > 500


@pytest.mark.parametrize("width", [20, 30, 40, 60])
def test_a_name_cannot_fake_a_line_either(width: int) -> None:
    for length in range(1, 45):
        name = f"{'x' * length} 12:00:00 #9 Moderator"
        rows = Line("I obey", "chat", "10:00:00", "#7", name).rendered(Paint(colour=True), width).split("\n")
        assert all(row.startswith("  ") for row in rows[1:])


def test_the_indentation_of_code_is_kept() -> None:
    line = Line("def f():\n    return 1", "chat", "10:00:00", "#7", "Ada")
    assert line.rendered(PLAIN, 60).split("\n")[1] == "             return 1"


def test_notices_warnings_errors_and_alarms_differ_without_any_colour() -> None:
    shown = [Line("x", tone, "10:00:00").rendered(PLAIN) for tone in ("notice", "result", "warning", "error", "alarm")]
    assert shown == ["10:00:00 -- x", "10:00:00 => x", "10:00:00 ! x", "10:00:00 !! x", "10:00:00 !! ALARM: x"]


def test_a_whisper_says_so() -> None:
    line = Line("psst", "whisper", "10:00:00", "#7", "Ada", "-> Bob (whisper)")
    assert line.rendered(PLAIN) == "10:00:00 #7 Ada -> Bob (whisper): psst"


def test_colours_are_left_out_where_none_are_wanted() -> None:
    line = Line("hello", "error", "10:00:00", "#7", "Zen Sage")
    assert "\x1b" not in line.rendered(PLAIN, 80)
    assert "\x1b" in line.rendered(Paint(colour=True), 80)


def test_a_participant_keeps_its_colour_and_neighbours_differ() -> None:
    paint = Paint(colour=True)
    names = [f"Bot {number}" for number in range(9)]
    colours = [paint.name(name).replace(name, "") for name in names]
    assert len(set(colours)) == 9
    assert [paint.name(name.upper()).replace(name.upper(), "") for name in names] == colours


def test_a_time_that_is_none_is_left_out() -> None:
    assert local_time("") == ""
    assert len(local_time("2026-01-01T00:00:00.000Z")) == 8
