"""The status line and the live text fit whatever width there is."""

import time

import pytest
import wcwidth

from palaver.core.protocol import Holder, Streamed
from palaver.participants.console.status import columns, fit, live_rows, status_parts
from palaver.participants.console.view import RoomView
from tests.participants.console.frames import TIME, floor, message, welcome


def busy() -> RoomView:
    view = RoomView(room="main", me="Moderator")
    view.take(welcome("Zen Sage", "TinkerBot"), 0.0)
    holder = Holder(name="Zen Sage", turn=1, since=TIME)
    view.take(floor(paused=True, epoch=7, holders=(holder,), queue=("TinkerBot", "Ada"), hands=("Ada",), held=2), 0.0)
    view.take(message(1, "Zen Sage", "x"), 10.0)
    view.hiding, view.hidden = "chat", 12
    return view


def shown(view: RoomView, width: int, now: float = 12.0) -> str:
    return " · ".join(part.text for part in fit(status_parts(view, now), width))


def test_a_wide_line_says_everything() -> None:
    assert shown(busy(), 200) == (
        "main · PAUSED · epoch 7 · open · Zen Sage 12 s · next TinkerBot +1 · 1 hand up · 2 held · 12 hidden (chat)"
        " · 1/min · connected"
    )


@pytest.mark.parametrize("width", [10, 20, 40, 60, 80, 100])
def test_a_narrow_line_keeps_what_matters_most_and_never_overflows(width: int) -> None:
    parts = fit(status_parts(busy(), 12.0), width)
    assert columns(parts) <= width
    assert "PAUSED" in [part.text for part in parts]


def test_sixty_columns_still_name_the_speaker() -> None:
    assert shown(busy(), 60) == "main · PAUSED · open · Zen Sage 12 s · 2 held · 12 hidden"


def test_a_lost_connection_cannot_be_overlooked() -> None:
    view = busy()
    view.lost(20.0)
    view.unanswered = 1
    assert "1 unsent" in shown(view, 120, 23.0)
    assert "RECONNECTING 3 s" in shown(view, 160, 23.0)
    assert "RECONNECTING" in shown(view, 40, 23.0)


def test_before_the_first_welcome_only_the_connection_is_told() -> None:
    assert shown(RoomView(room="lobby", me="M", down_since=0.0), 80, 2.0) == "lobby · CONNECTING 2 s"


def streaming(*texts: str) -> RoomView:
    view = busy()
    for turn, text in enumerate(texts, 1):
        view.take(Streamed(sender=f"Bot {turn}", turn=turn, text=text), 0.0)
    return view


def test_live_text_looks_like_the_message_it_will_be() -> None:
    rows = live_rows(streaming("it was a bright cold day in April and the clocks were striking thirteen"), 60, 8)
    assert [row for _, row in rows] == [
        "         Bot 1: it was a bright cold day in April and the",
        "         clocks were striking thirteen",
    ]


@pytest.mark.parametrize("width", [30, 60, 100])
@pytest.mark.parametrize("most", [1, 3, 8])
@pytest.mark.parametrize("speakers", [1, 2, 8])
def test_live_text_keeps_to_its_rows_and_shows_the_end(width: int, most: int, speakers: int) -> None:
    texts = [" ".join(f"word{number}" for number in range(300)) + " 木村 end" for _ in range(speakers)]
    rows = live_rows(streaming(*texts), width, most)
    assert 0 < len(rows) <= most
    assert all(wcwidth.width(row) <= width for _, row in rows)
    assert rows[-1][1].endswith("end")


def test_many_who_speak_at_once_are_drawn_at_once_in_any_script() -> None:
    """In one look at each character: it took seconds, at each drawing, and the pause key waited."""
    view = streaming(*["木é" * 2000] * 12)
    began = time.monotonic()
    for _ in range(20):
        rows = live_rows(view, 40, 12)
    assert time.monotonic() - began < 5
    assert len(rows) == 12
    assert all(row.endswith("木é") and wcwidth.width(row) in (37, 38) for _, row in rows)


def test_live_text_is_harmless() -> None:
    rows = live_rows(streaming("a\x1b[2Jb"), 60, 3)
    assert rows == [("Bot 1", "         Bot 1: ab")]


def test_nothing_is_drawn_where_nobody_speaks() -> None:
    assert live_rows(busy(), 60, 8) == []


def test_who_waits_for_a_person_and_a_room_that_has_ended_are_shown_as_such() -> None:
    view = RoomView(room="main", me="Moderator")
    view.take(welcome("Ada", floor=floor(waits="models wait for a person: 8 in a row", queue=("Ada",))), 0.0)
    long = "main · running · epoch 1 · open · floor free · models wait for a person · 0/min · connected"
    assert shown(view, 160) == long
    assert shown(view, 40) == "main · running · open · waits · 0/min"
    view.take(floor(paused=True, ended=True), 0.0)
    assert shown(view, 40) == "main · ENDED · open · free · 0/min"
