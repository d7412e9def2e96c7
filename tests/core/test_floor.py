"""The floor: fences, leases, who still owes an answer."""

import pytest

from palaver.core.due import PATIENCE, deadlines
from palaver.core.entry import Elapsed
from palaver.core.protocol import Grant, Revoke
from tests.core.world import World, replied, room_of


def test_words_are_heard_only_under_the_open_turn() -> None:
    world = room_of("Ada")
    world.say("Ada", "too soon", turn=None)
    world.say("Ada", "from the future", turn=7)
    world.say("Mod")
    world.say("Ada", "yes", turn=1)
    world.say("Ada", "and again", turn=1)
    assert world.nacks() == ["no_floor", "no_floor", "stale_epoch"] and world.said() == ["Mod", "Ada"]


def test_a_turn_is_answered_once() -> None:
    world = room_of("Ada", policy="open max_in_a_row=1")
    world.say("Mod")
    turn = world.turn_of("Ada")
    world.say("Ada", turn=turn)
    world.say("Mod")
    world.say("Ada", "from before", turn=turn)
    assert world.nacks() == ["stale_epoch"]


def test_what_came_while_it_waited_is_one_answer() -> None:
    world = room_of("Ada")
    for line in ("one", "two", "three"):
        world.say("Mod", line)
    assert [frame.context for frame in replied(world.effects) if isinstance(frame, Grant)] == [1]
    world.say("Ada", "all three", meta={"saw_to": 3})
    assert world.holders() == []


def test_a_participant_that_comes_back_still_owes_its_answer() -> None:
    world = room_of("Ada")
    world.say("Mod")
    turn = world.turn_of("Ada")
    world.leave("Ada")
    assert world.holders() == []
    world.join("Ada", session="another")
    assert world.holders() == ["Ada"] and world.turn_of("Ada") != turn


def test_the_same_client_on_a_new_connection_gets_a_new_turn() -> None:
    world = room_of("Ada")
    world.say("Mod")
    turn = world.turn_of("Ada")
    world.join("Ada")
    assert world.turn_of("Ada") == (turn or 0) + 1
    world.say("Ada", "from the old connection", turn=turn)
    assert world.nacks() == ["stale_epoch"]


def test_a_newcomer_owes_nothing_for_what_was_said_before() -> None:
    world = room_of()
    world.say("Mod")
    world.join("Ada")
    assert world.holders() == []


def test_one_under_a_new_spelling_does_not_answer_itself() -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.say("Ada", "yes")
    world.leave("Ada")
    world.roles["ada"] = "model"
    world.state.records["ada"].heard = 1
    world.join("ADA")
    assert world.holders() == []


def test_redacted_words_ask_nobody() -> None:
    world = room_of("Ada")
    world.do("/mute Ada")
    world.say("Mod", "never mind")
    world.do("/undo")
    world.do("/unmute Ada")
    assert world.holders() == []


def test_a_lease_over_revokes_says_so_and_goes_on() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.wait(121)
    assert world.holders() == ["Bob"] and len(world.notices("lease_over")) == 1
    assert [frame.turn for frame in replied(world.effects) if isinstance(frame, Revoke)] == [1]


def test_a_client_that_hangs_costs_the_room_one_lease() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.wait(121)
    for _ in range(3):
        world.take_turns(1)
        world.say("Mod")
    assert world.said().count("Bob") == 3 and world.holders() == ["Bob"]


@pytest.mark.parametrize("sign", ["cancelled", "hand", "status", "words", "join"])
def test_one_that_hung_is_asked_again_when_it_shows_life(sign: str) -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.wait(121)
    world.say("Mod", "anybody?")
    assert world.holders() == []
    match sign:
        case "cancelled":
            world.cancelled("Ada", 1)
        case "hand":
            world.raise_hand("Ada")
        case "status":
            world.status("Ada", "ready")
        case "words":
            world.say("Ada", "late", turn=1)
            assert world.nacks() == ["stale_epoch"]
        case "join":
            world.join("Ada")
    assert world.holders() == ["Ada"]


def test_a_client_without_turns_that_hung_is_heard_when_it_speaks_again() -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.wait(121)
    world.say("Mod", "anybody?")
    world.say("Ada", "here I am", turn=None)
    assert world.said() == ["Mod", "Mod", "Ada"]


def test_a_passed_deadline_is_taken_once_and_only_when_it_is_due() -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.put("hub", Elapsed(key="lease:1"), session="")
    assert world.holders() == ["Ada"]
    world.wait(121)
    for key in ("lease:1", "lease:²", "lease:", "lease:99999999999999999999999", "cancel:²", "cancel:", "nonsense"):
        world.put("hub", Elapsed(key=key), session="")
    assert len(world.notices("lease_over")) == 1


def test_a_revoke_that_is_not_answered_makes_its_client_unresponsive_until_it_is() -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.do("/stop Ada")
    world.wait(PATIENCE + 1)
    assert [event.data["unresponsive"] for event in world.events("alarm")] == [True]
    assert "UNRESPONSIVE" in getattr(world.command("/whois Ada"), "text", "")
    world.cancelled("Ada", 1)
    assert "p50 50 ms" in getattr(world.command("/whois Ada"), "text", "")


def test_nothing_is_due_in_a_quiet_room() -> None:
    world = room_of("Ada", "Bob")
    assert deadlines(world.state) == []


def test_the_reasons_of_the_last_256_turns_are_remembered() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/hops 0")
    world.say("Mod")
    for count in range(1, 300):
        world.say(world.holders()[0])
        turn = world.state.floor.turn
        assert turn == count + 1 and list(world.state.decisions) == list(range(max(1, turn - 255), turn + 1))


def test_a_pass_is_silence_and_a_failure_is_said() -> None:
    world = room_of("Ada", "Bob")
    world.say("Mod")
    world.pass_turn("Ada", reason="nothing to add")
    world.pass_turn("Bob", reason="out of memory", failed=True)
    assert world.events("pass")[0].text == "nothing to add"
    notices = world.notices("model_failed")
    assert len(notices) == 1 and "out of memory" in str(notices[0])


def test_only_the_holder_can_pass() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.pass_turn("Bob")
    assert world.holders() == ["Ada"]


def test_observers_read_and_loading_models_are_not_asked() -> None:
    world = World()
    world.join("Mod", role="moderator")
    world.join("Eve", role="observer")
    world.join("Ada", ready=False)
    world.say("Eve")
    assert world.nacks() == ["not_allowed"]
    world.say("Mod")
    assert world.holders() == []
    world.status("Ada", "ready")
    assert world.holders() == ["Ada"]


def test_a_name_is_one_persons_at_a_time_whatever_its_case() -> None:
    """A2.7"""
    world = room_of("Ada")
    world.join("ADA", session="another")
    assert world.state.members["ada"].session == "s-ada"
    world.leave("Ada")
    world.join("ADA", session="another")
    assert world.state.members["ada"].name == "ADA"
