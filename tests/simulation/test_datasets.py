"""Training data from rollouts and comparisons."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from palaver.models.scripted import ScriptedModel
from palaver.simulation import Rollout, datasets
from palaver.simulation.rewards import Candidate, Comparison, Reward
from tests.simulation.talks import ANSWER, QUESTION, SYSTEM, shape, simulator


async def test_a_row_for_sft_is_a_conversation_up_to_the_assistants_last_word() -> None:
    user = ScriptedModel(["Go on.", "Thanks! [END]"])
    rollout = simulator(user).rollout([SYSTEM, QUESTION], 5)
    assert shape(rollout) == "SUAUAU"
    (row,) = datasets.sft_rows([rollout])
    assert row == {"messages": list(rollout)[:-1]}


async def test_failed_rollouts_and_those_without_an_answer_are_no_examples() -> None:
    failing = simulator(assistant=ScriptedModel([RuntimeError("x")]))
    rollouts = await failing.rollouts([[QUESTION]])
    assert list(datasets.sft_rows([*rollouts, Rollout([QUESTION]), Rollout([QUESTION, ANSWER], prefix_length=2)])) == []


def test_a_row_for_dpo_is_the_best_reply_against_the_worst() -> None:
    scored = [("so-so", 0.4), ("best", 0.9), ("worst", 0.1), ("unknown", None)]
    comparison = Comparison([QUESTION], [Candidate(text, Reward(value)) for text, value in scored])
    (row,) = datasets.dpo_rows([comparison])
    assert row["prompt"] == [QUESTION]
    assert row["chosen"] == [{"role": "assistant", "content": "best"}]
    assert row["rejected"] == [{"role": "assistant", "content": "worst"}]
    assert (row["score_chosen"], row["score_rejected"]) == (0.9, 0.1)


@pytest.mark.parametrize("values", [[0.5, 0.5], [0.5, None], [], [0.5, 0.45]])
def test_without_a_clear_difference_there_is_no_pair(values: list[float | None]) -> None:
    comparison = Comparison([QUESTION], [Candidate(str(n), Reward(value)) for n, value in enumerate(values)])
    assert list(datasets.dpo_rows([comparison], margin=0.1)) == []


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "data" / "sft.jsonl"
    assert datasets.write(path, [{"messages": [QUESTION]}, {"messages": [{"role": "user", "content": "née"}]}]) == 2
    before = path.read_text(encoding="utf-8")
    assert [json.loads(line)["messages"][0]["role"] for line in before.splitlines()] == ["user", "user"]

    def breaking() -> Iterator[datasets.Row]:
        yield {"messages": []}
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        datasets.write(path, breaking())
    assert path.read_text(encoding="utf-8") == before and list(path.parent.iterdir()) == [path]
