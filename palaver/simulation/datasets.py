"""Rollouts as training data: `messages` for SFT; `prompt`, `chosen` and `rejected` for DPO."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from palaver.models.model import ChatMessage
from palaver.simulation.rewards import Comparison
from palaver.simulation.rollout import Rollout

Row = Mapping[str, Any]


def sft_rows(rollouts: Iterable[Rollout]) -> Iterator[Row]:
    """A row for each rollout that did not fail: its messages up to the assistant's last."""
    for rollout in rollouts:
        messages = list(rollout)
        while messages and messages[-1]["role"] != "assistant":
            messages.pop()
        if messages and not rollout.failed and len(messages) > rollout.prefix_length:
            yield {"messages": messages}


def dpo_rows(comparisons: Iterable[Comparison], *, margin: float = 0.0) -> Iterator[Row]:
    """A row for each comparison: the reply worth most against the one worth least, where they differ by more.

    Unscored replies are neither chosen nor rejected.
    """
    for comparison in comparisons:
        scored = [(each.reward.value, each.reply) for each in comparison.candidates if each.reward.value is not None]
        if len(scored) < 2:
            continue
        best = max(scored, key=lambda pair: pair[0])
        worst = min(scored, key=lambda pair: pair[0])
        if best[0] - worst[0] > margin:
            yield {
                "prompt": list(comparison.prompt),
                "chosen": [_assistant(best[1])],
                "rejected": [_assistant(worst[1])],
                "score_chosen": best[0],
                "score_rejected": worst[0],
            }


def write(path: Path | str, rows: Iterable[Row]) -> int:
    """Write rows as JSONL, all of them or none; returns how many."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.new")
    count = 0
    try:
        with beside.open("w", encoding="utf-8") as file:
            for row in rows:
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return count


def _assistant(text: str) -> ChatMessage:
    return {"role": "assistant", "content": text}
