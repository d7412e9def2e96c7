"""Forward sampling and the multi-turn-aware reward."""

from collections.abc import Sequence
from typing import Any

import pytest

from palaver.models.model import ChatMessage
from palaver.models.scripted import ScriptedModel
from palaver.simulation import ChatSimulator, Rollout
from palaver.simulation.metrics import Metric, Score, metric
from palaver.simulation.rewards import MultiturnReward, compare
from tests.simulation.talks import ANSWER, QUESTION, SYSTEM, numbered, shape, simulator

ASKED = [SYSTEM, QUESTION]


async def length(messages: Sequence[ChatMessage], target: object) -> Score:
    """As many points as messages."""
    return Score(float(len(messages)))


async def test_a_replys_reward_is_the_mean_over_its_futures() -> None:
    reward = MultiturnReward({"length": length}, num_samples=4, window=2, token_cost=0.0)
    worth = await reward.ahead(simulator(), [*ASKED, ANSWER])
    assert worth.value == 7.0 and len(worth.samples) == 4
    assert {shape(sample.rollout) for sample in worth.samples} == {"SUAUAUA"}
    assert len({sample.rollout.seed for sample in worth.samples}) == 4


async def test_weights_and_the_cost_of_tokens_enter() -> None:
    reward = MultiturnReward(
        {"length": length, "accuracy": metric("accuracy")},
        weights={"length": 0.5},
        token_cost=0.1,
        num_samples=1,
        window=0,
    )
    rollout = Rollout([*ASKED, {"role": "assistant", "content": "x" * 19}], prefix_length=2)
    sample = await reward.of(rollout, "x" * 19)
    assert sample.token_cost == pytest.approx(0.5)
    assert sample.value == pytest.approx(0.5 * 3 + 1.0 - 0.5)


async def test_the_cost_of_tokens_is_bounded() -> None:
    rollout = Rollout([QUESTION, {"role": "assistant", "content": "word " * 9000}], prefix_length=1)
    assert (await MultiturnReward({}).of(rollout)).value == -1.0


async def test_a_judge_that_fails_leaves_a_future_unscored_and_out_of_the_mean() -> None:
    judge = ScriptedModel(['{"interactivity": 0.5}', "what?", "what?", '{"interactivity": 0.7}'])
    reward = MultiturnReward({"interactivity": metric("interactivity", judge=judge)}, token_cost=0.0, num_samples=3)
    worth = await reward.ahead(simulator(), [*ASKED, ANSWER])
    assert worth.value == pytest.approx(0.6)
    assert [reason.partition(":")[0] for reason in worth.unscored] == ["interactivity"]


async def test_where_no_future_can_be_scored_there_is_no_reward_and_it_says_why() -> None:
    broken = ChatSimulator(ScriptedModel(lambda _: RuntimeError("down")), numbered("question"))
    worth = await MultiturnReward({"length": length}).ahead(broken, [*ASKED, ANSWER])
    assert worth.value is None
    assert all("the rollout failed" in reason and "down" in reason for reason in worth.unscored)


async def test_a_conversation_that_is_over_is_scored_as_it_stands() -> None:
    over = simulator(ScriptedModel(["[END]"])).rollout(ASKED, 3)
    worth = await MultiturnReward({"length": length}, token_cost=0.0).ahead(simulator(), over)
    assert worth.value == 3.0 and len(worth.samples) == 1


def test_a_weight_without_its_metric_is_refused() -> None:
    with pytest.raises(ValueError, match="weights for bleu, but the metrics are length"):
        MultiturnReward({"length": length}, weights={"bleu": 1.0})


@pytest.mark.parametrize("wrong", [{"num_samples": 0}, {"window": -1}])
def test_numbers_that_give_no_future_are_refused(wrong: Any) -> None:
    with pytest.raises(ValueError, match="1 and 0 are the least"):
        MultiturnReward({}, **wrong)


async def test_replies_are_compared_by_what_follows_and_equal_ones_count_once() -> None:
    assistant = ScriptedModel(["good", "good", "bad", *["fine"] * 20])
    good = metric("accuracy")
    reward = MultiturnReward({"accuracy": _first_answer(good)}, token_cost=0.0, num_samples=2, window=1)
    comparison = await compare(simulator(assistant=assistant), ASKED, reward, "good", candidates=3)
    assert {each.reply: each.reward.value for each in comparison.candidates} == {"good": 1.0, "bad": 0.0}
    assert comparison.prompt == ASKED


async def test_a_comparison_needs_a_user_who_waits() -> None:
    with pytest.raises(ValueError, match="ends with a user's message"):
        await compare(simulator(), [*ASKED, ANSWER], MultiturnReward({}))


def _first_answer(inner: Metric) -> Metric:
    async def score(messages: Sequence[ChatMessage], target: object) -> Score:
        return await inner(messages[:3], target)

    return score
