"""The evaluator without a model: rows 4.22 and 4.26, A4.10."""

import pytest

from palaver.core.errors import ConfigError
from palaver.evaluation.plugin import ENVIRONMENT
from palaver.evaluation.rule_based import LEFT, NOTHING, RuleBasedEvaluator


async def verdict(turn: int, messages: list[tuple[str, str]], **config: int) -> tuple[bool, str]:
    [(agent, ((dimension, score), reasoning))] = await RuleBasedEvaluator(config).evaluate(turn, list(messages))
    assert (agent, dimension) == ("environment", "terminated")
    assert isinstance(score, bool)
    return score, reasoning


def turns(*spoken: list[tuple[str, str]]) -> list[tuple[str, str]]:
    messages: list[tuple[str, str]] = [(ENVIRONMENT, "the background")]
    for number, each in enumerate(spoken, 1):
        messages += [(ENVIRONMENT, f"Turn #{number}"), *each]
    return messages


async def test_it_ends_at_the_last_turn_and_not_before() -> None:
    """A4.10: max_turn_number 3 stops at 3."""
    assert not (await verdict(2, [], max_turn_number=3))[0]
    over, why = await verdict(3, [], max_turn_number=3)
    assert over and "3 turns" in why


async def test_by_default_it_allows_twenty_turns() -> None:
    """Row 4.22."""
    assert not (await verdict(19, []))[0] and (await verdict(20, []))[0]


async def test_it_ends_when_one_leaves() -> None:
    """A4.10: `leave` stops the same turn."""
    over, why = await verdict(1, turns([("Ada", 'said: "Bye."'), ("Bob", LEFT)]))
    assert over and why == "Bob left"
    assert not (await verdict(1, turns([("Ada", f'said: "He {LEFT}"')])))[0]


async def test_three_empty_turns_are_one_too_many() -> None:
    """A4.10: three stale turns, whatever the number of agents in each."""
    empty = [("Ada", NOTHING), ("Bob", NOTHING)]
    assert not (await verdict(2, turns(empty, empty)))[0]
    assert (await verdict(3, turns(empty, empty, empty)))[0]
    assert (await verdict(4, turns([("Ada", 'said: "Hm."')], empty, empty, empty)))[0]


async def test_what_others_say_in_between_makes_no_turn() -> None:
    empty = [("Ada", NOTHING), (ENVIRONMENT, "Mod: Well?"), ("Bob", NOTHING)]
    assert not (await verdict(2, turns(empty, empty)))[0]
    assert (await verdict(3, turns(empty, empty, empty)))[0]


async def test_a_turn_in_which_one_does_something_is_not_empty() -> None:
    empty = [("Ada", NOTHING), ("Bob", NOTHING)]
    assert not (await verdict(3, turns(empty, [("Ada", NOTHING), ("Bob", "[action] waves")], empty)))[0]


async def test_without_marks_each_message_is_a_turn() -> None:
    assert not (await verdict(2, [("Ada", NOTHING), ("Bob", NOTHING)]))[0]
    assert (await verdict(3, [("Ada", NOTHING), ("Bob", NOTHING), ("Ada", NOTHING)]))[0]


@pytest.mark.parametrize("config", [{"max_turns": 3}, {"max_turn_number": "3"}, {"max_stale_turn": -1}])
def test_what_it_cannot_use_is_refused_by_name(config: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(config))):
        RuleBasedEvaluator(config)
