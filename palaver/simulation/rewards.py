"""What a reply is worth for the turns that follow it: the multi-turn-aware reward of CollabLLM (arXiv:2502.00640).

A conversation is continued a few times (forward sampling), each future is scored, and the mean is the reward: task
metrics and an interactivity judge, weighted, less a cost for the assistant's tokens. What a judge could not score is
left unscored with its reason and takes no part in the mean; it is never 0.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from palaver.models.model import ChatMessage, Messages
from palaver.simulation.metrics import Metric, Score, token_amount
from palaver.simulation.rollout import Rollout
from palaver.simulation.simulator import ChatSimulator
from palaver.simulation.views import checked

TOKEN_COST = 0.0005
"""Reward lost for each of the assistant's tokens, 1.0 at most."""


@dataclass(frozen=True, slots=True)
class SampleReward:
    """One future's worth."""

    rollout: Rollout
    scores: Mapping[str, Score]
    token_cost: float
    value: float | None
    """None where a metric could not score it or the rollout failed."""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Reward:
    """The mean over the futures that could be scored."""

    value: float | None
    """None where none of them could."""
    samples: Sequence[SampleReward] = ()

    @property
    def unscored(self) -> list[str]:
        """Why, for each future without a value."""
        return [sample.reason for sample in self.samples if sample.value is None]


@dataclass(frozen=True, slots=True)
class MultiturnReward:
    """`MultiturnReward({"accuracy": metric("accuracy"), "interactivity": metric("interactivity", judge=model)})`.

    A metric's weight is 1 unless `weights` says otherwise. `num_samples` futures of `window` turns are drawn for each
    conversation; where a conversation is over (or `window` is 0) there is only itself.
    """

    metrics: Mapping[str, Metric]
    weights: Mapping[str, float] = field(default_factory=dict)
    token_cost: float = TOKEN_COST
    num_samples: int = 3
    window: int = 2

    def __post_init__(self) -> None:
        unknown = set(self.weights) - set(self.metrics)
        if unknown:
            raise ValueError(f"weights for {', '.join(sorted(unknown))}, but the metrics are {', '.join(self.metrics)}")
        if self.num_samples < 1 or self.window < 0:
            raise ValueError(f"num_samples={self.num_samples}, window={self.window}: 1 and 0 are the least")

    async def ahead(
        self, simulator: ChatSimulator, conversation: Messages, target: Any = None, *, seed: int = 0
    ) -> Reward:
        """The reward of `conversation`'s last message: the mean over its futures."""
        ended = isinstance(conversation, Rollout) and conversation.termination_reason not in (None, "max_turns")
        if ended or not self.window:
            return Reward((sample := await self.of(_as_rollout(conversation), target)).value, [sample])
        futures = await simulator.rollouts([conversation], self.num_samples, self.window, seed=seed)
        samples = await asyncio.gather(*(self.of(future, target) for future in futures))
        scored = [sample.value for sample in samples if sample.value is not None]
        return Reward(fmean(scored) if scored else None, samples)

    async def of(self, rollout: Rollout, target: Any = None) -> SampleReward:
        """The worth of one rollout as it stands."""
        if rollout.failed:
            return SampleReward(rollout, {}, 0.0, None, f"the rollout failed: {rollout.error}")
        scores = dict(
            zip(
                self.metrics,
                await asyncio.gather(*(each(rollout, target) for each in self.metrics.values())),
                strict=True,
            )
        )
        tokens = (await token_amount()(rollout, target)).value or 0.0
        cost = min(self.token_cost * tokens, 1.0)
        reasons = [f"{name}: {score.reason}" for name, score in scores.items() if score.value is None]
        if reasons:
            return SampleReward(rollout, scores, cost, None, "; ".join(reasons))
        merits = sum(self.weights.get(name, 1.0) * (score.value or 0.0) for name, score in scores.items())
        return SampleReward(rollout, scores, cost, merits - cost)


@dataclass(frozen=True, slots=True)
class Candidate:
    """One reply that the assistant could give, and what it would be worth."""

    reply: str
    reward: Reward


@dataclass(frozen=True, slots=True)
class Comparison:
    """Several replies to one conversation."""

    prompt: Sequence[ChatMessage]
    candidates: Sequence[Candidate]


async def compare(
    simulator: ChatSimulator,
    conversation: Messages,
    reward: MultiturnReward,
    target: Any = None,
    *,
    candidates: int = 2,
    seed: int = 0,
) -> Comparison:
    """Draw replies to a conversation that ends with a user's message, and look ahead from each.

    Equal replies count once, failed ones not at all. Raises ValueError where nobody waits for a reply.
    """
    if not conversation or conversation[-1]["role"] != "user":
        raise ValueError("a comparison needs a conversation that ends with a user's message")
    drawn = await simulator.rollouts([conversation], candidates, 0, seed=seed)
    distinct = {rollout[-1]["content"]: rollout for rollout in drawn if not rollout.failed and rollout.new}
    rewards = await asyncio.gather(
        *(reward.ahead(simulator, rollout, target, seed=rollout.seed) for rollout in distinct.values())
    )
    pairs = zip(distinct, rewards, strict=True)
    return Comparison(checked(conversation), [Candidate(text, worth) for text, worth in pairs])


def _as_rollout(conversation: Messages) -> Rollout:
    return conversation if isinstance(conversation, Rollout) else Rollout(checked(conversation))
