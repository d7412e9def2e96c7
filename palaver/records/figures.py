"""Who talks how much, after whom, and how fast: figures of a conversation, from messages alone."""

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Final

from palaver.core.message import Message

_WORD: Final = re.compile(r"\w+")


@dataclass(frozen=True, slots=True)
class Latency:
    """Seconds between the message before, by somebody else, and the answer; by the hub's stamps."""

    p50: float
    p95: float


def said_to_all(messages: Sequence[Message]) -> list[Message]:
    """What counts in figures: no whispers, nothing redacted, nothing that the hub said as `system`."""
    return [one for one in messages if one.to is None and one.redacted is None and one.sender != "system"]


def words_by_name(said: Sequence[Message]) -> dict[str, int]:
    """How many words each has said, in order of first appearance."""
    totals: dict[str, int] = {}
    for message in said:
        totals[message.sender] = totals.get(message.sender, 0) + len(_WORD.findall(message.content))
    return totals


def shares(totals: dict[str, int]) -> dict[str, float]:
    """Of all words, 0 to 1."""
    whole = sum(totals.values())
    return {name: count / whole if whole else 0.0 for name, count in totals.items()}


def follows(said: Sequence[Message]) -> dict[str, dict[str, int]]:
    """How often one (the inner name) spoke directly after another (the outer name)."""
    table: dict[str, dict[str, int]] = {}
    for (before, after), count in Counter((one.sender, other.sender) for one, other in pairwise(said)).items():
        table.setdefault(before, {})[after] = count
    return table


def latencies(said: Sequence[Message]) -> dict[str, Latency]:
    """How long each waited before it answered somebody else."""
    waited: dict[str, list[float]] = {}
    for before, after in pairwise(said):
        if before.sender != after.sender:
            waited.setdefault(after.sender, []).append(seconds(after.timestamp) - seconds(before.timestamp))
    return {name: Latency(percentile(each, 0.5), percentile(each, 0.95)) for name, each in waited.items()}


def percentile(values: Sequence[float], share: float) -> float:
    """Linear between the two nearest ranks; `values` must not be empty."""
    ranked = sorted(values)
    place = share * (len(ranked) - 1)
    low, high = ranked[math.floor(place)], ranked[math.ceil(place)]
    return low + (high - low) * (place - math.floor(place))


def seconds(stamp: str) -> float:
    """Seconds since the epoch of a hub's time stamp."""
    return datetime.fromisoformat(stamp).timestamp()
