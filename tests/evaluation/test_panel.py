"""The evaluators of one conversation: rows 4.25 to 4.28, A4.11, A4.12."""

import asyncio
import json
from typing import Any, ClassVar

import pytest

from palaver.evaluation import EvaluatorPlugin, LLMEvaluator, Panel, RuleBasedEvaluator, Unscored
from palaver.models.scripted import ScriptedModel

TALK = [("Environment", "x"), ("Ada", 'said: "Hello."')]


class Counting(EvaluatorPlugin):
    """Gives what it is told to, and counts."""

    def __init__(self, *answers: Any) -> None:
        super().__init__({})
        self.answers = list(answers)
        self.calls = 0

    @property
    def plugin_type(self) -> str:
        return "counting"

    async def evaluate(self, turn_number: int, messages: list[tuple[str, Any]]) -> Any:
        self.calls += 1
        answer = self.answers[(self.calls - 1) % len(self.answers)]
        if isinstance(answer, Exception):
            raise answer
        return answer


class Wrapping(Counting):
    """Has a judge of its own besides."""

    def __init__(self, judge: Counting, *answers: Any) -> None:
        super().__init__(*answers)
        self.judge = judge

    def get_terminal_evaluator(self) -> Counting:
        return self.judge


class Hanging(Counting):
    every_turn: ClassVar[bool] = True

    async def evaluate(self, turn_number: int, messages: list[tuple[str, Any]]) -> Any:
        await asyncio.Event().wait()


async def test_scores_of_every_turn_are_put_together_and_kept() -> None:
    """Row 4.28: the mean of the turns, and the turns themselves."""
    panel = Panel([Counting([("Ada", (("wit", 2), "dull"))], [("Ada", (("wit", 5), "better"))])])
    assert await panel.after_turn(1, TALK) == ""
    await panel.after_turn(2, TALK)
    wit = panel.results()["Ada"]["wit"]
    assert wit == {"score": 3.5, "reasoning": "better", "evaluator": "counting", "turns": [2, 5]}
    assert "Ada wit: 3.5 (better)" in panel.reasoning()


async def test_whoever_says_terminated_ends_the_conversation() -> None:
    over = [("environment", (("terminated", True), "enough"))]
    panel = Panel([Counting([]), Counting(over), RuleBasedEvaluator({"max_turn_number": 1})])
    assert await panel.after_turn(1, TALK) == "enough; 1 turns are done (max_turn_number 1)"
    assert panel.results()["environment"]["terminated"]["score"] is True


async def test_a_custom_evaluator_without_a_terminal_one_is_asked_every_turn_and_not_at_the_end() -> None:
    """Row 4.25."""
    plugin = Counting([])
    panel = Panel([plugin])
    await panel.after_turn(1, TALK)
    await panel.at_end(1, TALK)
    assert plugin.calls == 1


async def test_a_terminal_evaluator_is_asked_once_at_the_end() -> None:
    """A4.12, row 4.27."""
    judge = Counting([("Ada", (("depth", 4), "deep"))])
    plugin = Wrapping(judge, [("Ada", (("wit", 1), "dull"))])
    panel = Panel([plugin])
    for turn in (1, 2, 3):
        await panel.after_turn(turn, TALK)
    assert judge.calls == 0
    await panel.at_end(3, TALK)
    assert (plugin.calls, judge.calls) == (3, 1)
    assert panel.results()["Ada"]["depth"]["score"] == 4


async def test_without_judging_no_judge_is_called() -> None:
    """A4.11: `enable_evaluation=false` makes no call."""

    class EveryTurn(LLMEvaluator):
        every_turn = True

    model = ScriptedModel([json.dumps({})])
    panel = Panel([LLMEvaluator({}, model=model), EveryTurn({}, model=model)], judged=False)
    await panel.after_turn(1, TALK)
    await panel.at_end(1, TALK)
    assert not model.prompts and panel.results(["Ada"]) == {"Ada": {}}


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (ValueError("no such word"), "no such word"),
        (None, "not a list"),
        ([("Ada", "wit", 3)], "is not (agent"),
        ([("Ada", (("wit", "good"), "x"))], "must be a finite number"),
        ([("Ada", (("wit", float("nan")), "x"))], "must be a finite number"),
        ([("Ada", (("wit", float("inf")), "x"))], "must be a finite number"),
        ([("Ada", (("wit", 10**400), "x"))], "must be a finite number"),
        ([("Ada", (("wit", 3), None))], "must be texts"),
        ([("Ada", (("wit", 3), "\ud800"))], "surrogates not allowed"),
    ],
)
async def test_an_evaluator_that_fails_is_unscored_with_the_reason(answer: Any, problem: str) -> None:
    """A4.12: the return format is checked; nobody gets a score that was not given."""
    panel = Panel([Counting(answer), Counting([("Ada", (("wit", 3), "fine"))])])
    assert await panel.after_turn(1, TALK) == ""
    results = panel.results()
    failed = results["environment"]["counting"]
    assert failed["score"] is None and problem in failed["unscored"]
    assert results["Ada"]["wit"]["score"] == 3
    assert panel.unscored() == 1


async def test_an_evaluator_that_hangs_is_given_up() -> None:
    panel = Panel([Hanging([])], limit=0.01)
    await panel.after_turn(1, TALK)
    assert panel.results()["environment"]["counting"]["unscored"] == "counting failed: TimeoutError"


async def test_turns_without_a_score_take_no_part_in_the_mean() -> None:
    plugin = Counting([("Ada", (("wit", 4), "a"))], [("Ada", (("wit", Unscored("lost")), "lost"))])
    panel = Panel([plugin])
    await panel.after_turn(1, TALK)
    await panel.after_turn(2, TALK)
    wit = panel.results()["Ada"]["wit"]
    assert wit["score"] == 4 and wit["unscored"] == "lost" and wit["turns"] == [4, None]


async def test_the_report_is_json() -> None:
    panel = Panel([Counting([("Ada", (("wit", True), "a")), ("Bob", (("wit", 0.5), "b"))])])
    await panel.after_turn(1, TALK)
    assert json.loads(json.dumps(panel.results()))["Ada"]["wit"]["score"] is True


async def test_several_judges_of_one_thing_keep_their_words_apart() -> None:
    """The mean says that it is one, and each score keeps the model that gave it."""
    judges = [ScriptedModel([json.dumps({"Ada": {"goal": score}})], name=name) for name, score in (("a", 4), ("b", 9))]
    judges.append(ScriptedModel(["I would rather not."], name="c"))
    panel = Panel([LLMEvaluator({"dimensions": ["goal"]}, model=judge) for judge in judges])
    await panel.at_end(1, TALK)
    goal = panel.results(["Ada"])["Ada"]["goal"]
    assert (goal["score"], goal["reasoning"]) == (6.5, "mean of 2 of 3 evaluators")
    assert [(one["model"], one["score"]) for one in goal["each"]] == [("a", 4), ("b", 9), ("c", None)]
    assert "no JSON object" in goal["each"][2]["unscored"]


async def test_one_that_is_passed_over_is_unscored_with_the_reason() -> None:
    panel = Panel([Counting([("Ada", (("wit", 3), "dry"))])])
    await panel.after_turn(1, TALK)
    report = panel.results(["Ada", "Bob"])
    assert report["Bob"]["wit"] == {
        "score": None,
        "reasoning": "no evaluator said anything of Bob",
        "unscored": "no evaluator said anything of Bob",
    }
    assert report["Ada"]["wit"]["score"] == 3 and panel.unscored() == 0
