"""IRC logs and OpenAI messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import PalaverError
from palaver.records.reading import from_irc, from_openai

IRSSI = """--- Log opened Tue Mar 05 10:00:00 2024
10:00 -!- ada [~ada@host] has joined #tea
10:01 <@ada> good morning
10:02 < bob> ada: \x02hi\x0f \x0304,01there\x03
10:03  * ada waves
10:04 <eve>
--- Day changed Wed Mar 06 2024
00:01 <bob> <not> a nick
"""
WEECHAT = (
    "2024-03-05 10:00:00\t-->\tada (~ada@host) has joined #tea\n"
    "2024-03-05 10:00:01\t@ada\tgood\tmorning\n"
    "2024-03-05 10:00:02\t *\tada waves\n"
    "2024-03-05 10:00:03\t--\tMode #tea [+nt]\n"
)


def told(text: str) -> list[tuple[str, str, str]]:
    return [(one.timestamp[:19], one.sender, one.content) for one in from_irc(text.split("\n"), room="tea")]


def test_a_log_of_irssi_is_read_with_its_days_and_without_its_colours() -> None:
    assert told(IRSSI) == [
        ("2024-03-05T10:01:00", "ada", "good morning"),
        ("2024-03-05T10:02:00", "bob", "ada: hi there"),
        ("2024-03-05T10:03:00", "ada", "*waves*"),
        ("2024-03-06T00:01:00", "bob", "<not> a nick"),
    ]


def test_a_log_of_weechat_is_read() -> None:
    assert told(WEECHAT) == [("2024-03-05T10:00:01", "ada", "good\tmorning"), ("2024-03-05T10:00:02", "ada", "*waves*")]


def test_bare_lines_without_times_are_read() -> None:
    assert told("<ada> hi\n* bob nods\n[10:02:03] <ada> ok") == [
        ("1970-01-01T00:00:00", "ada", "hi"),
        ("1970-01-01T00:00:00", "bob", "*nods*"),
        ("1970-01-01T10:02:03", "ada", "ok"),
    ]


def test_a_line_that_is_none_of_it_is_named() -> None:
    with pytest.raises(PalaverError, match="line 2 is no line of an IRC log: 'Dear Sir'"):
        told("<ada> hi\nDear Sir")


@given(st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"])))
def test_what_was_said_comes_back_but_for_colours(text: str) -> None:
    plain = "".join(character for character in text if character >= " ").strip()
    if plain:
        assert told(f"12:34 <nick> {plain}")[0][2] == plain


def authors(text: str) -> list[tuple[str, str]]:
    return [(one.sender, one.content) for one in from_openai(text.split("\n"), room="tea")]


HI = '{"role": "user", "content": "Hi"}'
PARTS = '{"role": "user", "content": [{"type": "text", "text": "Hi"}]}'


@pytest.mark.parametrize(
    "text",
    [
        f'{{"messages": [{HI}]}}\n{{"messages": [{HI}]}}\n',
        f'{{\n "messages": [\n  {HI},\n  {HI}\n ]\n}}\n',
        f"[\n {HI},\n {HI}\n]",
        f'[\n {{"messages": [{HI}]}},\n {{"messages": [{HI}]}}\n]',
        f'{{"messages": [{PARTS}, {PARTS}]}}',
    ],
    ids=["a line each", "one, indented", "messages alone", "a list", "in parts"],
)
def test_messages_are_read_however_their_json_is_laid_out(text: str) -> None:
    assert authors(text) == [("User", "Hi"), ("User", "Hi")]


def test_a_value_that_is_none_of_it_is_named() -> None:
    for text, told in {
        f'[{{"messages": [{HI}]}}, 5]': "object 2 must be an object with `messages`",
        f'{{"messages": [{HI}]}}\n{{"messages": ': "line 2 is no JSON",
        "7": "line 1 must be an object",
    }.items():
        with pytest.raises(PalaverError, match=told):
            authors(text)
