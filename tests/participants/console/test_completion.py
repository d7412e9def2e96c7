"""Tab offers what can stand there."""

from pathlib import Path

import pytest

from palaver.core.commands import COMMANDS
from palaver.participants.console.completion import choices
from palaver.participants.console.view import RoomView
from tests.participants.console.frames import message, welcome


@pytest.fixture
def view() -> RoomView:
    view = RoomView(room="main", me="Moderator")
    view.take(welcome("Zen Sage", "TinkerBot", "Ada"), 0.0)
    for seq in range(1, 13):
        view.take(message(seq, "Ada", f"word {seq}"), 0.0)
    view.held = ["3", "4"]
    return view


def offered(typed: str, view: RoomView) -> list[str]:
    """What the line would be with each choice."""
    return [typed[: len(typed) - one.behind] + one.text for one in choices(typed, view, ["main", "lobby"])]


@pytest.mark.parametrize(
    ("typed", "lines"),
    [
        ("/pau", ["/pause "]),
        ("/RES", ["/resume "]),
        ("/pause ", ['/pause "Zen Sage"', "/pause TinkerBot", "/pause Ada"]),
        ("/pause zen", ['/pause "Zen Sage"']),
        ("/pause Zen S", ['/pause "Zen Sage"']),
        ("/pause Ada, Zen S", ['/pause Ada, "Zen Sage"']),
        ('/mute "Zen', ['/mute "Zen Sage"']),
        ("/mute Zen Sage 5", ["/mute Zen Sage 5m"]),
        ('/mute "Zen Sage" ', [f'/mute "Zen Sage" {word}' for word in ("30s", "5m", "1h", "1d")]),
        ("/mute Zen ", ['/mute "Zen Sage"']),
        ("/policy m", ["/policy mention"]),
        ("/policy open max", ["/policy open max_in_a_row="]),
        ("/policy debate f", ["/policy debate file="]),
        ("/policy open delay=2 max", ["/policy open delay=2 max_in_a_row="]),
        ("/set Ada temp", ["/set Ada temperature="]),
        ("/set roo", ["/set room"]),
        ("/budget al", ["/budget all"]),
        ("/budget all m", ["/budget all messages="]),
        ("/alarm ping", ["/alarm ping_pong="]),
        ("/approve ", ["/approve on", "/approve off"]),
        ("/deafen Ada o", ["/deafen Ada on", "/deafen Ada off"]),
        ("/slow o", ["/slow off"]),
        ("/ok ", ["/ok 3", "/ok 4", "/ok all"]),
        ("/hide ", ["/hide chat", "/hide system", "/hide deltas", '/hide "Zen Sage"', "/hide TinkerBot", "/hide Ada"]),
        ("/why 1", ["/why 12", "/why 11", "/why 10", "/why 1"]),
        ("/redact #2", ["/redact 2"]),
        ("/switch l", ["/switch lobby"]),
        ("/help statu", ["/help status"]),
        ("/w Ada he", []),
        ("/nosuch ", []),
        ("/topic z", []),
        ("Zen", ["Zen Sage "]),
        ("ask @Zen S", ['ask @"Zen Sage" ']),
        ("@", ['@"Zen Sage" ', "@TinkerBot ", "@Ada "]),
        ("//pau", []),
        ("hello ", []),
        ("", []),
    ],
)
def test_what_is_offered(typed: str, lines: list[str], view: RoomView) -> None:
    assert offered(typed, view) == lines


def test_every_command_is_offered_with_its_summary(view: RoomView) -> None:
    found = {one.text.strip("/ "): one.about for one in choices("/", view)}
    assert found == {verb: spec.summary for verb, spec in COMMANDS.items()}


@pytest.mark.parametrize("verb", list(COMMANDS))
def test_no_line_that_is_half_typed_upsets_completion(verb: str, view: RoomView) -> None:
    for rest in ("", " ", " Ada", " Ada ", ' "', " x=", " x= y", " Ada Ada Ada Ada", " #", " \t"):
        list(choices(f"/{verb}{rest}", view))


def test_a_message_is_offered_with_its_beginning(view: RoomView) -> None:
    assert next(iter(choices("/pin 12", view))).about == "Ada: word 12"


def test_files_are_offered_where_a_file_is_named(view: RoomView, tmp_path: Path) -> None:
    (tmp_path / "sage.txt").write_text("x")
    (tmp_path / "scenes").mkdir()
    (tmp_path / ".hidden").write_text("x")
    for head in ("/set Ada persona=", "/save ", "/policy debate file="):
        assert offered(f"{head}{tmp_path}/s", view) == [f"{head}{tmp_path}/sage.txt", f"{head}{tmp_path}/scenes/"]
        assert len(offered(f"{head}{tmp_path}/", view)) == 2
    assert offered("/save /no/such/folder/x", view) == []
    assert offered("/save ~nobody-of-this-name/x", view) == []
