"""The loop and collapse alarm: says when agents repeat themselves or each other. Thresholds are settings."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Final

import msgspec

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
_PUT_OFF: Final = "put off"
"""Among the settings, while listening is put off: the `seq` not listened to yet. Never in a snapshot."""
_LONGEST_WORD: Final = 10
"""Characters, on average; text of longer ones has no words between spaces (Chinese, a key held down)."""


def listen(state: RoomState, out: list[Effect], message: Message) -> None:
    """Look at an agent's message that was just published; raise the alarm at most once until a human speaks."""
    known = state.alarm
    if known:
        if "raised" in known:
            return
        if _PUT_OFF in known and not known.get("pause"):
            known[_PUT_OFF].append(message.seq)
            return
    _listen(state, out, message, state.history)


def _listen(state: RoomState, out: list[Effect], message: Message, history: list[Message]) -> None:
    settings = {**DEFAULTS, **state.alarm} if state.alarm else DEFAULTS
    problem = diagnose(history, settings) if settings["on"] else ""
    if not problem:
        return
    state.alarm["raised"] = problem
    out.append(Announce(notices.event(state, "alarm", actor=message.sender, text=problem, seq=message.seq)))
    if settings["pause"] and floor.pause(state, out, "loop alarm"):
        out.append(Announce(notices.notice(state, f"paused: {problem}", level="warning", code="loop")))


@contextmanager
def put_off(state: RoomState) -> Iterator[None]:
    """Listen at the end to what is published meanwhile, in a room that nobody hears; its state is the same then.

    What was said before a human spoke does not matter any more by then: in most rooms nearly all of it.
    """
    state.alarm[_PUT_OFF] = []
    try:
        yield
    finally:
        catch_up(state)
        del state.alarm[_PUT_OFF]


def catch_up(state: RoomState) -> None:
    """Listen to what that was put off for: before the last messages change, or how the alarm is set."""
    waiting: list[int] = state.alarm.get(_PUT_OFF, [])
    if not waiting:
        return
    history = state.history
    human = next((message.seq for message in reversed(history) if message.role not in AGENTS), 0)
    for seq in waiting:
        if seq > human and "raised" not in state.alarm:
            place = seq - history[0].seq
            _listen(state, [], history[place], history[: place + 1])
    waiting.clear()


def diagnose(history: list[Message], settings: dict[str, Any]) -> str:
    """What is wrong with the end of `history`, in words; empty where nothing is."""
    if len(history) < 3 or history[-2].role not in AGENTS or history[-3].role not in AGENTS:
        return ""
    size, ping_pong = settings["window"], settings["ping_pong"]
    recent = _since_human(history, size if size > ping_pong else ping_pong)
    if len(recent) < 3:
        return ""
    last, window, limit = recent[0], recent[:size], settings["overlap"]
    spoken = [_phrases(message.content) for message in window]
    new, said = spoken[0].different, spoken[0].count
    for place in range(1, len(window)):
        old = spoken[place].different
        said += spoken[place].count
        if new and old and limit > 0 and new.isdisjoint(old):  # as nearly always: cheaper than to gather nothing
            continue
        shared = _shared(spoken[0], spoken[place])
        if shared >= limit:
            earlier = window[place]
            whose = "itself" if earlier.sender == last.sender else earlier.sender
            return f"{last.sender} repeats {whose}: {shared:.0%} of message {last.seq} stands in {earlier.seq}"
    if len(recent) >= ping_pong and len(pair := {message.sender for message in recent}) == 2:
        return f"{' and '.join(sorted(pair))} have exchanged {len(recent)} messages alone"
    if said >= _ENOUGH and (share := _novelty(spoken, said, settings["novelty"])) is not None:
        return f"the last {len(window)} messages say little new ({share:.0%} of their phrases are)"
    return ""


def _since_human(history: list[Message], most: int) -> list[Message]:
    """What agents said to all since a human spoke, the last one first."""
    recent: list[Message] = []
    for message in reversed(history):
        if message.role not in AGENTS:
            break
        if message.to is None:
            recent.append(message)
            if len(recent) == most:
                break
    return recent


def overlap(one: str, other: str) -> float:
    """Share of the word 3-grams of `one` that `other` has too, 0..1; very short texts must be equal.

    Where words are not set apart by spaces, they are 3-grams of characters.
    """
    return _shared(_phrases(one), _phrases(other))


class _Phrases(msgspec.Struct, frozen=True, gc=False):
    """The 3-grams of a text."""

    text: str
    different: frozenset[tuple[str, str, str]]
    count: int
    """How many there are, repeated ones included."""


@lru_cache(maxsize=128)  # each message is compared with the few before it; 256 do not stay near the processor
def _phrases(text: str) -> _Phrases:
    looked_at = text[-LOOKED_AT:].casefold()
    words = looked_at.split()
    if len(looked_at) > _LONGEST_WORD * len(words):
        words = list(looked_at)
    count = len(words) - 2
    if count <= 0:
        return _Phrases(text, frozenset(), 0)
    return _Phrases(text, frozenset(zip(words, words[1:], words[2:])), count)  # noqa: B905  # to say it costs a tenth


def _shared(one: _Phrases, other: _Phrases) -> float:
    first, second = one.different, other.different
    if not first or not second:
        words = one.text.split()
        return 1.0 if words == other.text.split() and len(words) > 1 else 0.0
    return len(first & second) / len(first)


def _novelty(spoken: list[_Phrases], said: int, enough: float) -> float | None:
    """Share of different 3-grams among all, where it is below `enough`: two messages mostly show that it is not."""
    new = spoken[0].different
    for phrases in spoken[1:]:
        if len(new) / said >= enough:
            return None
        new |= phrases.different
    share = len(new) / said
    return None if share >= enough else share
