"""The loop and collapse alarm: says when agents repeat themselves or each other. Thresholds are settings."""

from functools import lru_cache
from typing import Any, Final

from palaver.core import floor, notices
from palaver.core.effects import Announce, Effect
from palaver.core.message import AGENTS, Message
from palaver.core.state import RoomState

LOOKED_AT: Final = 4000
"""Characters of a message, counted from its end: long ones must not hold up the room."""
DEFAULTS: Final[dict[str, Any]] = {
    "on": True,
    "overlap": 0.8,
    "window": 6,
    "ping_pong": 12,
    "novelty": 0.3,
    "pause": False,
}
"""`overlap`: share of 3-grams that a message has in common with a recent one; `ping_pong`: messages that two agents
exchange alone; `novelty`: share of different 3-grams among all of the last messages, below which they collapsed;
`window`: messages looked back at; `pause`: silence the room on an alarm."""
_ENOUGH: Final = 60
"""3-grams: with fewer, nothing is said of novelty."""
_LONGEST_WORD: Final = 10
"""Characters, on average; text of longer ones has no words between spaces (Chinese, a key held down)."""


def listen(state: RoomState, out: list[Effect], message: Message) -> None:
    """Look at a message that was just published; raise the alarm at most once until a human speaks."""
    if message.role not in AGENTS:
        state.alarm.pop("raised", None)
        return
    if state.alarm.get("raised"):
        return
    settings = {**DEFAULTS, **state.alarm} if state.alarm else DEFAULTS
    if not settings["on"]:
        return
    problem = diagnose(state.history, settings)
    if not problem:
        return
    state.alarm["raised"] = problem
    out.append(Announce(notices.event(state, "alarm", actor=message.sender, text=problem, seq=message.seq)))
    if settings["pause"] and floor.pause(state, out, "loop alarm"):
        out.append(Announce(notices.notice(state, f"paused: {problem}", level="warning", code="loop")))


def diagnose(history: list[Message], settings: dict[str, Any]) -> str:
    """What is wrong with the end of `history`, in words; empty where nothing is."""
    size, ping_pong = int(settings["window"]), int(settings["ping_pong"])
    recent = _since_human(history, max(size, ping_pong))
    if len(recent) < 3:
        return ""
    last, window, limit = recent[-1], recent[-size:], float(settings["overlap"])
    for earlier in reversed(window[:-1]):
        shared = overlap(last.content, earlier.content)
        if shared >= limit:
            whose = "itself" if earlier.sender == last.sender else earlier.sender
            return f"{last.sender} repeats {whose}: {shared:.0%} of message {last.seq} stands in {earlier.seq}"
    if len(recent) >= ping_pong and len(pair := {message.sender for message in recent}) == 2:
        return f"{' and '.join(sorted(pair))} have exchanged {len(recent)} messages alone"
    grams = [_grams(message.content) for message in window]
    said = sum([count for _, count in grams])
    if said >= _ENOUGH:
        new = len(frozenset().union(*[different for different, _ in grams])) / said
        if new < float(settings["novelty"]):
            return f"the last {len(window)} messages say little new ({new:.0%} of their phrases are)"
    return ""


def _since_human(history: list[Message], most: int) -> list[Message]:
    recent: list[Message] = []
    for message in reversed(history):
        if message.role not in AGENTS or len(recent) == most:
            break
        if message.to is None:
            recent.append(message)
    return recent[::-1]


def overlap(one: str, other: str) -> float:
    """Share of the word 3-grams of `one` that `other` has too, 0..1; very short texts must be equal.

    Where words are not set apart by spaces, they are 3-grams of characters.
    """
    (first, _), (second, _) = _grams(one), _grams(other)
    if not first or not second:
        return 1.0 if one.split() == other.split() and len(one.split()) > 1 else 0.0
    return len(first & second) / len(first)


@lru_cache(maxsize=256)  # each message is compared with the few before it
def _grams(text: str) -> tuple[frozenset[tuple[str, str, str]], int]:
    """Different 3-grams, and how many there are in all."""
    text = text[-LOOKED_AT:].casefold()
    words = text.split()
    if len(text) > _LONGEST_WORD * len(words):
        words = list(text)
    return frozenset(zip(words, words[1:], words[2:], strict=False)), max(len(words) - 2, 0)
