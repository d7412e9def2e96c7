"""The room as a participant has it before its eyes."""

from palaver.core.protocol import Event, Presence, Seat, Welcome
from palaver.participants.view import KEPT, RoomView
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
