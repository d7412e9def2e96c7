"""Each policy against tables of expected speakers."""

from itertools import pairwise

import pytest

from palaver.core import floor
from palaver.core.policies import POLICIES
from palaver.core.protocol import Grant
from palaver.core.situation import splitmix64
from tests.core.world import World, replied, room_of

THREE = ("Ada", "Bob", "Cid")
DEBATE = (
    """debate phases='[{"name":"opening","speakers":["Ada","Bob"]},"""
    """{"name":"rebuttal","speakers":["Bob","Ada"],"turns":2}]'"""
)


def reasons(world: World) -> list[str]:
    """Why each grant was given."""
    return [frame.reason for frame in replied(world.effects) if isinstance(frame, Grant)]


# --- open ------------------------------------------------------------------------------------------------------------


def test_open_gives_the_floor_to_everybody_who_has_something_to_answer() -> None:
    world = room_of(*THREE)
    assert world.holders() == []
    world.say("Mod")
    assert world.holders() == ["Ada", "Bob", "Cid"]
    world.say("Bob")
    assert world.holders() == ["Ada", "Cid"]
    world.say("Ada")
    assert world.holders() == ["Cid", "Ada", "Bob"], "Ada has not seen what Bob said meanwhile"


def test_a_reply_that_says_it_saw_more_owes_nothing_for_it() -> None:
    world = room_of("Ada", "Bob")
    world.say("Mod")
    world.say("Bob")
    world.say("Ada", meta={"saw_to": 2})
    assert world.holders() == ["Bob"]


def test_open_stops_at_max_in_a_row_and_goes_on_after_a_human() -> None:
    """A2.5: bounded replies, then silence."""
    world = room_of("Ada", "Bob", policy="open max_in_a_row=5")
    world.say("Mod")
    assert len(world.take_turns()) == 5 and world.holders() == []
    world.say("Mod")
    assert len(world.take_turns()) == 5


def test_open_by_default_ends_by_itself() -> None:
    world = room_of("Ada", "Bob")
    world.say("Mod")
    assert len(world.take_turns()) == 8 and not world.state.floor.paused


def test_a_simulated_user_has_the_floor_where_models_have_had_theirs() -> None:
    world = room_of("Ada", "Bob", policy="open max_in_a_row=3")
    world.join("Uma", role="user_sim")
    world.do("/mute Uma")
    world.say("Mod")
    assert len(world.take_turns()) == 3 and world.holders() == []
    world.do("/unmute Uma")
    assert world.holders() == ["Uma"]
    world.say("Uma")
    assert world.holders() == ["Ada", "Bob"]


def test_the_open_turn_of_a_simulated_user_takes_none_from_the_models() -> None:
    world = room_of("Ada", "Bob", policy="open max_in_a_row=2")
    world.join("Uma", role="user_sim")
    world.say("Mod")
    assert world.holders() == ["Ada", "Bob", "Uma"]


def test_a_raised_hand_is_no_way_around_max_in_a_row() -> None:
    world = room_of("Ada", policy="open max_in_a_row=2")
    world.say("Mod")
    for _ in range(10):
        world.raise_hand("Ada")
        world.take_turns()
    assert world.said() == ["Mod", "Ada", "Ada"]


def test_a_raised_hand_comes_before_the_others() -> None:
    world = room_of(*THREE, policy="round_robin")
    world.say("Mod")
    world.raise_hand("Cid")
    world.say("Ada")
    assert world.holders() == ["Cid"]


# --- round robin -----------------------------------------------------------------------------------------------------


def test_round_robin_goes_round_in_order_of_arrival() -> None:
    world = room_of(*THREE, policy="round_robin")
    world.say("Mod")
    assert world.take_turns(7) == ["Ada", "Bob", "Cid", "Ada", "Bob", "Cid", "Ada"]


def test_round_robin_leaves_out_the_muted_and_takes_them_up_again() -> None:
    world = room_of(*THREE, policy="round_robin")
    world.do("/mute Bob")
    world.say("Mod")
    assert world.take_turns(4) == ["Ada", "Cid", "Ada", "Cid"]
    world.do("/unmute Bob")
    assert world.take_turns(4) == ["Ada", "Bob", "Cid", "Ada"]


def test_round_robin_leaves_out_the_absent_and_goes_on_where_they_sat() -> None:
    world = room_of(*THREE, policy="round_robin")
    world.say("Mod")
    assert world.take_turns(1) == ["Ada"]
    world.leave("Bob")
    assert world.take_turns(3) == ["Cid", "Ada", "Cid"]
    world.join("Bob")
    assert world.take_turns(4) == ["Ada", "Bob", "Cid", "Ada"]


def test_round_robin_goes_on_after_a_speaker_that_has_left() -> None:
    world = room_of(*THREE, policy="round_robin")
    world.say("Mod")
    assert world.take_turns(1) == ["Ada"]
    world.say("Bob")
    world.leave("Bob")
    assert world.holders() == ["Cid"]


def test_round_robin_ends_where_everybody_passes() -> None:
    world = room_of(*THREE, policy="round_robin")
    world.say("Mod")
    passed = []
    while holders := world.holders():
        passed += holders
        world.pass_turn(holders[0], reason="nothing to add")
    assert passed == ["Ada", "Bob", "Cid"] and world.said() == ["Mod"]
    world.say("Mod", "really?")
    assert world.holders() == ["Ada"]


def test_round_robin_goes_round_in_the_order_given_and_the_rest_after_it() -> None:
    world = room_of(*THREE, policy="""round_robin order='["cid","Nobody","Ada"]'""")
    world.say("Mod")
    assert world.take_turns(5) == ["Cid", "Ada", "Bob", "Cid", "Ada"]
    world.join("Dan")
    assert world.take_turns(3) == ["Bob", "Dan", "Cid"]
    assert "round_robin: next in the order given" in reasons(world)


def test_one_at_a_time_means_one_at_a_time() -> None:
    for policy in ("round_robin", "random", "pooled", "mention"):
        world = room_of(*THREE, policy=policy)
        world.say("Mod")
        world.say("Mod", "and again")
        assert len(world.holders()) == 1, policy


# --- random, pooled --------------------------------------------------------------------------------------------------


def test_random_draws_from_all_and_never_the_one_who_just_spoke() -> None:
    world = room_of(*THREE, policy="random")
    world.do("/hops 0")
    world.say("Mod")
    spoke = world.take_turns(60)
    assert set(spoke) == set(THREE)
    assert all(one != other for one, other in pairwise(spoke))


def test_random_is_seeded() -> None:
    draws = []
    for _ in range(2):
        world = room_of(*THREE, policy="random")
        world.say("Mod")
        draws.append(world.take_turns(20))
    assert draws[0] == draws[1]


def test_random_by_a_seed_of_its_own_draws_the_same_in_any_room() -> None:
    draws = []
    for seed, said_before in ((7, 0), (7, 3), (8, 0)):
        world = room_of(*THREE, policy="random")
        for _ in range(said_before):  # the room's own generator moves on
            world.say("Mod")
            world.take_turns(1)
        world.do(f"/policy random seed={seed}")
        world.do("/pause")
        for name in THREE:
            world.leave(name)
            world.join(name)
        world.do("/resume")
        world.say("Mod")
        draws.append(world.take_turns(20))
    assert draws[0] == draws[1] != draws[2]


def test_splitmix64_gives_the_published_numbers() -> None:
    """The first outputs for seed 1234567, as listed with the reference implementation by Vigna."""
    state, expected = 1234567, [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for wanted in expected:
        state, drawn = splitmix64(state)
        assert int(drawn * (1 << 53)) == wanted >> 11


def test_pooled_lets_everybody_speak_once_in_each_round() -> None:
    world = room_of(*THREE, "Dan", policy="pooled")
    world.do("/hops 0")
    world.say("Mod")
    spoke = world.take_turns(40)
    assert all(len(set(spoke[place : place + 4])) == 4 for place in range(0, 40, 4))
    assert len({tuple(spoke[place : place + 4]) for place in range(0, 40, 4)}) > 1


# --- mention ---------------------------------------------------------------------------------------------------------

MENTIONS = [
    ('@"Zen Sage", what do you think?', ["Zen Sage"]),
    ("@Zen Sage what do you think?", ["Zen Sage"]),
    ("what does Zen Sage think?", ["Zen Sage"]),
    ("zen sage?", ["Zen Sage"]),
    ("Misaka, please", ["Misaka"]),
    ("Misaka's turn", ["Misaka"]),
    ("Misa, please", ["Misaka"]),  # nobody is meant: the fallback begins with who came first
    ("Misakas are many", ["Misaka"]),
    ("Bob first, then Misaka", ["Bob", "Misaka"]),
    ("Zen, not the sage", ["Zen"]),
    ("Zen Sage, then Zen", ["Zen Sage", "Zen"]),
    ("run `@Bob` and\n```\nZen Sage\n```\nBob", ["Bob"]),
]


@pytest.mark.parametrize(("text", "expected"), MENTIONS)
def test_mention_gives_the_floor_to_whom_it_names(text: str, expected: list[str]) -> None:
    world = room_of("Misaka", "Zen Sage", "Zen", "Bob", policy="mention")
    world.say("Mod", text)
    spoke = []
    for _ in expected:
        spoke += world.holders()
        world.say(world.holders()[0], "yes")
    assert spoke == expected
    named = [reason for reason in reasons(world) if reason.startswith("mention: named")]
    assert len(named) == len(expected) * (not text.startswith(("Misa,", "Misakas")))


def test_quoted_code_names_nobody() -> None:
    world = room_of("Ada", "Bob", policy="mention fallback=chair")
    world.say("Mod", "`Bob` and ```\n@all\n```")
    assert world.holders() == []


def test_mention_of_all_asks_everybody_once() -> None:
    world = room_of(*THREE, policy="mention fallback=chair")
    world.say("Mod", "@all: your names, please")
    assert world.take_turns() == ["Ada", "Bob", "Cid"]


def test_answers_do_not_make_the_rest_of_the_named_forgotten() -> None:
    world = room_of(*THREE, policy="mention fallback=chair")
    world.say("Mod", "Cid and Bob?")
    world.say("Cid", "I think so, Ada")
    world.say("Bob", "me too")
    assert world.holders() == ["Ada"]


def test_a_name_called_while_another_speaks_is_not_lost() -> None:
    world = room_of(*THREE, policy="mention fallback=chair")
    world.say("Mod", "Ada?")
    world.say("Mod", "and you, Bob?")
    world.say("Ada", "well")
    assert world.holders() == ["Bob"]


def test_a_person_naming_somebody_comes_before_those_still_waiting() -> None:
    world = room_of(*THREE, policy="mention fallback=chair")
    world.say("Mod", "@all?")
    world.say("Mod", "no, Cid first")
    world.say("Ada", "well")
    assert world.take_turns() == ["Cid", "Bob"]


def test_nobody_names_itself_and_whispers_name_nobody() -> None:
    world = room_of("Ada", "Bob", policy="mention fallback=chair")
    world.say("Mod", "Bob?", to="Ada")
    assert world.holders() == []
    world.say("Mod", "Ada?")
    world.say("Ada", "Ada says no")
    assert world.holders() == []


def test_one_named_waits_for_slow_mode_and_is_not_replaced() -> None:
    world = room_of("Ada", "Bob", policy="mention delay=10")
    world.say("Mod", "Ada?")
    world.say("Ada", "yes")
    world.say("Mod", "Ada again?")
    world.take_turns(1)
    assert world.holders() == []
    world.wait(11)
    assert "Ada" in world.said()[-1:] + world.holders()


def test_one_named_who_is_muted_holds_up_nobody() -> None:
    world = room_of("Ada", "Bob", policy="mention")
    world.do("/mute Bob")
    world.say("Mod", "Bob?")
    assert world.holders() == ["Ada"]


@pytest.mark.parametrize("fallback", sorted(set(POLICIES) - {"mention", "simultaneous"}))
def test_mention_falls_back_on_any_policy(fallback: str) -> None:
    world = room_of(*THREE, policy=f"mention fallback={fallback}")
    world.say("Mod", "nobody in particular")
    assert len(world.holders()) == (0 if fallback in ("chair", "bid", "debate") else 1)


def test_mention_cannot_fall_back_on_itself() -> None:
    world = room_of("Ada")
    for fallback in ("mention", "simultaneous", "rubbish"):
        assert "fallback" in world.refused(f"/policy mention fallback={fallback}")


# --- chair, bid ------------------------------------------------------------------------------------------------------


def test_chair_gives_the_floor_to_nobody_by_itself() -> None:
    world = room_of("Ada", "Bob", policy="chair")
    world.say("Mod")
    world.raise_hand("Bob", 1.0)
    assert world.holders() == []
    world.do("/grant Bob")
    assert world.take_turns() == ["Bob"]


BIDS = [
    ({"Ada": 0.2, "Bob": 0.9, "Cid": 0.5}, ["Bob", "Cid", "Ada"]),
    ({"Ada": 0.05, "Bob": 0.09}, []),
    ({"Ada": 0.5, "Bob": 0.5, "Cid": 0.5}, ["Cid", "Ada", "Bob"]),
    ({"Bob": 0.1}, ["Bob"]),
    ({}, []),
]


@pytest.mark.parametrize(("bids", "expected"), BIDS)
def test_the_highest_bid_speaks_and_ties_go_to_the_longest_silent(bids: dict[str, float], expected: list[str]) -> None:
    """Cid has not spoken yet, Ada spoke before Bob."""
    world = room_of(*THREE, policy="chair")
    world.say("Mod")
    for name in ("Ada", "Bob"):
        world.do(f"/grant {name}")
        world.say(name)
    world.say("Mod", "who wants to?")
    for name, urgency in bids.items():
        world.raise_hand(name, urgency)
    world.do("/policy bid")
    assert world.take_turns() == expected


def test_a_bid_below_the_threshold_is_heard_when_the_threshold_falls() -> None:
    world = room_of("Ada", policy="bid threshold=0.8")
    world.say("Mod")
    world.raise_hand("Ada", 0.5)
    assert world.holders() == []
    world.do("/policy bid threshold=0.4")
    assert world.holders() == ["Ada"]


# --- simultaneous ----------------------------------------------------------------------------------------------------


def test_simultaneous_words_are_sealed_until_all_have_spoken() -> None:
    world = room_of(*THREE, policy="simultaneous max_in_a_row=3")
    world.say("Mod")
    assert world.holders() == ["Ada", "Bob", "Cid"]
    world.say("Cid", "c")
    world.say("Ada", "a")
    assert world.said() == ["Mod"]
    world.say("Bob", "b")
    assert [message.content for message in world.messages()] == ["hello", "c", "a", "b"] and world.holders() == []


@pytest.mark.parametrize("how", ["pass", "leave", "lease", "kick", "stop"])
def test_a_round_ends_also_where_the_last_does_not_speak(how: str) -> None:
    world = room_of("Ada", "Bob", policy="simultaneous max_in_a_row=2")
    world.say("Mod")
    world.say("Ada", "mine")
    if how == "pass":
        world.pass_turn("Bob")
    elif how == "leave":
        world.leave("Bob")
    elif how == "lease":
        world.wait(121)
    else:
        world.do(f"/{how} Bob")
    assert world.said() == ["Mod", "Ada"]


def test_nobody_speaks_twice_in_a_round() -> None:
    world = room_of("Ada", "Bob", policy="simultaneous")
    world.say("Mod")
    world.say("Ada", "mine")
    world.say("Mod", "something else")
    assert world.holders() == ["Bob"]
    world.say("Bob", "mine too")
    assert world.said() == ["Mod", "Mod", "Ada", "Bob"] and world.holders() == ["Ada", "Bob"]


def test_words_sealed_before_a_pause_come_out_after_it() -> None:
    world = room_of("Ada", "Bob", policy="simultaneous")
    world.say("Mod")
    world.say("Ada", "mine")
    world.do("/pause")
    assert world.said() == ["Mod"]
    world.do("/resume")
    assert world.said() == ["Mod", "Ada"]


def test_sealed_words_that_are_sent_again_are_acknowledged_and_said_once() -> None:
    world = room_of("Ada", "Bob", policy="simultaneous max_in_a_row=2")
    world.say("Mod")
    world.say("Ada", "mine", id="a")
    world.say("Ada", "mine", id="a", turn=1)
    world.say("Bob", "mine")
    assert world.nacks() == [] and world.said() == ["Mod", "Ada", "Bob"]


# --- selector --------------------------------------------------------------------------------------------------------


def test_the_selector_names_the_next_speaker() -> None:
    world = room_of("Host", *THREE, policy="selector by=Host")
    world.say("Mod")
    given = [frame for frame in replied(world.effects) if isinstance(frame, Grant)][-1]
    assert world.holders() == ["Host"] and given.purpose == "select" and given.choices == THREE
    world.say("Host", "I choose Bob.", id="h1")
    assert world.said() == ["Mod"] and world.holders() == ["Bob"]
    assert reasons(world)[-1] == "selector: chosen by Host"


def test_a_selector_that_answers_rubbish_is_asked_again_and_then_passed_over() -> None:
    """The fallback is the longest silent, and never the one who just spoke."""
    world = room_of("Host", *THREE, policy="selector by=Host")
    world.say("Mod")
    spoke = []
    for _ in range(7):
        for answer in ("whoever", "the Queen"):
            assert world.holders() == ["Host"]
            world.say("Host", answer)
        spoke += world.holders()
        world.say(spoke[-1], "yes")
    assert spoke == ["Ada", "Bob", "Cid", "Ada", "Bob", "Cid", "Ada"]


def test_the_selector_cannot_choose_the_last_speaker_unless_it_may() -> None:
    world = room_of("Host", *THREE, policy="selector by=Host")
    world.say("Mod")
    world.say("Host", "Bob")
    world.say("Bob", "yes")
    world.say("Mod", "and?")
    world.say("Host", "Bob")
    assert world.holders() == ["Host"]
    world.say("Host", "Bob")
    assert world.holders() == ["Ada"]
    world.do("/policy selector no_repeat=off")
    world.say("Ada", "yes")
    world.say("Host", "Bob")
    assert world.holders() == ["Bob"]


def test_a_selector_that_passes_dies_is_muted_or_leaves_holds_up_nobody() -> None:
    world = room_of("Host", *THREE, policy="selector by=Host")
    world.say("Mod")
    world.pass_turn("Host")
    world.pass_turn("Host")
    assert world.take_turns(1) == ["Ada"] and world.holders() == ["Host"]
    turn = world.turn_of("Host")
    world.wait(121)
    assert world.take_turns(2) == ["Bob", "Cid"], "a selector that hangs costs one lease and is not asked again"
    world.cancelled("Host", turn or 0)
    assert world.take_turns(1) == ["Ada"] and world.holders() == ["Host"]
    world.do("/mute Host")
    assert world.take_turns(1) == ["Bob"]
    world.leave("Host")
    assert world.take_turns(1) == ["Cid"]


def test_a_selector_alone_is_silent() -> None:
    world = room_of("Host", policy="selector by=Host")
    world.say("Mod")
    assert world.holders() == []


def test_without_a_selector_the_longest_silent_speaks() -> None:
    world = room_of("Ada", "Bob", policy="selector")
    world.say("Mod")
    assert world.take_turns(4) == ["Ada", "Bob", "Ada", "Bob"]


def test_a_selection_is_no_message_and_counts_for_no_limit() -> None:
    world = room_of("Host", "Ada", "Bob", policy="selector by=Host")
    world.do("/hops 2")
    world.say("Mod")
    for choice in ("Bob", "Ada"):
        if world.holders() == ["Host"]:
            world.say("Host", choice)
        world.say(world.holders()[0])
    assert world.state.seq == 3 and world.state.floor.paused


# --- debate ----------------------------------------------------------------------------------------------------------


def test_a_debate_goes_through_its_phases() -> None:
    world = room_of("Ada", "Bob", policy=DEBATE)
    assert world.take_turns() == ["Ada", "Bob", "Bob", "Ada", "Bob", "Ada"]
    assert [reason.split(": ", 1)[1] for reason in reasons(world)][:3] == [
        "phase 1 (opening)",
        "phase 1 (opening)",
        "phase 2 (rebuttal)",
    ]
    world.say("Mod", "thank you")
    assert world.holders() == []


def test_a_phase_without_speakers_is_everybodys() -> None:
    world = room_of(*THREE, policy="""debate phases='[{"turns":2}]'""")
    assert world.take_turns() == ["Ada", "Bob", "Cid", "Ada", "Bob", "Cid"]


def test_a_debate_waits_for_speakers_that_have_not_arrived() -> None:
    world = room_of(policy=DEBATE)
    world.join("Cid")
    world.join("Bob")
    assert world.holders() == []
    world.join("Ada")
    assert world.take_turns(2) == ["Ada", "Bob"]


def test_a_debate_waits_for_speakers_that_load_or_are_slowed_down() -> None:
    world = room_of("Ada", policy=DEBATE)
    world.join("Bob", ready=False)
    assert world.take_turns() == ["Ada"] and world.holders() == []
    world.status("Bob", "ready")
    world.do("/slow 10")
    assert world.take_turns(2) == ["Bob"]
    assert world.holders() == []
    world.wait(11)
    assert world.take_turns(1) == ["Bob"]


def test_a_speaker_that_leaves_mid_phase_takes_nobodys_turn() -> None:
    world = room_of(*THREE, policy="""debate phases='[{"speakers":["Ada","Bob","Cid"]}]'""")
    assert world.take_turns(1) == ["Ada"]
    world.leave("Ada")
    assert world.take_turns() == ["Bob", "Cid"]


def test_a_debate_waits_a_lease_for_one_who_lost_the_connection() -> None:
    world = room_of("Ada", "Bob", policy=DEBATE)
    world.take_turns(1)
    world.leave("Bob")
    world.wait(60)
    assert world.holders() == []
    world.join("Bob")
    assert world.take_turns() == ["Bob", "Bob", "Ada", "Bob", "Ada"]


def test_a_debate_goes_on_without_one_who_is_gone_and_keeps_its_turns() -> None:
    world = room_of("Ada", "Bob", policy=DEBATE)
    world.take_turns(1)
    world.leave("Bob")
    world.wait(121)
    assert world.take_turns(1) == ["Ada"]
    world.join("Bob")
    assert world.take_turns() == ["Ada", "Bob", "Bob", "Bob"] or world.said().count("Bob") == 3


@pytest.mark.parametrize("command", ["/kick Bob", "/mute Bob", "/budget Bob messages=0"])
def test_a_debate_goes_on_at_once_without_one_who_is_silenced(command: str) -> None:
    world = room_of("Ada", "Bob", policy=DEBATE)
    world.take_turns(1)
    world.do(command)
    assert world.take_turns() == ["Ada", "Ada"]


def test_a_muted_speaker_has_its_turns_when_it_is_unmuted() -> None:
    world = room_of("Ada", "Bob", policy=DEBATE)
    world.do("/mute Bob")
    assert world.take_turns() == ["Ada", "Ada", "Ada"]
    world.do("/unmute Bob")
    assert world.take_turns() == ["Bob", "Bob", "Bob"]


def test_a_debate_survives_a_restart_of_the_hub() -> None:
    world = room_of("Ada", "Bob", policy=DEBATE)
    world.take_turns(3)
    world.restart()
    world.join("Mod", role="moderator")
    world.join("Ada")
    world.join("Bob")
    assert world.said() == ["Ada", "Bob", "Bob"]
    assert world.take_turns() == ["Ada", "Bob", "Ada"]


def test_a_debate_where_nobody_can_speak_keeps_its_phases() -> None:
    world = room_of("Ada", "Bob", policy=DEBATE)
    world.do("/pause Ada, Bob")
    world.say("Mod")
    world.do("/resume Ada, Bob")
    assert world.take_turns() == ["Ada", "Bob", "Bob", "Ada", "Bob", "Ada"]


def test_raised_hands_do_not_disturb_a_debate() -> None:
    world = room_of(*THREE, policy=DEBATE)
    world.raise_hand("Cid")
    assert "Cid" not in world.take_turns()


def test_another_debate_begins_at_its_beginning() -> None:
    world = room_of("Ada", "Bob", policy=DEBATE)
    world.take_turns(3)
    world.do("""/policy debate phases='[{"speakers":["Ada"]}]'""")
    assert world.take_turns() == ["Ada"]


# --- what all have in common -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", [name for name in POLICIES if name not in ("chair", "bid", "debate")])
def test_whispers_ask_nobody(policy: str) -> None:
    world = room_of("Ada", "Bob", policy=policy)
    world.say("Mod", "psst, Ada", to="Ada")
    assert world.holders() == []


@pytest.mark.parametrize("policy", [name for name in POLICIES if name not in ("chair", "bid")])
def test_every_decision_has_a_reason_that_why_can_tell(policy: str) -> None:
    world = room_of("Ada", "Bob", policy=DEBATE if policy == "debate" else policy)
    world.say("Mod")
    world.take_turns(1)
    assert reasons(world)[0].startswith(policy)
    last = world.messages()[-1]
    if last.sender != "Mod":
        assert policy in getattr(world.command(f"/why {last.seq}"), "text", "")


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_a_policy_has_a_summary_and_decides_nothing_for_nobody(policy: str) -> None:
    world = room_of(policy=policy)
    world.say("Mod")
    decision = POLICIES[policy].decide(floor.situation(world.state))
    assert decision.speakers == () and POLICIES[policy].summary
