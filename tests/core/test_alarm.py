"""The loop and collapse alarm."""

import random
import time
from collections import Counter
from itertools import islice
from typing import Any

import pytest

from palaver.core import room
from palaver.core.alarm import DEFAULTS, diagnose, overlap, put_off
from palaver.core.message import Message
from palaver.core.state import RoomState, encode_state
from tests.core.test_prompt import message
from tests.core.world import room_of
from tests.patience import within

LINE = "I could not agree more with what you have just said about the weather"
PROSE = (
    "Rivers change their beds over the centuries and leave lakes behind",
    "My grandmother baked bread on Fridays in an oven of clay",
    "Nobody has yet explained why the owl returned to the tower",
    "Seven ships left harbour that morning under a yellow flag",
    "If prices fall further the farmers will plant barley instead",
    "Chess players age differently from runners or so they claim",
)


def test_an_agent_that_repeats_itself_raises_the_alarm_once_until_a_human_speaks() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    for _ in range(6):
        world.say(world.holders()[0], LINE)
    assert len(world.events("alarm")) == 1 and "repeats" in world.events("alarm")[0].text
    world.say("Mod", "try again")
    for _ in range(6):
        world.say(world.holders()[0], LINE)
    assert len(world.events("alarm")) == 2


def test_an_alarm_can_pause_the_room_and_does_so_again_after_resume() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/alarm pause=on")
    world.say("Mod")
    for _ in range(3):
        world.say(world.holders()[0], LINE)
    assert world.state.floor.paused and len(world.notices("loop")) == 1
    world.do("/resume")
    world.say(world.holders()[0], LINE)
    assert world.state.floor.paused and len(world.notices("loop")) == 2


def test_sealed_words_are_listened_to_as_well() -> None:
    world = room_of("Ada", "Bob", "Cid", policy="simultaneous")
    world.say("Mod")
    for name in ("Ada", "Bob", "Cid"):
        world.say(name, LINE)
    assert len(world.events("alarm")) == 1


def test_an_alarm_can_be_switched_off_and_set() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    assert world.do("/alarm on=off") is not None
    assert world.do("/alarm on=off") is None
    world.say("Mod")
    for _ in range(6):
        world.say(world.holders()[0], LINE)
    assert world.events("alarm") == []


@pytest.mark.parametrize(
    ("texts", "problem"),
    [
        (PROSE, ""),
        ((*PROSE[:3], PROSE[0]), "repeats"),
        (("yes", "yes", "yes", "yes"), ""),
        (("ha ha ha " * 60, "ho ho ho " * 60, "hi hi hi " * 60), "little new"),
        (("!" * 90, "?" * 90, "." * 90), "little new"),
        (("河流在几个世纪中改变河床留下湖泊", "我的祖母每逢星期五在泥炉里烤面包", "七艘船今晨升起黄旗离开了港口"), ""),
        (("河流在几个世纪中改变河床", "我的祖母在泥炉里烤面包", "河流在几个世纪中改变河床啊"), "repeats"),
        ((LINE,), ""),
    ],
)
def test_repetition_and_collapse_are_told_apart_from_talk(texts: tuple[str, ...], problem: str) -> None:
    history = [message(seq, f"Bot {seq}", text) for seq, text in enumerate(texts, 1)]
    found = diagnose(history, DEFAULTS)
    assert (problem in found) if problem else found == ""


@pytest.mark.parametrize("seed", range(4))
def test_a_room_that_nobody_hears_may_listen_later_and_is_the_same(seed: int) -> None:
    """Whatever is said, set, taken back or forgotten meanwhile, and however long agents talk alone."""
    chance = random.Random(seed)
    world = room_of("Ada", "Bob", "Cid", policy="round_robin")
    world.do("/hops 0")
    commands = ("/undo", "/resume", "/alarm overlap=0.2", "/alarm overlap=0.9", "/alarm pause=on", "/alarm pause=off")
    for _ in range(2000):
        if chance.random() < 0.02 or world.state.floor.paused:
            world.command(chance.choice(commands))
        elif chance.random() < 0.01 or not (holders := world.holders()):
            world.say("Mod", "go on")
        else:
            said = " ".join(str(chance.random()) for _ in range(9))
            world.say(holders[0], said if chance.random() < 0.95 else LINE)
    at_once, later = RoomState(name="main"), RoomState(name="main")
    left, raised = iter(world.log), False
    while some := list(islice(left, chance.choice((1, 7, 20, 500)))):
        for entry in some:
            room.apply(at_once, entry)
        with put_off(later):
            for entry in some:
                room.apply(later, entry)
        assert encode_state(later) == encode_state(at_once)
        raised |= "raised" in later.alarm
    assert raised


def test_what_was_said_is_listened_to_before_it_is_forgotten() -> None:
    world = room_of("Ada", "Bob", "Cid", policy="round_robin")
    world.do("/hops 0")
    world.say("Mod")
    for number in range(400):
        world.say(world.holders()[0], LINE if number < 4 else " ".join(str(word * number) for word in range(99, 110)))
    later = RoomState(name="main")
    with put_off(later):
        for entry in world.log:
            room.apply(later, entry)
    assert "repeats" in later.alarm["raised"]
    assert later.alarm == world.state.alarm


def plainly(history: list[Message], settings: dict[str, Any]) -> str:
    """As `diagnose`, where nobody has spoken but agents, and everything is counted."""
    spoken = [message.content.casefold().split() for message in history[-settings["window"] :]]
    phrases = [list(zip(words, words[1:], words[2:], strict=False)) for words in spoken]
    last = set(phrases[-1])
    for earlier in reversed(phrases[:-1]):
        if last and len(last & set(earlier)) / len(last) >= settings["overlap"]:
            return "repeats"
    said = [phrase for each in phrases for phrase in each]
    return "little new" if len(said) >= 60 and len(set(said)) / len(said) < settings["novelty"] else ""


@pytest.mark.parametrize("words", [2, 3, 4, 6, 12])
def test_counting_no_further_than_needed_changes_no_alarm(words: int) -> None:
    """Of few words talk repeats itself, and says little new, in every degree."""
    chance = random.Random(words)
    found: Counter[str] = Counter()
    for _ in range(400):
        texts = (" ".join(chance.choices(PROSE[0].split()[:words], k=chance.randrange(6, 40))) for _ in range(6))
        history = [message(seq, f"Bot {seq}", text) for seq, text in enumerate(texts, 1)]
        settings = {**DEFAULTS, "overlap": chance.choice((0.05, 0.8, 2.0)), "novelty": chance.random()}
        problem = plainly(history, settings)
        assert (problem in diagnose(history, settings)) if problem else diagnose(history, settings) == ""
        found[problem] += 1
    assert found["little new"] > 10 and found["repeats"] > 10 and found[""] > 2


def test_ping_pong_is_two_alone_for_too_long() -> None:
    history = [message(seq, ("Ada", "Bob")[seq % 2], PROSE[seq % 6] + f" {seq}" * 9) for seq in range(1, 13)]
    assert "have exchanged 12 messages" in diagnose(history, {**DEFAULTS, "overlap": 2.0})
    assert diagnose([*history[:6], message(6, "Mod", "and?"), *history[6:]], {**DEFAULTS, "overlap": 2.0}) == ""


def test_talk_is_called_new_also_where_six_long_messages_are_of_one_subject() -> None:
    text = " ".join(PROSE)
    words = text.split()
    history = [message(seq, f"Bot {seq}", " ".join(words[seq:] + words[: seq * 3])) for seq in range(1, 7)]
    assert "little new" not in diagnose(history, {**DEFAULTS, "overlap": 2.0, "novelty": 0.1})
    assert "little new" in diagnose(history, {**DEFAULTS, "overlap": 2.0})


def test_overlap_is_the_share_of_the_ones_phrases_that_the_other_has() -> None:
    assert overlap(LINE, LINE) == 1.0
    assert overlap(LINE, PROSE[0]) == 0.0
    assert overlap("a b c d", "a b c x") == 0.5
    assert overlap("all right", "all right") == 1.0 and overlap("yes", "yes") == 0.0


def test_long_messages_do_not_hold_up_the_room() -> None:
    history = [message(seq, f"Bot {seq}", f"{seq} " + PROSE[seq] * 1000) for seq in range(5)]
    began = time.process_time()
    for _ in range(20):
        diagnose(history, DEFAULTS)
    assert time.process_time() - began < within(0.4)
