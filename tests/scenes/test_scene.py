"""Scenes, profiles, and what each agent is told: A4.15."""

from typing import Any

import pytest

from palaver.core.errors import ConfigError
from palaver.scenes import RELATIONSHIPS, Agent, Scene
from palaver.scenes.orders import policy_command
from palaver.scenes.personas import background, persona

ADA = Agent(
    "Ada",
    goal="GOAL-A",
    secret="SECRET-A",
    profile={"age": 36, "occupation": "engineer", "moral_values": ["care", "fairness"], "hobby": "whist", "tag": "t"},
)
BOB = Agent("Bob", profile={"secret": "SECRET-B", "goal": "GOAL-B", "public_info": "Bob keeps bees."})
TWO = Scene([ADA, BOB], scenario="On a train.", relationship=3)


def test_an_agent_knows_itself_and_its_situation() -> None:
    told = persona(TWO, "ada")
    for text in ("You are Ada.", "age: 36", "moral values: care, fairness", "On a train.", "GOAL-A", "SECRET-A"):
        assert text in told
    assert "tag" not in told


@pytest.mark.parametrize("relationship", [None, *range(6), "old rivals"])
def test_no_relationship_shows_anothers_goal_or_secret(relationship: Any) -> None:
    """A4.15: enforced where prompts are made, also for what stands in a profile."""
    scene = Scene([ADA, BOB], relationship=relationship)
    assert "-B" not in persona(scene, "Ada") and "-A" not in persona(scene, "Bob")
    assert "SECRET-B" in persona(scene, "Bob") and "GOAL-B" in persona(scene, "Bob")


@pytest.mark.parametrize(
    ("relationship", "occupation", "hobby"),
    [
        (0, False, False),
        (1, False, False),
        (2, True, False),
        (3, True, True),
        (5, True, True),
        ("old rivals", True, False),
    ],
)
def test_who_is_closer_knows_more(relationship: Any, occupation: bool, hobby: bool) -> None:
    told = persona(Scene([ADA, BOB], relationship=relationship), "Bob")
    assert ("engineer" in told, "whist" in told) == (occupation, hobby)
    assert (RELATIONSHIPS[relationship] if isinstance(relationship, int) else relationship) in told


def test_a_pair_may_stand_otherwise_than_the_rest() -> None:
    scene = Scene([ADA, BOB, Agent("Cid")], relationship=0, pairs={("bob", "Ada"): 5})
    assert "Ada (family member). age: 36" in persona(scene, "Bob")
    assert "Ada (stranger).\n" in persona(scene, "Cid")


def test_the_judge_is_told_everything() -> None:
    told = background(TWO)
    for text in ("GOAL-A", "SECRET-A", "GOAL-B", "SECRET-B", "On a train.", "Ada and Bob: friend"):
        assert text in told


def test_only_what_is_possible_is_offered() -> None:
    assert "left the conversation" in persona(TWO, "Ada")
    assert "left the conversation" not in persona(Scene([ADA], actions=("speak", "action")), "Ada")
    assert "[action]" not in persona(Scene([ADA], actions=("speak",)), "Ada")


def test_the_order_by_id_takes_places_or_ids() -> None:
    people = [Agent("Ada"), Agent("Bob"), Agent("Cid")]
    assert Scene(people, order="agent_id_based", speaking_order=[2, 0, 1]).in_order() == ["Cid", "Ada", "Bob"]
    numbered = [Agent("Ada", speaking_id=9), Agent("Bob", speaking_id=4)]
    assert Scene(numbered, order="agent_id_based").in_order() == ["Bob", "Ada"]
    assert Scene(numbered, order="agent_id_based", speaking_order=[9, 4]).in_order() == ["Ada", "Bob"]


def test_orders_are_floor_policies() -> None:
    people = [Agent("Ada O'Neil"), Agent("Bob")]
    assert policy_command(Scene(people, order="simultaneous")) == "/policy simultaneous max_in_a_row=0"
    assert policy_command(Scene(people, order="random", seed=4)) == "/policy random seed=5"
    assert "Ada O" in policy_command(Scene(people, order="sequential"))


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"agents": []}, "there are none"),
        ({"agents": [Agent("Ada"), Agent("ADA")]}, "nobody confuses: Ada, ADA"),
        ({"agents": [Agent("Bob"), Agent("\u0412\u043e\u0412")]}, "nobody confuses: Bob"),
        ({"agents": [Agent("Ada"), Agent("environment")]}, "no agent can be called Environment"),
        ({"agents": [Agent("Ada  B")]}, "'Ada B'"),
        ({"agents": [Agent("system")]}, "reserved"),
        ({"order": "alphabetical"}, "'alphabetical' is unknown; known: simultaneous"),
        ({"order": "agent_id_based", "speaking_order": [0, 0]}, "each agent once"),
        ({"actions": ["dance"]}, "'dance' is unknown"),
        ({"relationship": 6}, "must be 0 to 5"),
        ({"max_turns": 0}, "at least 1"),
    ],
)
def test_a_scene_that_cannot_be_is_refused_with_the_reason(wrong: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        Scene(**{"agents": [ADA, BOB], **wrong})
