"""Commands on the floor, as a moderator expects them."""

import pytest

from palaver.core.entry import Joined
from palaver.core.protocol import Ack, Close
from palaver.core.state import FOREVER
from palaver.core.views import floor_view
from tests.core.world import World, disconnected, room_of

# --- silence ---------------------------------------------------------------------------------------------------------


def test_pause_revokes_every_grant_under_a_new_epoch() -> None:
    world = room_of("Ada", "Bob")
    world.say("Mod")
    turn, epoch = world.turn_of("Ada"), world.state.floor.epoch
    assert world.do("/pause") == {"paused": [False, True]}
    assert world.holders() == [] and world.state.floor.epoch == epoch + 1
    world.say("Ada", "too late", turn=turn)
    assert world.nacks() == ["paused"] and world.said() == ["Mod"]


def test_words_of_before_the_pause_are_stale_after_it() -> None:
    world = room_of("Ada")
    world.say("Mod")
    turn = world.turn_of("Ada")
    world.do("/pause")
    world.do("/resume")
    world.say("Ada", "too late", turn=turn)
    assert world.nacks() == ["stale_epoch"] and world.said() == ["Mod"]


def test_people_speak_while_the_room_is_paused() -> None:
    world = room_of("Ada")
    world.do("/pause")
    world.say("Mod", "quiet, please")
    assert world.said() == ["Mod"] and world.holders() == []


def test_pausing_and_resuming_twice_is_once() -> None:
    world = room_of("Ada")
    world.do("/pause")
    epoch = world.state.floor.epoch
    assert world.do("/pause") is None and world.state.floor.epoch == epoch
    assert world.do("/resume") == {"paused": [True, False]}
    assert world.do("/resume") is None


def test_a_pause_of_a_room_that_paused_itself_is_somebodys_pause() -> None:
    world = room_of("Ada", people=("Mod", "Max"))
    world.say("Mod")
    world.do("/step 1")
    world.take_turns()
    assert world.state.floor.paused and world.state.floor.paused_by == []
    epoch = world.state.floor.epoch
    assert world.do("/pause") == {"paused by": [[], ["Mod"]]}
    assert world.state.floor.epoch == epoch + 1
    again = world.command("/pause", by="Max")
    assert isinstance(again, Ack) and again.text == "paused already, and now by you too"
    assert floor_view(world.state).paused_by == ("Mod", "Max")
    world.do("/resume")
    assert floor_view(world.state).paused_by == ()


def test_a_step_that_names_an_epoch_is_not_taken_after_a_pause_that_it_did_not_see() -> None:
    world = room_of("Ada", people=("Mod", "Max"))
    world.do("/pause")
    epoch = world.state.floor.epoch
    world.command("/pause", by="Max")
    assert world.refused(f"/step 1 {epoch}") == f"the room was steered since epoch {epoch}: it is at {epoch + 1}"
    announced = len(world.events("command"))
    assert world.do(f"/step 1 {epoch + 1}") == {"paused": [True, "after 1"]}
    assert len(world.events("command")) == announced, "a program that steps turn by turn fills nobody's screen"


def test_pause_with_names_silences_only_those() -> None:
    world = room_of("Ada", "Bob", "Cid")
    world.say("Mod")
    world.do("/pause ada, bob")
    assert world.holders() == ["Cid"] and not world.state.floor.paused
    world.do("/resume Ada")
    assert world.holders() == ["Cid", "Ada"]
    assert world.state.records["bob"].is_muted(world.now)


def test_pause_of_one_who_is_muted_for_a_while_is_for_good() -> None:
    world = room_of("Ada")
    world.do("/mute Ada 30s")
    assert world.do("/pause Ada") is not None
    world.wait(60)
    world.say("Mod")
    assert world.holders() == [] and world.state.records["ada"].muted_until == FOREVER
    assert world.do("/pause Ada") is None


def test_resume_of_the_room_leaves_those_muted_who_were() -> None:
    world = room_of("Ada", "Bob")
    world.do("/mute Ada")
    world.do("/pause")
    world.do("/resume")
    world.say("Mod")
    assert world.holders() == ["Bob"]


def test_resume_of_one_in_a_paused_room_leaves_the_room_paused() -> None:
    world = room_of("Ada")
    world.do("/mute Ada")
    world.do("/pause")
    world.do("/resume Ada")
    world.say("Mod")
    assert world.state.floor.paused and world.holders() == []


def test_mute_ends_by_itself_and_the_answer_is_still_owed() -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.do("/mute Ada 30s")
    assert world.holders() == []
    world.wait(29)
    assert world.holders() == []
    world.wait(2)
    assert world.holders() == ["Ada"]


def test_timeout_is_a_mute_of_a_minute() -> None:
    world = room_of("Ada")
    world.do("/timeout Ada")
    assert world.state.records["ada"].muted_until == world.now + 60
    world.do("/timeout Ada 5")
    assert world.state.records["ada"].muted_until == world.now + 5


def test_mute_outlives_leaving_and_coming_back() -> None:
    world = room_of("Ada")
    world.do("/mute Ada")
    world.leave("Ada")
    world.join("Ada", session="another")
    world.say("Mod")
    assert world.holders() == []


def test_stop_takes_the_floor_and_does_not_give_it_back_at_once() -> None:
    world = room_of("Ada")
    world.say("Mod")
    epoch = world.state.floor.epoch
    assert world.do("/stop Ada") == {"floor": ["Ada", None]}
    assert world.holders() == [] and world.state.floor.epoch == epoch + 1
    assert world.do("/stop Ada") is None
    world.say("Mod", "and now?")
    assert world.holders() == ["Ada"]


def test_stop_of_one_without_the_floor_leaves_it_owing() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    assert world.holders() == ["Ada"]
    world.do("/stop Bob")
    assert world.take_turns(2) == ["Ada", "Bob"]


def test_step_lets_so_many_messages_through_then_pauses_again() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/pause")
    world.say("Mod")
    world.do("/step 3")
    assert world.take_turns() == ["Ada", "Bob", "Ada"]
    assert world.state.floor.paused
    world.do("/step")
    assert world.take_turns() == ["Bob"] and world.state.floor.paused


def test_step_gives_no_more_floors_than_it_has_messages() -> None:
    world = room_of("Ada", "Bob", "Cid")
    world.do("/pause")
    world.say("Mod")
    world.do("/step 2")
    assert world.holders() == ["Ada", "Bob"]


def test_step_counts_sealed_words_and_keeps_the_rest_sealed() -> None:
    world = room_of("Ada", "Bob", policy="simultaneous")
    world.say("Mod")
    world.say("Ada", "mine")
    world.do("/pause")
    world.do("/step 1")
    assert world.said() == ["Mod", "Ada"] and world.state.floor.paused


def test_sealed_words_beyond_a_step_wait_for_the_next() -> None:
    world = room_of("Ada", "Bob", "Cid", policy="simultaneous")
    world.say("Mod")
    world.say("Ada", "one")
    world.say("Bob", "two")
    world.do("/pause")
    world.do("/step 1")
    assert world.said() == ["Mod", "Ada"] and world.state.floor.paused
    world.do("/resume")
    assert world.said() == ["Mod", "Ada", "Bob"]


def test_step_counts_what_is_held_for_approval_once() -> None:
    world = room_of("Ada", "Bob", "Cid", policy="round_robin")
    world.do("/approve on")
    world.do("/pause")
    world.say("Mod")
    world.do("/step 2")
    world.say("Ada")
    assert world.holders() == ["Bob"]
    world.do("/ok all")
    world.say("Bob")
    assert world.state.floor.paused and world.said() == ["Mod", "Ada"]


def test_deafened_ones_are_not_asked_until_they_hear_again() -> None:
    world = room_of("Ada")
    assert world.do("/deafen Ada") == {"Ada deafened": [False, True]}
    assert world.do("/deafen Ada on") is None
    world.say("Mod")
    assert world.holders() == [] and world.state.records["ada"].deaf == [[1, 0]]
    world.do("/deafen Ada off")
    assert world.holders() == [] and world.state.records["ada"].deaf == [[1, 1]]
    world.say("Mod", "again")
    assert world.holders() == ["Ada"]


def test_one_that_was_deaf_while_nothing_was_said_has_missed_nothing() -> None:
    world = room_of("Ada")
    world.do("/deafen Ada")
    world.do("/deafen Ada off")
    assert world.state.records["ada"].deaf == []


@pytest.mark.parametrize("command", ["mute", "stop", "floor", "deafen", "timeout"])
def test_people_cannot_be_silenced_by_the_floor(command: str) -> None:
    world = room_of("Ada", people=("Mod", "Uma"))
    assert "people always have the floor" in world.refused(f"/{command} Uma")


def test_one_who_was_a_model_and_is_a_moderator_now_is_a_person() -> None:
    world = room_of("Ada")
    world.leave("Ada")
    world.join("Ada", role="moderator")
    world.say("Mod")
    assert world.holders() == []
    assert "people always have the floor" in world.refused("/mute Ada")
    world.say("Ada", "I may speak")
    assert world.said() == ["Mod", "Ada"]


# --- out of the room -------------------------------------------------------------------------------------------------


def test_kick_takes_the_seat_the_floor_and_all_unpublished_words() -> None:
    world = room_of("Ada", "Bob")
    world.do("/approve on")
    world.say("Mod")
    world.say("Ada", "held")
    world.say("Mod", "and?")
    assert world.holders() == ["Bob", "Ada"]
    effects = len(world.effects)
    assert world.do("/kick Ada too loud") == {"Ada here": [True, False]}
    gone = disconnected(world.effects[effects:])
    assert [(one.session, one.code) for one in gone] == [("s-ada", Close.KICKED)] and "too loud" in gone[0].reason
    assert world.state.held == {} and world.holders() == ["Bob"]
    world.say("Ada", "still here", turn=2)
    assert world.nacks() == ["not_joined"]
    assert world.do("/kick Ada") is None


def test_kick_throws_sealed_words_away() -> None:
    world = room_of("Ada", "Bob", policy="simultaneous")
    world.say("Mod")
    world.say("Ada", "sealed")
    world.do("/kick Ada")
    world.say("Bob", "mine")
    assert world.said() == ["Mod", "Bob"]


def test_one_who_was_kicked_may_come_back() -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.do("/kick Ada")
    world.join("Ada", session="another")
    assert world.holders() == ["Ada"]


def test_ban_keeps_the_name_out_for_its_time() -> None:
    world = room_of("Ada")
    assert world.do("/ban Ada 5m") == {"Ada here": [True, False], "Ada banned": [False, True]}
    world.join("ADA", session="another")
    assert [one.code for one in disconnected(world.effects)] == [Close.BANNED, Close.BANNED]
    assert "ada" not in world.state.members
    world.wait(301)
    world.join("Ada", session="another")
    assert "ada" in world.state.members


def test_ban_of_one_who_is_away_counts_too() -> None:
    world = room_of("Ada")
    world.leave("Ada")
    assert world.do("/ban Ada") == {"Ada banned": [False, True]}
    assert world.do("/ban Ada") is None
    world.join("Ada")
    assert "ada" not in world.state.members


@pytest.mark.parametrize("word", ["Zen Sage", '"Zen Sage"', "zen s", "@Zen Sage"])
def test_unban_takes_names_with_spaces_quotes_and_prefixes(word: str) -> None:
    world = room_of("Zen Sage")
    world.do("/ban Zen Sage")
    assert world.do(f"/unban {word}") == {"zen sage banned": [True, False]}
    world.join("Zen Sage")
    assert "zen sage" in world.state.members


def test_unban_prefers_the_whole_name_and_refuses_what_could_be_two() -> None:
    world = room_of("Ann", "Anna")
    world.do("/ban Anna")
    world.do("/ban Ann")
    assert "ann, anna" in world.refused("/unban a").replace("anna, ann", "ann, anna")
    assert world.do("/unban ann") == {"ann banned": [True, False]}
    assert list(world.state.banned) == ["anna"]


def test_a_ban_that_is_over_is_no_ban_to_lift() -> None:
    world = room_of("Ada")
    world.do("/ban Ada 5s")
    world.wait(6)
    assert "nobody" in world.refused("/unban Ada")


# --- who is next -----------------------------------------------------------------------------------------------------


def test_the_same_policy_again_changes_nothing() -> None:
    world = room_of("Ada", policy="open max_in_a_row=3 delay=2")
    world.say("Mod")
    assert world.do("/policy open max_in_a_row=3 delay=2") is None
    assert world.do("/policy open") is None
    assert world.holders() == ["Ada"]


def test_parameters_change_one_by_one() -> None:
    world = room_of("Ada", policy="open max_in_a_row=3 delay=2")
    world.say("Mod")
    epoch = world.state.floor.epoch
    world.do("/policy open delay=5")
    assert world.state.floor.params == {"max_in_a_row": 3} and world.state.floor.slow == 5.0
    assert world.holders() == ["Ada"] and world.state.floor.epoch == epoch


def test_another_policy_revokes_under_a_new_epoch_and_forgets() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.do("/floor Bob for 5")
    turn, epoch = world.turn_of("Bob"), world.state.floor.epoch
    world.do("/policy chair")
    assert world.holders() == [] and world.state.floor.epoch > epoch and world.state.floor.memory == {}
    assert world.state.floor.reserved_turns == 0
    world.say("Bob", "too late", turn=turn)
    assert world.nacks() == ["stale_epoch"]


def test_policy_alone_shows_what_there_is() -> None:
    world = room_of("Ada")
    answer = world.command("/policy")
    assert "round_robin" in getattr(answer, "text", "") and getattr(answer, "changed", 1) is None


def test_floor_for_n_keeps_the_floor_for_its_next_turns() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    assert world.do("/floor Bob for 3") == {"floor": [["Ada"], ["Bob"]]}
    assert world.take_turns(4) == ["Bob", "Bob", "Bob", "Ada"]


def test_floor_for_n_counts_also_for_one_who_has_it() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    turn = world.turn_of("Ada")
    assert world.do("/floor Ada for 2") == {"turns kept for Ada": [0, 2]}
    assert world.do("/floor Ada for 2") is None
    assert world.turn_of("Ada") == turn
    assert world.take_turns(3) == ["Ada", "Ada", "Bob"]


@pytest.mark.parametrize("command", ["/mute Ada", "/kick Ada", "/stop Ada", "/budget Ada messages=0"])
def test_reserved_turns_of_one_who_is_silenced_hold_up_nobody(command: str) -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.do("/floor Ada for 5")
    world.do(command)
    assert world.holders() == ["Bob"]


def test_reserved_turns_of_one_who_starts_loading_hold_up_nobody() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.do("/floor Ada for 5")
    world.status("Ada", "loading")
    world.say("Ada")
    assert world.holders() == ["Bob"]


def test_floor_goes_over_slow_mode_once() -> None:
    world = room_of("Ada", "Bob", policy="round_robin delay=30")
    world.say("Mod")
    world.take_turns(2)
    assert world.holders() == []
    world.do("/floor Ada for 2")
    assert world.holders() == ["Ada"]
    world.say("Ada")
    assert world.holders() == []
    world.wait(31)
    assert world.holders() == ["Ada"]


@pytest.mark.parametrize(
    ("before", "problem"),
    [
        ("/pause", "paused"),
        ("/mute Ada", "muted"),
        ("/budget Ada messages=0", "budget"),
        ("/kick Ada", "not here"),
        ("/end", "ended"),
    ],
)
@pytest.mark.parametrize("command", ["/floor Ada", "/grant Ada", "/retry Ada"])
def test_the_floor_is_not_given_to_one_who_cannot_use_it(command: str, before: str, problem: str) -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.say("Ada")
    world.do(before)
    assert problem in world.refused(command)


def test_the_floor_is_not_given_to_one_who_is_loading() -> None:
    world = room_of("Ada")
    world.join("Bob", ready=False)
    assert "loading" in world.refused("/floor Bob")


def test_the_floor_is_not_given_beyond_what_a_step_allows() -> None:
    world = room_of("Ada", "Bob", policy="simultaneous")
    world.do("/pause")
    world.say("Mod")
    world.do("/step 2")
    world.say("Ada")
    assert world.holders() == ["Bob"]
    world.do("/floor Ada")
    assert world.said() == ["Mod", "Ada"] or world.holders() == ["Ada"]


def test_hands_are_granted_and_denied() -> None:
    world = room_of("Ada", "Bob", policy="chair")
    world.raise_hand("Ada")
    world.raise_hand("Bob")
    assert world.state.floor.hands[0].name == "Ada"
    world.do("/deny Ada")
    assert world.do("/deny Ada") is None
    world.do("/grant Bob")
    assert world.holders() == ["Bob"] and world.state.floor.hands == []
    assert world.do("/grant Bob") is None


def test_a_hand_raised_again_keeps_its_place() -> None:
    world = room_of("Ada", "Bob", policy="chair")
    world.raise_hand("Ada")
    world.raise_hand("Bob")
    world.raise_hand("Ada", 0.9)
    assert [(hand.name, hand.urgency) for hand in world.state.floor.hands] == [("Ada", 0.9), ("Bob", 0.0)]


def test_nothing_is_said_or_granted_after_the_end() -> None:
    world = room_of("Ada")
    world.say("Mod")
    world.do("/approve on")
    world.say("Ada", "held")
    assert world.do("/end that was it") == {"ended": [False, True]}
    assert world.do("/end") is None
    for command in ("/resume", "/step", "/sys no", "/w Ada no", "/sendas Ada no", "/ok all"):
        assert "ended" in world.refused(command)
    world.say("Mod", "anybody?")
    assert world.nacks()[-1] == "ended" and world.said() == ["Mod"]
    assert world.events("ended")[-1].text == "that was it"


def test_names_with_spaces_prefixes_and_quotes_are_understood() -> None:
    world = World()
    world.join("Mod", role="moderator")
    world.join("Zen", "Zen Sage")
    world.do("/mute Zen Sage 30s")
    world.do('/deafen "Zen"')
    world.do('/mute "zen s"')
    assert world.state.records["zen sage"].muted_until == FOREVER
    assert world.state.records["zen"].deafened and not world.state.records["zen"].is_muted(world.now)


def test_an_order_is_a_list_of_names_with_commas_and_who_is_not_known_is_told() -> None:
    world = room_of("Ada", "Zen Sage")
    answer = world.command('/policy round_robin "order=Zen Sage, Ada,Eve"')
    assert isinstance(answer, Ack) and answer.text.endswith("simulator here has been called Eve")
    assert world.state.floor.params == {"order": ["Zen Sage", "Ada", "Eve"]}
    world.say("Mod")
    assert world.holders() == ["Zen Sage"]


def test_settings_are_told_as_they_are_now_also_before_the_first_set() -> None:
    world = room_of("Ada")
    world.leave("Ada")
    told = {"persona": "a secret", "temperature": 0.7, "history": [5], "delay": 2, "model": "tiny", "seed": 1}
    world.put("Ada", Joined(hub="h", settings=told))
    answers = [world.command(f"/{question}") for question in ("set Ada temperature=0.2 history=9", "whois Ada")]
    changed, whois = [answer.text for answer in answers if isinstance(answer, Ack)]
    assert changed == "from the next turn: Ada temperature 0.2 (before: 0.7), Ada history 9 (before: as started)"
    assert "settings temperature=0.2 delay=2 model=tiny history=9, budget" in whois and "secret" not in whois
    answer = world.command("/set Ada delay=2")
    assert isinstance(answer, Ack) and answer.text == "set so already"


@pytest.mark.parametrize(
    ("policy", "note"),
    [
        ("selector by=Eve", "; no model or user simulator here has been called Eve"),
        ("selector by=Mod", "; no model or user simulator here has been called Mod"),
        ("selector", "; by=NAME says who chooses, until then the longest silent speaks"),
        ("""debate phases='[{"speakers":["Ada","Eve"]},{"speakers":["Eve"]}]'""", "here has been called Eve"),
        ("selector by=ada", "whom a model names"),
        ("""debate phases='[{"speakers":["ada"]},{}]'""", "phases with speakers and limits"),
    ],
)
def test_who_could_not_be_meant_is_told_with_a_policy(policy: str, note: str) -> None:
    answer = room_of("Ada").command(f"/policy {policy}")
    assert isinstance(answer, Ack) and answer.text.endswith(note)


def test_answers_tell_settings_as_they_are_typed() -> None:
    world = room_of("Ada", policy="round_robin 'order=Ada'")
    world.do("/set Ada temperature=0.2 model='big one'")
    world.do("/budget Ada messages=5 cost=0.5")
    world.do("/score Ada wit 4")
    told = []
    for question in ("/whois Ada", "/policy", "/status", "/budget Ada", "/alarm", "/set Ada temperature=0.5"):
        answer = world.command(question)
        assert isinstance(answer, Ack) and not set("{}") & set(answer.text)
        told.append(answer.text)
    whois, policy, status, budget, alarm, changed = told
    assert "settings temperature=0.2 'model=big one', budget messages=5 cost=0.5" in whois
    assert "scores wit=4" in whois
    assert policy.startswith("policy round_robin order=Ada; known:") and "policy round_robin order=Ada\n" in status
    assert budget.startswith("Ada: budget messages=5 cost=0.5, used messages 0")
    assert alarm.startswith("alarm: on=on overlap=0.8 ")
    assert changed == "from the next turn: Ada temperature 0.5 (before: 0.2)"
