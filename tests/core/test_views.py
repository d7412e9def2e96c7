"""What members are told of a room."""

from palaver.core.protocol import Ack
from palaver.core.views import floor_view, roster
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
    assert floor_view(world.state).queue == ("Dan", "Bob", "Cid")


def test_models_that_wait_for_a_person_are_told_and_why() -> None:
    world = room_of("Ada", "Bob", policy="open max_in_a_row=2")
    world.say("Mod")
    world.say("Ada")
    assert floor_view(world.state).waits == ""
    world.say("Bob")
    told = floor_view(world.state)
    assert told.waits.startswith("models wait for a person to speak: 2 messages in a row")
    assert told.waits.endswith("/policy open max_in_a_row=0 lets them go on")
    assert told.queue == ("Ada", "Bob") and not told.holders
    for question in ("/status", "/queue"):
        answer = world.command(question)
        assert isinstance(answer, Ack) and told.waits in answer.text
    world.say("Mod")
    assert floor_view(world.state).waits == ""


def test_nobody_waits_for_a_person_in_a_room_that_is_paused_has_ended_or_has_a_simulated_user() -> None:
    world = room_of("Ada", "Bob", policy="open max_in_a_row=1")
    world.say("Mod")
    world.say("Ada")
    assert floor_view(world.state).waits
    world.join("Sim", role="user_sim")
    world.say("Mod")
    world.say("Ada")
    assert (world.holders(), floor_view(world.state).waits) == (["Sim"], "")
    world.do("/pause")
    assert floor_view(world.state).waits == ""
    world.do("/end")
    told = floor_view(world.state)
    assert (told.waits, told.ended, told.queue) == ("", True, ())


def test_a_debate_tells_who_is_next_what_it_waits_for_and_when_it_is_over() -> None:
    world = room_of("Ada", "Bob", "Cid", policy="""debate phases='[{"speakers":["Ada","Bob","Zöe"]}]'""")
    assert (world.holders(), floor_view(world.state).queue) == (["Ada"], ("Bob",))
    assert floor_view(world.state).waits == ""
    world.say("Ada")
    world.say("Bob")
    assert (floor_view(world.state).waits, floor_view(world.state).queue) == (
        "the debate waits for Zöe, who is not here",
        (),
    )
    world.join("Zöe")
    assert (world.holders(), floor_view(world.state).waits) == (["Zöe"], "")
    world.say("Zöe")
    told = floor_view(world.state)
    assert told.waits == "all phases of the debate are over: /policy NAME lets them talk on"
    assert told.queue == ()
    world.do("/policy chair")
    assert (floor_view(world.state).waits, floor_view(world.state).queue) == ("", ())
    world.do("/policy debate")
    assert floor_view(world.state).waits == "the debate has no phases: /policy debate file=FILE.yaml gives it some"


def test_a_debate_whose_next_speakers_are_all_silenced_says_so() -> None:
    world = room_of("Ada", "Bob", policy="""debate phases='[{"speakers":["Ada"]},{"speakers":["Bob"]}]'""")
    world.do("/mute Bob")
    world.say("Ada")
    assert floor_view(world.state).waits == "nobody is here who could speak in the debate's next phase"
    world.do("/unmute Bob")
    assert (world.holders(), floor_view(world.state).waits) == (["Bob"], "")


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
