"""Texts by which a speaker says that the conversation is over, found anywhere in a message and cut out of it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

SIGNALS: Final = ("[END]", "[[TERMINATE CHAT]]", "###STOP###", "###DONE###", "<|endconversation|>")
"""What simulators in use say; letter case does not count."""


@dataclass(frozen=True, slots=True)
class Found:
    """A message that bore an end signal."""

    signal: str
    """As it stands in the list of signals."""
    text: str
    """The message without it."""


def find(text: str, signals: Sequence[str] = SIGNALS) -> Found | None:
    """The first end signal in `text`, and the text without any; None where there is none."""
    pattern = _pattern(tuple(signals))
    first = pattern.search(text) if pattern is not None else None
    if pattern is None or first is None:
        return None
    signal = next(each for each in signals if each.casefold() == first[1].casefold())
    return Found(signal, pattern.sub("", text).strip())


@lru_cache
def _pattern(signals: tuple[str, ...]) -> re.Pattern[str] | None:
    """One of the signals with the blanks before it."""
    longest_first = sorted(filter(None, signals), key=len, reverse=True)
    if not longest_first:
        return None
    return re.compile(rf"[ \t]*({'|'.join(map(re.escape, longest_first))})", re.IGNORECASE)
