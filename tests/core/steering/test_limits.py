"""Slow mode, hops, leases, approval and budgets."""

import pytest

from palaver.core.protocol import Ack
from tests.core.world import replied, room_of


def test_slow_mode_spaces_the_messages_of_each_agent() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    assert world.do("/slow 10") == {"slow": [0.0, 10.0]}
    assert world.do("/slow 10") is None
    world.say("Mod")
    assert world.take_turns() == ["Ada", "Bob"]
    world.wait(9)
    assert world.holders() == []
    world.wait(2)
    assert world.take_turns() == ["Ada", "Bob"]


@pytest.mark.parametrize("command", ["/slow off", "/policy round_robin delay=0"])
def test_slow_mode_off_lets_go_at_once(command: str) -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/slow 100")
    world.say("Mod")
    world.take_turns()
    world.do(command)
    assert world.holders() == ["Ada"]


def test_the_hop_limit_stops_ten_echo_bots_exactly_where_it_is() -> None:
    """They have one line of a moderator and no other bound."""
    world = room_of(*(f"Bot {number}" for number in range(10)), policy="open max_in_a_row=1000")
    world.say("Mod", "go")
    spoke = 0
    while holders := world.holders():
        world.say(holders[spoke % len(holders)], f"echo of everything {spoke}")
        spoke += 1
    assert spoke == 40 and world.state.seq == 41
    assert world.state.floor.paused and len(world.notices("hop_limit")) == 1
    world.do("/resume")
    assert world.holders()


def test_a_hop_limit_below_what_was_said_pauses_the_room_and_says_so() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.take_turns(5)
    world.do("/hops 3")
    assert world.state.floor.paused and len(world.notices("hop_limit")) == 1


def test_a_human_line_begins_the_count_anew() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/hops 3")
    world.say("Mod")
    world.take_turns(2)
    world.say("Mod")
    assert world.take_turns() == ["Ada", "Bob", "Ada"] and world.state.floor.paused


def test_without_a_hop_limit_agents_talk_on() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/hops 0")
    world.say("Mod")
    assert len(world.take_turns(100)) == 100


def test_a_lease_counts_for_the_next_grant() -> None:
    world = room_of("Ada")
    world.do("/lease 5")
    world.say("Mod")
    world.wait(4.9)
    assert world.holders() == ["Ada"]
    world.wait(0.2)
    assert world.holders() == [] and len(world.notices("lease_over")) == 1


# --- approval --------------------------------------------------------------------------------------------------------


def test_held_words_wait_for_ok_and_are_acknowledged_twice() -> None:
    """First that they are safe, without a number; then with the number they got."""
    world = room_of("Ada")
    assert world.do("/approve on") == {"approval": [False, True]}
    assert world.do("/approve on") is None
    world.say("Mod", "well?")
    world.say("Ada", "may I?", id="a1")
    assert world.said() == ["Mod"] and world.events("held")[-1].data["content"] == "may I?"
    world.do("/ok 1")
    assert world.said() == ["Mod", "Ada"]
    assert [frame.seq for frame in replied(world.effects) if isinstance(frame, Ack) and frame.id == "a1"] == [None, 2]


def test_held_words_that_are_sent_again_are_held_once() -> None:
    world = room_of("Ada")
    world.do("/approve on")
    world.say("Mod")
    world.say("Ada", "may I?", id="a1")
    world.say("Ada", "may I?", id="a1")
    assert list(world.state.held) == ["1"] and world.nacks() == []


def test_dropped_words_are_never_heard() -> None:
    world = room_of("Ada")
    world.do("/approve on")
    world.say("Mod")
    world.say("Ada", "nonsense", id="a1")
    world.do("/drop 1")
    assert world.nacks() == ["dropped"] and world.said() == ["Mod"]
    assert "none" in world.refused("/ok 1")
    assert world.do("/ok all") is None


def test_ok_all_leaves_out_those_who_were_muted_meanwhile() -> None:
    world = room_of("Ada", "Bob")
    world.do("/approve on")
    world.say("Mod")
    world.say("Ada")
    world.say("Bob")
    world.do("/mute Ada")
    world.do("/ok all")
    assert world.said() == ["Mod", "Bob"] and list(world.state.held) == ["1"]
    world.do("/ok 1")
    assert world.said() == ["Mod", "Bob", "Ada"]


def test_no_more_than_a_hundred_messages_wait_for_approval() -> None:
    world = room_of("Ada")
    world.do("/approve on")
    for number in range(120):
        world.say("Mod", f"question {number}")
        world.take_turns()
    assert len(world.state.held) == 100
    world.do("/drop all")
    assert world.holders() == ["Ada"]


# --- budgets ---------------------------------------------------------------------------------------------------------


def test_a_budget_warns_at_eighty_percent_and_silences_at_a_hundred() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/budget Ada messages=5")
    world.say("Mod")
    world.take_turns(7)
    assert [event.data["used"] for event in world.events("budget")] == [0.8]
    assert len(world.take_turns()) == 3
    assert [event.data["used"] for event in world.events("budget")] == [0.8, 1.0]
    assert world.said().count("Ada") == 5 and world.holders() == []
    world.do("/budget Ada messages=6")
    world.say("Mod")
    assert world.take_turns(5).count("Ada") == 1
    world.say("Ada", turn=None)
    assert world.nacks() == ["budget"]


@pytest.mark.parametrize(("limit", "meta"), [("tokens=100", {"prompt_tokens": 90, "completion_tokens": 10})])
def test_tokens_count_as_reported(limit: str, meta: dict[str, float]) -> None:
    world = room_of("Ada")
    world.do(f"/budget Ada {limit}")
    world.say("Mod")
    world.say("Ada", meta=meta)
    world.say("Mod")
    assert world.holders() == []


def test_cost_counts_as_reported_and_rubbish_does_not() -> None:
    world = room_of("Ada")
    world.do("/budget all cost=0.5")
    for cost in ("much", -3, 10**30, None, 0.3):
        world.say("Mod")
        world.say("Ada", meta={"cost": cost})
    assert world.state.spent["cost"] == 0.3
    world.say("Mod")
    world.say("Ada", meta={"cost": 0.3})
    assert world.state.floor.paused


def test_the_room_pauses_when_its_budget_is_spent_until_there_is_a_new_one() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/budget all messages=4")
    world.say("Mod")
    assert world.take_turns() == ["Ada", "Bob", "Ada", "Bob"]
    assert world.state.floor.paused and len(world.notices("budget")) == 1
    world.do("/resume")
    assert world.state.floor.paused and len(world.notices("budget")) == 2
    world.do("/budget all messages=6")
    world.do("/resume")
    assert len(world.take_turns()) == 2


def test_a_budget_of_seconds_revokes_while_it_is_being_used() -> None:
    world = room_of("Ada")
    world.do("/budget Ada seconds=10")
    world.say("Mod")
    epoch = world.state.floor.epoch
    world.wait(9)
    assert world.holders() == ["Ada"]
    world.wait(2)
    assert world.holders() == [] and world.state.floor.epoch > epoch
    world.say("Mod")
    assert world.holders() == []


def test_a_room_budget_of_seconds_runs_from_when_it_was_set() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.wait(100)
    world.do("/budget all seconds=10")
    world.say("Mod")
    world.wait(9)
    assert not world.state.floor.paused
    world.wait(2)
    assert world.state.floor.paused


def test_time_that_ended_in_a_revoke_is_counted_too() -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.wait(7)
    world.do("/stop Ada")
    assert world.state.records["ada"].seconds == pytest.approx(7)


def test_limits_of_a_budget_change_one_by_one() -> None:
    world = room_of("Ada")
    assert world.do("/budget Ada tokens=100 cost=1") == {"budget Ada": [{}, {"tokens": 100.0, "cost": 1.0}]}
    assert world.do("/budget Ada tokens=100") is None
    world.do("/budget Ada tokens=off messages=3")
    assert world.state.records["ada"].budget == {"cost": 1.0, "messages": 3.0}
    assert "used messages 0" in getattr(world.command("/budget Ada"), "text", "")
