"""The room as the seat knows it."""

from palaver.core.protocol import Event, Holder, Presence, Streamed
from palaver.participants.console.view import KEPT, RoomView
from tests.participants.console.frames import TIME, floor, message, welcome


def seated() -> RoomView:
    view = RoomView(room="main", me="Moderator")
    view.take(welcome("Ada", "Bob"), 0.0)
    return view


def holding(*turns: int) -> tuple[Holder, ...]:
    return tuple(Holder(name=f"Bot {turn}", turn=turn, since=TIME) for turn in turns)


def test_a_welcome_ends_the_time_without_a_connection() -> None:
    view = RoomView(room="main", me="Moderator", down_since=0.0)
    assert not view.is_up
    view.take(welcome("Ada"), 1.0)
    assert view.is_up
    view.lost(5.0)
    view.lost(9.0)
    assert view.down_since == 5.0


def test_who_comes_and_goes_is_known() -> None:
    view = seated()
    view.take(Presence(name="Cid", role="model", state="joined"), 0.0)
    view.take(Presence(name="ADA", role="model", state="left"), 0.0)
    assert view.names == ["Bob", "Cid"]


def test_what_one_who_comes_told_of_itself_is_known_and_whether_it_hears() -> None:
    view = seated()
    view.take(Presence(name="Cid", role="model", state="joined", about="tiny (hf on cpu)"), 0.0)
    view.take(Event(kind="command", data={"changed": {"Cid deafened": [False, True]}}), 0.0)
    assert (view.seats["cid"].about, view.seats["cid"].deafened) == ("tiny (hf on cpu)", True)
    view.take(Presence(name="Cid", role="model", state="ready"), 0.0)
    view.take(Event(kind="command", data={"changed": {"Cid deafened": [True, False]}}), 0.0)
    assert (view.seats["cid"].about, view.seats["cid"].deafened) == ("tiny (hf on cpu)", False)


def test_the_system_is_nobody_who_could_be_named() -> None:
    view = seated()
    view.take(message(1, "system", "hello"), 0.0)
    assert view.names == ["Ada", "Bob"]


def test_those_who_left_can_still_be_named_by_what_they_said() -> None:
    view = seated()
    view.take(message(1, "Gone", "bye"), 0.0)
    assert view.names == ["Ada", "Bob", "Gone"]


def test_streamed_text_gathers_until_its_message_comes() -> None:
    view = seated()
    view.take(floor(holders=holding(1)), 0.0)
    for piece in ("so ", "it ", "goes"):
        view.take(Streamed(sender="Bot 1", turn=1, text=piece), 0.0)
    assert view.streams[1].text == "so it goes"
    view.take(message(1, "Bot 1", "so it goes", turn=1), 0.0)
    assert not view.streams


def test_what_was_being_said_is_dropped_when_the_floor_is_taken_back() -> None:
    view = seated()
    view.take(floor(holders=holding(1, 2)), 0.0)
    for turn in (1, 2):
        view.take(Streamed(sender=f"Bot {turn}", turn=turn, text="well"), 0.0)
    view.take(floor(holders=holding(2), epoch=2), 0.0)
    assert list(view.streams) == [2]
    view.take(Event(kind="pass", actor="Bot 2", data={"turn": 2}), 0.0)
    assert not view.streams


def test_how_long_somebody_has_the_floor_is_counted_by_this_clock() -> None:
    view = seated()
    view.take(floor(holders=holding(1)), 100.0)
    view.take(floor(holders=holding(1, 2)), 105.0)
    assert (view.held_for(1, 110.0), view.held_for(2, 110.0)) == (10.0, 5.0)


def test_messages_a_minute_leave_out_those_that_were_missed() -> None:
    view = seated()
    view.take(welcome("Ada", missed=2), 0.0)
    for seq in range(1, 6):
        view.take(message(seq, "Ada", "x"), float(seq))
    assert view.per_minute(5.0) == 3
    assert view.per_minute(64.5) == 1


def test_a_redaction_reaches_what_was_kept() -> None:
    view = seated()
    view.take(message(1, "Ada", "the secret", meta={"prompt": "secret"}), 0.0)
    view.take(Event(kind="redaction", data={"seq": 1, "reason": "private"}), 0.0)
    assert (view.messages[1].content, view.messages[1].redacted, view.messages[1].meta) == ("", "private", None)


def test_held_messages_are_known_until_they_are_let_through() -> None:
    view = seated()
    for ticket in ("1", "2"):
        view.take(Event(kind="held", actor="Ada", data={"id": ticket}), 0.0)
    view.take(Event(kind="command", data={"changed": {"held": [["1"], []]}}), 0.0)
    assert view.held == ["2"]


def test_who_has_left_is_not_next() -> None:
    view = seated()
    view.take(floor(queue=("Ada", "Bob")), 0.0)
    view.take(Presence(name="Ada", role="model", state="left"), 0.0)
    assert view.floor.queue == ("Bob",)


def test_loading_is_followed_until_it_is_done() -> None:
    view = seated()
    view.take(Presence(name="Cid", role="model", state="loading", text="weights", progress=0.5), 0.0)
    assert view.loading == {"Cid": "50% weights"}
    view.take(Presence(name="Cid", role="model", state="loading", text="loading its adapter"), 0.0)
    assert view.loading == {"Cid": "its adapter"}
    view.take(Presence(name="Cid", role="model", state="ready"), 0.0)
    assert not view.loading


def test_memory_is_bounded() -> None:
    view = seated()
    for seq in range(1, KEPT + 11):
        view.take(message(seq, "Ada", "x"), 0.0)
    assert len(view.messages) == KEPT
    assert min(view.messages) == 11


def test_events_with_odd_data_do_no_harm() -> None:
    view = seated()
    for data in ({"seq": "x"}, {"changed": 5}, {"changed": {"held": "ab"}}, {"turn": None}):
        for kind in ("redaction", "command", "held", "cancelled"):
            view.take(Event(kind=kind, data=data), 0.0)
    assert view.messages == {}
