"""The grammar of commands."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.commands import COMMANDS, pairs_text, parse, parse_duration, parse_pairs, resolve, spec_of, take_name
from palaver.core.errors import CommandError

NAMES = ("Ada", "Zen", "Zen Sage", "Bob")

WANTED = (
    *("pause", "resume", "step", "stop", "mute", "unmute", "deafen", "kick", "ban", "unban", "timeout", "policy"),
    *("floor", "hands", "grant", "deny", "slow", "approve", "ok", "drop", "w", "sys", "sendas", "topic", "pin"),
    *("unpin", "undo", "redact", "retry", "set", "budget", "rooms", "switch", "who", "whois", "queue", "status"),
    *("stats", "why", "toggle", "hide", "show", "ignore", "lastlog", "history", "mark", "score", "export", "end"),
    *("quit", "clear", "help"),
)


@pytest.mark.parametrize("verb", WANTED)
def test_every_command_that_was_promised_is_there(verb: str) -> None:
    assert spec_of(f"/{verb}").verb == verb and COMMANDS[verb].summary


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("/pause", {}),
        ("/pause ada, zen sage bob", {"names": ["Ada", "Zen Sage", "Bob"]}),
        ("/mute Zen Sage 5m", {"name": "Zen Sage", "duration": 300.0}),
        ('/mute "zen s" 30', {"name": "Zen Sage", "duration": 30.0}),
        ("/mute @bo", {"name": "Bob"}),
        ("/w Ada  two  spaces", {"name": "Ada", "text": "two  spaces"}),
        ("/floor Ada for 3", {"name": "Ada", "count": "for 3"}),
        ("/kick Bob too loud", {"name": "Bob", "reason": "too loud"}),
        ("/pin #7", {"seq": 7}),
        ("/deafen Ada off", {"name": "Ada", "toggle": "off"}),
        ("/policy open max-in-a-row=8 delay=0.5", {"policy": "open", "pairs": {"max_in_a_row": 8, "delay": 0.5}}),
        ("/budget all cost=off", {"name": "all", "pairs": {"cost": False}}),
        ("/set room temperature=1", {"name": "room", "pairs": {"temperature": 1}}),
        ("/POL open", {"policy": "open"}),
    ],
)
def test_a_line_is_understood(line: str, values: dict[str, object]) -> None:
    assert parse(line, NAMES).values == values


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("/nonsense", "unknown; known: /pause"),
        ("/un", "ambiguous; known: /unmute, /unban, /unpin"),
        ("/mute", "usage: /mute NAME [DURATION]"),
        ("/mute Cid", "'Cid' is not here; known: Ada, Bob, Zen, Zen Sage"),
        ("/mute Ada 5 parsecs", "parsecs"),
        ("/mute Ada 0s", "must look like 30s"),
        ("/deafen Ada perhaps", "must be one of on, off"),
        ("/step two", "not a number"),
        ("/step 1e300", "out of range"),
        ("/set Ada temperature", "must look like name=value"),
        ("/set Ada persona='open", "No closing quotation"),
        ("/hands up", "too much"),
        ('/kick ""', "a name is missing"),
    ],
)
def test_what_is_not_understood_is_explained(line: str, problem: str) -> None:
    with pytest.raises(CommandError) as raised:
        parse(line, NAMES)
    assert problem in str(raised.value)


@pytest.mark.parametrize(
    ("text", "pairs"),
    [
        ("max_in_a_row=8", {"max_in_a_row": 8}),
        ("pause=on overlap=0.6", {"pause": True, "overlap": 0.6}),
        ("'order=Zen Sage,Bob'", {"order": ["Zen Sage", "Bob"]}),
        ("order=", {"order": []}),
        ('\'order=["Bob, the builder","Ada"]\'', {"order": ["Bob, the builder", "Ada"]}),
        ("'phases=[{\"turns\":2}]'", {"phases": [{"turns": 2}]}),
        ("", {}),
    ],
)
def test_pairs_are_told_as_they_are_typed(text: str, pairs: dict[str, object]) -> None:
    assert pairs_text(pairs) == text
    read = parse_pairs(text)
    assert {**read, "order": pairs["order"]} == pairs if "order" in pairs else read == pairs


@given(line=st.text(), names=st.lists(st.text(min_size=1, max_size=8), max_size=4))
def test_any_line_is_understood_or_explained(line: str, names: list[str]) -> None:
    for text in (line, "/pause " + line, "/policy x " + line, "/mute " + line):
        try:
            parse(text, names)
        except CommandError as error:
            assert str(error)


@pytest.mark.parametrize(("word", "seconds"), [("30", 30), ("30s", 30), ("1.5m", 90), ("5min", 300), ("2H", 7200)])
def test_durations(word: str, seconds: float) -> None:
    assert parse_duration(word) == seconds


@pytest.mark.parametrize("word", ["", "s", "-1s", "0", "1y", "1 s", "1e3", "inf"])
def test_no_durations(word: str) -> None:
    with pytest.raises(CommandError):
        parse_duration(word)


def test_pairs_are_numbers_switches_lists_or_text() -> None:
    assert parse_pairs("a=1 b=off c='two words' d=0.5 e=nan f='[1,\"x\"]' g=[oops") == {
        "a": 1,
        "b": False,
        "c": "two words",
        "d": 0.5,
        "e": "nan",
        "f": [1, "x"],
        "g": "[oops",
    }


def test_a_list_with_half_a_character_stays_text() -> None:
    """It could not be kept in a snapshot."""
    assert parse_pairs("""phases='["\\ud800"]'""") == {"phases": '["\\ud800"]'}


def test_the_longest_name_is_taken_first() -> None:
    assert take_name("Zen Sage 5m", NAMES) == ("Zen Sage", "5m")
    assert take_name("Zen 5m", NAMES) == ("Zen", "5m")
    assert resolve("zen", NAMES) == "Zen"
