"""Metrics by name, and what happens where they cannot score."""

import sys
from collections.abc import Sequence

import pytest

from palaver.core.errors import ConfigError, MissingExtra
from palaver.models.model import ChatMessage
from palaver.models.scripted import ScriptedModel
from palaver.simulation.metrics import METRICS, Score, metric, register
from palaver.simulation.rollout import Rollout
from tests.simulation.talks import QUESTION, SYSTEM


def answered(text: str) -> Rollout:
    """A conversation whose last word is this answer."""
    return Rollout([SYSTEM, QUESTION, {"role": "assistant", "content": text}], prefix_length=2)


def test_an_unknown_metric_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="metric 'blue' is unknown; known: bleu, accuracy, pass_rate"):
        metric("blue")


async def test_a_metric_of_the_callers_own_is_had_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    async def shout(messages: Sequence[ChatMessage], target: object) -> Score:
        return Score(float(messages[-1]["content"].isupper()))

    monkeypatch.delitem(METRICS, "shout", raising=False)
    register("shout", lambda: shout)
    assert (await metric("shout")(answered("LOUD"), None)).value == 1.0
    del METRICS["shout"]


async def test_bleu_is_sacrebleus_between_0_and_1() -> None:
    pytest.importorskip("sacrebleu")
    text = "the quick brown fox jumps over the lazy dog"
    same = await metric("bleu")(answered(text), text)
    other = await metric("bleu")(answered(text), ["a cat sleeps all day in the sun", "nobody knows it"])
    assert same.value == pytest.approx(1.0) and other.value is not None and other.value < 0.1


def test_bleu_without_sacrebleu_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(MissingExtra, match=r"palaver\[metrics\]"):
        metric("bleu")


@pytest.mark.parametrize(
    ("said", "target", "value"),
    [
        ("First 3, then 12.5 in all.", 12.5, 1.0),
        ("It is 12, not 13.", "12", 0.0),
        (r"So \boxed{1,024} of 2048.", "1024", 1.0),
        ("I think it is Paris.", "paris", 1.0),
        ("Parisian food.", "Paris", 0.0),
        ("No idea.", "7", 0.0),
    ],
)
async def test_accuracy_without_a_judge_compares(said: str, target: object, value: float) -> None:
    assert (await metric("accuracy")(answered(said), target)).value == value


async def test_accuracy_may_ask_a_judge() -> None:
    judge = ScriptedModel(['```json\n{"reason": "the same city", "correct": 1}\n```'])
    score = await metric("accuracy", judge=judge)(answered("La capitale."), "Paris")
    assert score == Score(1.0, "the same city")
    assert "La capitale." in judge.prompts[0][0]["content"]


@pytest.mark.system
async def test_pass_rate_is_the_share_of_tests_that_the_code_passes() -> None:
    code = "Here:\n```python\ndef double(x):\n    return 2 * x if x != 3 else 0\n```\nDone."
    tests = ["assert double(1) == 2", "assert double(3) == 6", "import time; time.sleep(60)", "import sys; sys.exit(0)"]
    score = await metric("pass_rate", allow_execution=True, seconds=3.0)(answered(code), tests)
    assert score == Score(0.25, "1 of 4 tests passed")


async def test_an_answer_without_code_passes_nothing_and_no_tests_are_unscored() -> None:
    passing = metric("pass_rate", allow_execution=True)
    assert (await passing(answered("I cannot."), ["assert True"])).value == 0.0
    assert (await passing(answered("```python\npass\n```"), [])).value is None


def test_code_is_not_run_unless_that_was_allowed() -> None:
    with pytest.raises(ConfigError, match="allow_execution=True"):
        metric("pass_rate")


async def test_token_amount_counts_what_the_assistant_wrote_after_the_prefix() -> None:
    rollout = answered("one two three")
    rollout += [{"role": "user", "content": "many more words here"}, {"role": "assistant", "content": "four"}]
    assert (await metric("token_amount", count=lambda text: len(text.split()))(rollout, None)).value == 4.0
    rollout.prefix_length = 4
    assert (await metric("token_amount", count=lambda text: len(text.split()))(rollout, None)).value == 1.0


async def test_interactivity_is_the_judges_number_and_the_judge_sees_no_system_prompt() -> None:
    judge = ScriptedModel(['<think>{"interactivity": 0}</think>{"reason": "asks back", "interactivity": 0.8}'])
    assert await metric("interactivity", judge=judge)(answered("Which one?"), None) == Score(0.8, "asks back")
    assert SYSTEM["content"] not in judge.prompts[0][0]["content"]


@pytest.mark.parametrize(
    "said",
    ["No JSON at all.", '{"interactivity": "high"}', '{"interactivity": 7}', '{"interactivity": NaN}', "{broken"],
)
async def test_a_judge_that_gives_no_number_leaves_it_unscored_after_a_second_question(said: str) -> None:
    judge = ScriptedModel([said], cycle=True)
    score = await metric("interactivity", judge=judge)(answered("Hm."), None)
    assert score.value is None and "'interactivity' from 0 to 1" in score.reason
    assert len(judge.prompts) == 2


async def test_a_judge_that_fails_once_is_asked_again() -> None:
    judge = ScriptedModel([RuntimeError("busy"), '{"interactivity": 0}'])
    assert (await metric("interactivity", judge=judge)(answered("Hm."), None)).value == 0.0


async def test_a_judge_that_is_down_leaves_it_unscored() -> None:
    judge = ScriptedModel([RuntimeError("down"), RuntimeError("still down")])
    score = await metric("interactivity", judge=judge)(answered("Hm."), None)
    assert score == Score(None, "the judge could not answer: still down")


@pytest.mark.parametrize("name", ["bleu", "accuracy", "interactivity"])
async def test_silence_of_the_assistant_is_unscored(name: str) -> None:
    if name == "bleu":
        pytest.importorskip("sacrebleu")
    settings = {"judge": ScriptedModel([])} if name == "interactivity" else {}
    score = await metric(name, **settings)([SYSTEM, QUESTION], "target")
    assert score == Score(None, "the assistant said nothing")
