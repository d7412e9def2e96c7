"""The room as a participant has it before its eyes."""

from itertools import pairwise

from msgspec.structs import replace

from palaver.core.protocol import Event, Presence, Seat, Welcome
from palaver.participants.view import KEPT, RoomView, stillness
from tests.participants.fake_hub import floor_view, message


def welcome() -> Welcome:
    seats = (Seat(name="Bot", role="model", state="loading"), Seat(name="Ada", role="moderator", state="ready"))
    floor = floor_view(holder="Bot", turn=4)
    return Welcome(name="Me", role="model", session="s", seq=0, missed=0, members=2, roster=seats, floor=floor)


def test_it_knows_who_is_here_and_who_can_answer() -> None:
    view = RoomView()
    view.take(welcome())
    assert view.ready_models() == []
    view.take(Presence(name="Bot", role="model", state="ready"))
    view.take(Presence(name="Late", role="model", state="joined"))
    view.take(Presence(name="Slow", role="model", state="joined", ready=False))
    view.take(Presence(name="ADA", role="moderator", state="left"))
    assert view.names() == ["Bot", "Late", "Slow"] and view.ready_models() == ["Bot", "Late"]


def test_it_knows_who_has_the_floor() -> None:
    view = RoomView()
    assert not view.holds("Bot", 4)
    view.take(welcome())
    assert view.holds("bot", 4) and not view.holds("Bot", 5) and not view.holds("Ada", 4)


def test_a_redacted_message_loses_its_words() -> None:
    view = RoomView()
    view.take(message(1, "secret"))
    view.take(Event(kind="redaction", data={"seq": 1, "reason": "private"}))
    assert (view.messages[0].content, view.messages[0].redacted) == ("", "private")


def test_it_stays_bounded_and_forgets_by_the_half() -> None:
    view = RoomView()
    for seq in range(1, 3 * KEPT):
        view.take(message(seq))
        assert len(view.messages) <= KEPT
    assert view.last_seq == 3 * KEPT - 1
    assert (view.messages[0].seq - 1) % (KEPT // 2) == 0


def test_why_nobody_speaks_is_told_once_and_that_they_do_again() -> None:
    free, waiting = floor_view(), replace(floor_view(), waits="8 in a row")
    paused = replace(floor_view(paused=True), paused_by=("Ann", "Max"))
    ended = replace(paused, ended=True)
    resume = "; a moderator's /resume lets it go on"
    floors = [free, paused, paused, free, waiting, waiting, free]
    told = [stillness(before, now) for before, now in pairwise(floors)]
    assert told == [f"paused by Ann, Max{resume}", "", "it goes on", "8 in a row", "", ""]
    assert stillness(None, free) == ""
    assert stillness(None, floor_view(paused=True)) == f"the room has paused itself{resume}"
    assert stillness(paused, ended).startswith("the conversation has ended") and not stillness(ended, ended)
