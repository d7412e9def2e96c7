"""What members are told of a room."""

from palaver.core.views import floor_view, queue, roster
from tests.core.world import room_of


def test_the_floor_is_told_as_it_is() -> None:
    world = room_of("Ada", "Bob", "Cid", policy="round_robin delay=2")
    world.do("/mute Cid")
    world.do("/topic tea")
    world.say("Mod")
    view = floor_view(world.state)
    assert [holder.name for holder in view.holders] == ["Ada"] and view.muted == ("Cid",)
    assert (view.policy, view.slow, view.topic, view.paused, view.hop_limit) == ("round_robin", 2.0, "tea", False, 40)
    assert view.queue == ("Bob",)


def test_the_queue_begins_with_raised_hands_then_goes_in_the_policys_order() -> None:
    world = room_of("Ada", "Bob", "Cid", "Dan", policy="round_robin")
    world.say("Mod")
    world.raise_hand("Dan")
    assert queue(world.state) == ["Dan", "Bob", "Cid"]


def test_the_roster_says_who_loads_is_muted_deaf_or_away() -> None:
    world = room_of("Ada", "Bob", "Cid")
    world.status("Bob", "loading")
    world.do("/deafen Cid")
    world.do("/mute Cid")
    world.say("Mod")
    world.wait(121)
    seats = {seat.name: seat for seat in roster(world.state)}
    assert {name: seat.state for name, seat in seats.items()} == {
        "Mod": "ready",
        "Ada": "away",
        "Bob": "loading",
        "Cid": "ready",
    }
    assert seats["Cid"].muted and seats["Cid"].deafened
