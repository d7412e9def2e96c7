"""What a conversation is worth, by name: `metric("bleu")`, `metric("interactivity", judge=model)` and others.

A metric is an asynchronous function from messages and a target to a `Score`. What could not be scored says why; it
is never 0.
"""

import asyncio
import importlib
import re
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final

from palaver.core.errors import ConfigError, MissingExtra
from palaver.models.model import ChatMessage, Model
from palaver.simulation import code_tests
from palaver.simulation.judge import Judge


@dataclass(frozen=True, slots=True)
class Score:
    """One metric's word on one conversation."""

    value: float | None
    """None: unscored, and `reason` says why."""
    reason: str = ""


Metric = Callable[[Sequence[ChatMessage], Any], Coroutine[Any, Any, Score]]
"""Gets the messages (a `Rollout`, mostly) and what was to be reached: a text, a number, tests."""


def metric(name: str, **settings: Any) -> Metric:
    """The metric of that name; raises `ConfigError` for an unknown one."""
    if name not in METRICS:
        raise ConfigError(f"metric {name!r} is unknown; known: {', '.join(METRICS)}")
    return METRICS[name](**settings)


def register(name: str, factory: Callable[..., Metric]) -> None:
    """Let `metric(name, ...)` give what `factory(...)` makes."""
    METRICS[name] = factory


def final_answer(messages: Sequence[ChatMessage]) -> str | None:
    """What the assistant said last, None where it said nothing."""
    return next((message["content"] for message in reversed(messages) if message["role"] == "assistant"), None)


def bleu(answer: Callable[[Sequence[ChatMessage]], str | None] = final_answer) -> Metric:
    """How close the final answer is to the target text, 0 to 1: sentence BLEU by sacrebleu (extra `metrics`)."""
    try:
        sacrebleu = importlib.import_module("sacrebleu")
    except ImportError as error:
        raise MissingExtra("sacrebleu", "metrics") from error

    async def score(messages: Sequence[ChatMessage], target: Any) -> Score:
        said = answer(messages)
        if said is None or not target:
            return Score(None, "there is no target text" if said is not None else "the assistant said nothing")
        targets = [target] if isinstance(target, str) else list(target)
        value = await asyncio.to_thread(sacrebleu.sentence_bleu, said, targets)
        return Score(float(value.score) / 100)

    return score


def accuracy(
    judge: Model | None = None, answer: Callable[[Sequence[ChatMessage]], str | None] = final_answer
) -> Metric:
    """1 where the final answer is right, 0 where it is wrong.

    Without a judge: a target that is a number must be the last number said (or the boxed one), a text must be
    contained, as whole words and whatever the letter case. A judge is asked whether the answer means the same.
    """
    judging = None if judge is None else Judge(judge)

    async def score(messages: Sequence[ChatMessage], target: Any) -> Score:
        said = answer(messages)
        if said is None or target is None:
            return Score(None, "there is no target" if said is not None else "the assistant said nothing")
        if judging is None:
            return Score(float(_is_right(said, str(target))))
        verdict = await judging.number(_SAME_ANSWER.format(target=target, answer=said), "correct")
        return Score(verdict.value, verdict.reason)

    return score


def pass_rate(*, allow_execution: bool = False, seconds: float = 10.0, megabytes: int = 512) -> Metric:
    """The share of the target's tests that the answer's Python code passes; see `code_tests`.

    The target is a sequence of test programs (`assert`s). A model's code runs on this machine: say
    `allow_execution=True` where that is acceptable, in a container or a machine to throw away.
    """
    if not allow_execution:
        raise ConfigError("pass_rate runs code that a model wrote: give allow_execution=True if this machine may")

    async def score(messages: Sequence[ChatMessage], target: Any) -> Score:
        code = code_tests.python_in(final_answer(messages) or "")
        tests = [target] if isinstance(target, str) else list(target or ())
        if not tests:
            return Score(None, "there are no tests")
        if code is None:
            return Score(0.0, "the answer holds no code")
        passed = [await code_tests.passes(code, test, seconds=seconds, megabytes=megabytes) for test in tests]
        return Score(sum(passed) / len(tests), f"{sum(passed)} of {len(tests)} tests passed")

    return score


def token_amount(count: Callable[[str], int] | None = None) -> Metric:
    """Tokens that the assistant wrote after the prefix, by `count` or characters / 4: a cost, not a merit."""
    counted = count or _estimate

    async def score(messages: Sequence[ChatMessage], target: Any) -> Score:
        return Score(float(sum(counted(message["content"]) for message in _assistants_new(messages))))

    return score


def interactivity(judge: Model) -> Metric:
    """How well the assistant works with the user, 0 to 1, by a judging model: questions, engagement, clarity."""
    judging = Judge(judge)

    async def score(messages: Sequence[ChatMessage], target: Any) -> Score:
        if not _assistants_new(messages):
            return Score(None, "the assistant said nothing")
        verdict = await judging.number(_INTERACTIVITY.format(talk=_written(messages)), "interactivity")
        return Score(verdict.value, verdict.reason)

    return score


METRICS: Final[dict[str, Callable[..., Metric]]] = {
    "bleu": bleu,
    "accuracy": accuracy,
    "pass_rate": pass_rate,
    "token_amount": token_amount,
    "interactivity": interactivity,
}

_INTERACTIVITY: Final = """You judge how an AI assistant works together with its user.
A high score: it asks about what it cannot know, engages with what the user said, and is clear and easy to follow.
A low score: it guesses, lectures, ignores the user's words, or drags the conversation on.

<conversation>
{talk}
</conversation>

Answer with JSON alone: {{"reason": "one sentence", "interactivity": a number from 0 (worst) to 1 (best)}}"""

_SAME_ANSWER: Final = """Does the answer come to the same result as the reference? How it is put does not matter.

<reference>
{target}
</reference>
<answer>
{answer}
</answer>

Answer with JSON alone: {{"reason": "one sentence", "correct": 1 if it does, else 0}}"""

_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


def _is_right(said: str, target: str) -> bool:
    if _NUMBER.fullmatch(target.strip()):
        boxed = _BOXED.findall(said)
        numbers = _NUMBER.findall(boxed[-1] if boxed else said)
        return bool(numbers) and _number(numbers[-1]) == _number(target.strip())
    words = re.escape(" ".join(target.split()))
    return re.search(rf"(?<!\w){words}(?!\w)", " ".join(said.split()), re.IGNORECASE) is not None


def _number(text: str) -> float:
    return float(text.replace(",", ""))


def _assistants_new(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    first = getattr(messages, "prefix_length", 0)
    return [message for message in messages[first:] if message["role"] == "assistant"]


def _written(messages: Sequence[ChatMessage]) -> str:
    return "\n\n".join(
        f"{message['role']}: {message['content']}" for message in messages if message["role"] != "system"
    )


def _estimate(text: str) -> int:
    return len(text) // 4 + 1
