"""Figures of a conversation that need no model: who talks how much, after whom, how fast, and how much of it is new."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from palaver.core.mentions import mentioned
from palaver.core.message import AGENTS, Message, key_of
from palaver.evaluation import diversity
from palaver.records.figures import Latency, follows, latencies, said_to_all, seconds, shares


@dataclass(frozen=True, slots=True)
class Silence:
    """A pause of the room, or of those in `names`, from one hub time stamp to another; None: to the end."""

    start: str
    end: str | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Lengths:
    """Words of a participant's turns."""

    mean: float
    shortest: int
    longest: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """Shares are 0 to 1; None stands where a figure has no meaning (one speaker has no entropy)."""

    messages: int
    share: dict[str, float]
    """Of the words, by participant."""
    entropy: float | None
    """Of `share`, normalised: 1 where all talk alike, 0 where one talks alone (Shannon, over the log of the count)."""
    gini: float | None
    """Of the words: 0 where all talk alike."""
    lengths: dict[str, Lengths]
    follows: dict[str, dict[str, int]]
    """How often one (the inner name) spoke directly after another (the outer name)."""
    latency: dict[str, Latency]
    distinct_1: float | None
    distinct_2: float | None
    self_bleu: float | None
    repetition: float | None
    """Share of the 3-grams that an earlier message had already."""
    addressee_coverage: float | None
    """Of those that a message named, the share that spoke before the one who named them spoke again."""
    adherence: float | None
    """Of the silences handed in, the share that no silenced agent broke; None where there were none."""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def statistics(
    messages: Sequence[Message], *, names: Sequence[str] = (), silences: Sequence[Silence] = ()
) -> Statistics:
    """Figures of what was said to all. `names` are participants that may have said nothing at all.

    Whispers and redacted messages are left out, and what the hub said as `system`.
    """
    said = said_to_all(messages)
    texts = [diversity.words(one.content) for one in said]
    spoken: dict[str, list[int]] = {name: [] for name in names}
    for message, tokens in zip(said, texts, strict=True):
        spoken.setdefault(message.sender, []).append(len(tokens))
    totals = {name: sum(counts) for name, counts in spoken.items()}
    return Statistics(
        messages=len(said),
        share=shares(totals),
        entropy=_entropy(list(totals.values())),
        gini=_gini(list(totals.values())),
        lengths={name: Lengths(fmean(each), min(each), max(each)) for name, each in spoken.items() if each},
        follows=follows(said),
        latency=latencies(said),
        distinct_1=diversity.distinct(texts, 1),
        distinct_2=diversity.distinct(texts, 2),
        self_bleu=diversity.self_bleu(texts),
        repetition=diversity.repetition(texts),
        addressee_coverage=_coverage(said, list(spoken)),
        adherence=_adherence(said, silences),
    )


def _entropy(totals: Sequence[int]) -> float | None:
    whole = sum(totals)
    if len(totals) < 2 or not whole:
        return None
    return sum(-count / whole * math.log(count / whole) for count in totals if count) / math.log(len(totals))


def _gini(totals: Sequence[int]) -> float | None:
    whole, number = sum(totals), len(totals)
    if number < 2 or not whole:
        return None
    weighted = sum(place * count for place, count in enumerate(sorted(totals), 1))
    return 2 * weighted / (number * whole) - (number + 1) / number


def _coverage(said: Sequence[Message], names: Sequence[str]) -> float | None:
    asked = answered = 0
    for place, message in enumerate(said):
        others = {key_of(name): name for name in names if key_of(name) != key_of(message.sender)}
        called = set(mentioned(message.content, others))
        asked += len(called)
        for later in said[place + 1 :]:
            if key_of(later.sender) == key_of(message.sender) or not called:
                break
            answered += key_of(later.sender) in called
            called.discard(key_of(later.sender))
    return answered / asked if asked else None


def _adherence(said: Sequence[Message], silences: Sequence[Silence]) -> float | None:
    if not silences:
        return None
    kept = sum(not any(_breaks(message, silence) for message in said) for silence in silences)
    return kept / len(silences)


def _breaks(message: Message, silence: Silence) -> bool:
    if message.role not in AGENTS or (message.meta or {}).get("sent_as"):  # a moderator may speak in its name
        return False
    if silence.names and key_of(message.sender) not in {key_of(name) for name in silence.names}:
        return False
    moment = seconds(message.timestamp)
    return seconds(silence.start) < moment and (silence.end is None or moment < seconds(silence.end))
