"""Hubs that are lost and come back: what becomes of those who sit in the room by way of them."""

from palaver.core import due
from palaver.core.effects import Announce, Disconnect
from palaver.core.entry import HubBack, HubLost, Joined
from palaver.core.protocol import Close, Presence
from tests.core.world import World, room_of


def lose(world: World, hub: str = "h") -> list[str]:
    """The hub is lost; whoever is announced as away."""
    effects = world.put("hub", HubLost(hub=hub), session="")
    return [one.frame.name for one in effects if isinstance(one, Announce) and isinstance(one.frame, Presence)]


def move(world: World, name: str, session: str | None = None) -> None:
    """Join again by way of another hub."""
    world.put(name, Joined(hub="other"), session=session)


def test_members_of_a_lost_hub_are_away_and_the_floor_goes_on() -> None:
    world = room_of("Ada", "Bob")
    move(world, "Bob")
    world.do("/policy round_robin")
    world.say("Mod", "well?")
    assert world.holders() == ["Ada"]
    assert sorted(lose(world)) == ["Ada", "Mod"]
    assert world.holders() == ["Bob"]
    before = world.snapshot()
    assert lose(world) == []  # said twice, it is one loss
    assert world.snapshot() == before


def test_who_joins_again_by_another_hub_has_its_seat_and_what_it_owed() -> None:
    world = room_of("Ada")
    world.say("Mod", "well?")
    lose(world)
    assert world.holders() == []
    move(world, "Ada", session="thief")
    assert world.state.members["ada"].hub == "h"
    move(world, "Ada")
    assert (world.state.members["ada"].hub, world.state.members["ada"].away) == ("other", False)
    assert world.holders() == ["Ada"]
    assert lose(world) == []
    world.wait(due.GRACE + 1)
    assert set(world.state.members) == {"ada"}


def test_a_seat_is_kept_for_a_while_and_then_given_up_once() -> None:
    world = room_of("Ada")
    lose(world)
    world.wait(due.GRACE - 0.1)
    assert set(world.state.members) == {"ada", "mod"}
    effects = len(world.effects)
    world.wait(0.2)
    assert not world.state.members
    assert not world.state.lost
    gone = [one for one in world.effects[effects:] if isinstance(one, Disconnect)]
    assert {(one.session, one.code) for one in gone} == {("s-ada", Close.GOING_AWAY), ("s-mod", Close.GOING_AWAY)}
    assert not due.deadlines(world.state)


def test_a_hub_that_is_back_has_its_members_back() -> None:
    world = room_of("Ada")
    world.say("Mod", "well?")
    lose(world)
    world.put("hub", HubBack(hub="other"), session="")
    assert world.state.members["ada"].away
    world.put("hub", HubBack(hub="h"), session="")
    assert not any(member.away for member in world.state.members.values())
    assert not world.state.lost
    assert world.holders() == ["Ada"]
    before = world.snapshot()
    world.put("hub", HubBack(hub="h"), session="")
    assert world.snapshot() == before


def test_a_word_of_a_member_tells_that_its_hub_is_there() -> None:
    world = room_of("Ada")
    lose(world)
    world.say("Mod", "I am here")
    assert set(world.state.lost) == {"ada"}
