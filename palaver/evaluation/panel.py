"""The evaluators of one conversation: asked after every turn and once at the end; what they say becomes one report."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any, Final

from palaver.evaluation.plugin import Entry, EvaluatorPlugin, Unscored, Value, checked
from palaver.evaluation.sotopia import DIMENSIONS

logger = logging.getLogger(__name__)

ALL: Final = "environment"
"""Who is scored where the whole conversation is."""
OVERALL: Final = f"mean of Sotopia's {len(DIMENSIONS)} dimensions, each on its own range"


@dataclass(frozen=True, slots=True)
class Score:
    """One evaluator's word on one participant in one dimension."""

    value: Value
    reasoning: str
    evaluator: str
    turn: int
    """After how many turns it was given."""
    provenance: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scored:
    """A score with whose and what it is: how a panel's scores are kept."""

    agent: str
    dimension: str
    score: Score


class Panel:
    """Holds the scores of one conversation: make one for each. `limit` is in seconds, for each call.

    With `judged=False` nothing that needs a model is asked.
    """

    def __init__(self, evaluators: Sequence[EvaluatorPlugin], *, judged: bool = True, limit: float = 300.0) -> None:
        self._evaluators = evaluators
        self._judged = judged
        self._limit = limit
        self.scores: dict[tuple[str, str], list[Score]] = {}
        """By agent and dimension, in order."""

    def kept(self) -> list[Scored]:
        """All scores so far, for a panel that goes on elsewhere."""
        return [Scored(*key, score) for key, scores in self.scores.items() for score in scores]

    def take_up(self, kept: Sequence[Scored]) -> None:
        """Go on from another panel's scores."""
        for one in kept:
            self.scores.setdefault((one.agent, one.dimension), []).append(one.score)

    async def after_turn(self, turn: int, messages: Sequence[tuple[str, Any]]) -> str:
        """Ask those that look at every turn; why the conversation is over, or an empty text."""
        asked = [one for one in self._evaluators if one.every_turn and (self._judged or not one.needs_model)]
        answers = await asyncio.gather(*(self._ask(one, one, turn, messages) for one in asked))
        reasons = [
            reasoning
            for entries in answers
            for agent, ((dimension, value), reasoning) in entries
            if agent == ALL and dimension == "terminated" and value is True
        ]
        return "; ".join(reasons)

    async def at_end(self, turn: int, messages: Sequence[tuple[str, Any]]) -> None:
        """Ask each terminal evaluator, once."""
        if self._judged:
            terminal = [(one, one.get_terminal_evaluator()) for one in self._evaluators]
            await asyncio.gather(*(self._ask(one, judge, turn, messages) for one, judge in terminal if judge))

    async def _ask(
        self, plugin: EvaluatorPlugin, evaluator: Any, turn: int, messages: Sequence[tuple[str, Any]]
    ) -> list[Entry]:
        try:
            async with asyncio.timeout(self._limit):
                entries = checked(await evaluator.evaluate(turn, list(messages)))
        except Exception as error:  # a judgement that fails is data: no conversation ends by it
            logger.exception("evaluator %s failed after turn %d", plugin.plugin_type, turn)
            why = f"{plugin.plugin_type} failed: {str(error) or type(error).__name__}"
            entries = [(ALL, ((plugin.plugin_type, Unscored(why)), why))]
        for agent, ((dimension, value), reasoning) in entries:
            score = Score(value, reasoning, plugin.plugin_type, turn, plugin.provenance)
            self.scores.setdefault((agent, dimension), []).append(score)
        return entries

    def unscored(self) -> int:
        """How many judgements gave no score."""
        return sum(isinstance(score.value, Unscored) for scores in self.scores.values() for score in scores)

    def results(self, names: Sequence[str] = ()) -> dict[str, Any]:
        """The report, JSON-able: by agent and dimension; dimensions are put together in `overall` alone.

        A dimension scored after several turns shows the mean (of bools: whether any was true) and `turns`, all of
        them; one scored by several evaluators shows their mean and `each` of them. What one of `names` was scored in
        is unscored for the others where nothing was said of them.
        """
        report: dict[str, Any] = {name: {} for name in names}
        for (agent, dimension), scores in self.scores.items():
            report.setdefault(agent, {})[dimension] = _summary(scores)
        for dimension in {dimension: None for name in names for dimension in report[name]}:
            for name in names:
                report[name].setdefault(dimension, _passed_over(name))
        for dimensions in report.values():
            if dimensions.keys() & DIMENSIONS.keys() and "overall" not in dimensions:
                dimensions["overall"] = _overall(dimensions)
        return report

    def reasoning(self) -> str:
        """What was said of each, a line for each score; dimensions that share one share the line."""
        lines: dict[tuple[str, str], list[str]] = {}
        for agent, dimensions in self.results().items():
            for dimension, summary in dimensions.items():
                score = "unscored" if summary["score"] is None else summary["score"]
                why = summary["unscored"] if summary["score"] is None else summary["reasoning"]
                lines.setdefault((agent, f"{score} ({why})"), []).append(dimension)
        return "\n".join(f"{agent} {', '.join(dimensions)}: {said}" for (agent, said), dimensions in lines.items())


def _summary(scores: Sequence[Score]) -> dict[str, Any]:
    sources: dict[tuple[Any, ...], list[Score]] = {}
    for score in scores:
        sources.setdefault((score.evaluator, *sorted(score.provenance.items())), []).append(score)
    if len(sources) == 1:
        return _of_one(scores)
    each = [_of_one(of_one) for of_one in sources.values()]
    values = [one["score"] for one in each if one["score"] is not None]
    told = {"score": _together(values), "reasoning": f"mean of {len(values)} of {len(each)} evaluators", "each": each}
    return told if values else {**told, "unscored": "; ".join(one["unscored"] for one in each)}


def _of_one(scores: Sequence[Score]) -> dict[str, Any]:
    """What one evaluator says, after one turn or several."""
    last = scores[-1]
    values = [score.value for score in scores if not isinstance(score.value, Unscored)]
    summary: dict[str, Any] = {
        "score": _together(values),
        "reasoning": last.reasoning,
        "evaluator": last.evaluator,
        **last.provenance,
    }
    failed = [score.value.reason for score in scores if isinstance(score.value, Unscored)]
    if failed:
        summary["unscored"] = failed[-1]
    if len(scores) > 1:
        summary["turns"] = [None if isinstance(score.value, Unscored) else score.value for score in scores]
    return summary


def _together(values: Sequence[int | float | bool]) -> int | float | bool | None:
    """The mean, of bools whether any is true; one value as it is."""
    if len(values) < 2:
        return values[0] if values else None
    return any(values) if isinstance(values[-1], bool) else fmean(values)


def _passed_over(name: str) -> dict[str, Any]:
    why = f"no evaluator said anything of {name}"
    return {"score": None, "reasoning": why, "unscored": why}


def _overall(dimensions: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Sotopia's overall score, only where all seven dimensions have one."""
    values = [dimensions.get(name, {}).get("score") for name in DIMENSIONS]
    scored = [value for value in values if value is not None]
    if len(scored) < len(DIMENSIONS):
        missing = [name for name, value in zip(DIMENSIONS, values, strict=True) if value is None]
        why = f"no score for {', '.join(missing)}"
        return {"score": None, "reasoning": OVERALL, "unscored": why}
    return {"score": fmean(scored), "reasoning": OVERALL}
