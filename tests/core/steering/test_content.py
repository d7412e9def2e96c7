"""Commands on what was said."""

import pytest

from palaver.core.effects import Announce, Reply, Rewrite
from palaver.core.protocol import Event
from tests.core.world import room_of


def test_a_redaction_takes_the_text_out_and_lists_who_may_have_seen_it() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod", "the code is 1234")
    world.say("Ada", "seen it", meta={"saw_from": 1, "saw_to": 1})
    world.say("Bob", "seen only the last", meta={"saw_from": 2, "saw_to": 2})
    world.say("Ada", "who knows")
    assert world.do("/redact 1 secret") == {"redacted": [None, 1], "seen_by": [2, 4]}
    assert world.state.history[0].content == "" and world.state.history[0].redacted == "secret"
    assert [effect.message.seq for effect in world.effects if isinstance(effect, Rewrite)] == [1]
    assert world.events("redaction")[-1].data["seen_by"] == [2, 4]
    assert world.do("/redact 1") is None
    assert b"1234" not in world.snapshot()


def test_a_whisper_was_seen_only_by_those_it_was_for() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.do("/w Bob the code is 1234")
    world.say("Mod")
    world.take_turns(2)
    assert (world.do("/redact 1") or {})["seen_by"] == [4]


def test_undo_takes_back_the_last_that_are_left() -> None:
    world = room_of()
    for line in "abc":
        world.say("Mod", line)
    assert world.do("/undo 2") == {"undone": [None, [2, 3]]}
    assert world.do("/undo") == {"undone": [None, [1]]}
    assert world.do("/undo") is None


def test_retry_takes_the_last_message_back_and_asks_again() -> None:
    world = room_of("Ada", "Bob", policy="round_robin")
    world.say("Mod")
    world.say("Ada", "nonsense")
    assert world.holders() == ["Bob"]
    assert world.do("/retry Ada") == {"retried": [None, 2]}
    assert world.holders() == ["Ada"] and world.state.history[1].redacted == "tried again"
    assert world.take_turns(2) == ["Ada", "Bob"]


def test_words_of_the_system_and_in_anothers_name_are_marked() -> None:
    world = room_of("Ada")
    world.do("/sys be kind")
    world.do("/sendas Ada I am kind")
    system, ada = world.messages()
    assert (system.sender, system.role) == ("system", "moderator")
    assert (ada.sender, ada.role, ada.turn) == ("Ada", "model", None)
    assert ada.meta is not None and ada.meta["by"] == "Mod" and ada.meta["sent_as"]
    assert "Mod said it as Ada" in getattr(world.command("/why 2"), "text", "")


def test_whispers_go_to_one() -> None:
    world = room_of("Ada", "Bob")
    world.do("/w Ada psst")
    message = world.messages()[0]
    assert message.to == "Ada"
    assert [message.is_for(name, "model") for name in ("Ada", "ada", "Bob")] == [True, True, False]
    assert message.is_for("Other", "moderator")
    world.leave("Bob")
    assert "not here" in world.refused("/w Bob psst")


def test_settings_are_told_to_their_participant_and_to_moderators_only() -> None:
    """A persona is nobody else's to read."""
    world = room_of("Ada", "Bob")
    before = len(world.effects)
    assert world.do("/set Ada temperature=0.2 persona='a secret agent'") == {
        "Ada temperature": [None, 0.2],
        "Ada persona": [None, "a secret agent"],
    }
    effects = world.effects[before:]
    told = [effect for effect in effects if isinstance(effect, Reply) and isinstance(effect.frame, Event)]
    assert [effect.session for effect in told] == ["s-ada"]
    assert all(effect.moderators for effect in effects if isinstance(effect, Announce) and "secret" in str(effect))
    assert world.do("/set Ada temperature=0.2") is None


def test_settings_are_told_again_to_one_that_comes_back() -> None:
    world = room_of("Ada")
    world.do("/set Ada max_tokens=50")
    world.leave("Ada")
    before = len(world.effects)
    world.join("Ada", session="another")
    told = [effect.frame for effect in world.effects[before:] if isinstance(effect, Reply)]
    assert any(isinstance(frame, Event) and frame.data["settings"] == {"max_tokens": 50} for frame in told)


def test_settings_for_the_room_are_everybodys() -> None:
    world = room_of("Ada", "Bob")
    world.do("/set Ada delay=1")
    assert world.do("/set room delay=1 history=9") == {
        "Ada history": [None, 9],
        "Bob delay": [None, 1.0],
        "Bob history": [None, 9],
    }


@pytest.mark.parametrize("pairs", ["rubbish=1", "temperature=hot", "history=1.5", "history=on", "temperature=0.1 x=2"])
def test_settings_that_cannot_be_are_refused(pairs: str) -> None:
    world = room_of("Ada")
    assert world.refused(f"/set Ada {pairs}")
    assert world.state.records["ada"].settings == {}


def test_topic_pins_and_marks() -> None:
    world = room_of()
    world.say("Mod", "one")
    world.say("Mod", "two")
    assert world.do("/topic the weather") == {"topic": ["", "the weather"]}
    assert world.do("/topic the weather") is None
    assert world.do("/pin 2") == {"pins": [[], [2]]} and world.do("/pin #2") is None
    assert world.do("/pin 1") == {"pins": [[2], [2, 1]]}
    assert world.do("/unpin 2") == {"pins": [[2, 1], [1]]}
    assert world.do("/unpin") == {"pins": [[1], []]} and world.do("/unpin") is None
    world.do("/mark good so far")
    assert world.events("mark")[0].text == "good so far"


def test_scores_are_kept_and_told_to_moderators() -> None:
    world = room_of("Ada")
    assert world.do("/score Ada wit 4") == {"score Ada wit": [None, 4.0]}
    assert world.do("/score Ada wit 4") is None
    assert world.state.records["ada"].scores == {"wit": 4.0}


QUESTIONS = ("whois Ada", "status", "stats", "hands", "queue", "policy", "budget Ada", "budget all")


@pytest.mark.parametrize("verb", QUESTIONS)
def test_questions_change_nothing(verb: str) -> None:
    world = room_of("Ada", policy="round_robin")
    world.say("Mod")
    world.raise_hand("Ada")
    before = len(world.effects)
    assert getattr(world.command(f"/{verb}"), "text", "") and len(world.effects) == before + 1
