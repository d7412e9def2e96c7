"""What a frame reads like: one line for people, or nothing where it only changes the status line."""

from collections.abc import Sequence
from typing import Any, Final

from palaver.core.message import Message, same_name
from palaver.core.protocol import Ack, Error, Event, HubFrame, Nack, Presence, System, Welcome
from palaver.participants import endings
from palaver.participants.console.clean import clean, clean_name
from palaver.participants.console.lines import Line, local_time
from palaver.participants.console.paint import Tone

_TOLD_ANYWAY: Final = frozenset({"topic", "pins", "redacted", "undone", "ended", "retried"})
"""Changes that have an event of their own besides the one of their command."""
_ANSWERED: Final = frozenset({"command", "topic", "pin", "mark", "score", "ended"})
"""Events that whoever caused them has as an acknowledgement."""
_LOUD: Final[dict[str, Tone]] = {"alarm": "alarm", "budget": "warning", "held": "warning", "ended": "warning"}
_LEVELS: Final[dict[str, Tone]] = {"info": "notice", "warning": "warning", "error": "error"}


def tell(frame: HubFrame, me: str) -> Line | None:
    """The line that `frame` makes for the moderator `me`."""
    match frame:
        case Message():
            return message_line(frame, me)
        case System():
            return Line(clean(frame.content), _LEVELS[frame.level], local_time(frame.timestamp))
        case Presence():
            return None if same_name(frame.name, me) else _presence(frame)
        case Event():
            return _event(frame, me)
        case Welcome():
            return _welcome(frame)
        case Error():
            if endings.ends_with(frame):
                return None
            return Line(f"the hub: {clean(frame.reason)}", "error", local_time(frame.timestamp))
        case _:
            return None


def message_line(message: Message, me: str) -> Line:
    """A message with its number, so that `/redact` and `/why` can name it."""
    text = clean(message.content) if message.redacted is None else f"(redacted: {clean(message.redacted)})"
    tone: Tone = "chat"
    aside = ""
    if message.to is not None:
        tone, aside = "whisper", f"-> {clean_name(message.to)} (whisper)"
    elif message.written_by:
        aside = f"(written by {clean_name(message.written_by)})"
    elif same_name(message.sender, me):
        tone = "own"
    return Line(text, tone, local_time(message.timestamp), f"#{message.seq}", clean_name(message.sender), aside)


def answer_line(answer: Ack | Nack) -> Line | None:
    """How a command ended; a message's acknowledgement is the message itself."""
    at = local_time(answer.timestamp)
    if isinstance(answer, Nack):
        later = f" (again in {answer.retry_after:.0f} s)" if answer.retry_after else ""
        return Line(f"refused: {clean(answer.reason)}{later}", "error", at)
    return Line(clean(answer.text), "result", at) if answer.text else None


def _welcome(frame: Welcome) -> Line:
    others = [clean_name(seat.name) for seat in frame.roster if not same_name(seat.name, frame.name)]
    here = f"here: {listed(others)}" if others else "nobody else is here"
    gap = "" if frame.complete else "; older messages were missed than the hub sends again"
    text = f"room {frame.room or frame.floor.room}, you are {clean_name(frame.name)}; {here}{gap}"
    return Line(text, "notice", local_time(frame.timestamp))


def _presence(frame: Presence) -> Line | None:
    name = clean_name(frame.name)
    text = clean(frame.text).removeprefix(f"{name} ")
    text = "" if text == frame.state else text
    more = f": {text}" if text else ""
    match frame.state:
        case "joined":
            words = f"{name} joined ({frame.role}{f', {frame.members} here' if frame.members else ''}){more}"
        case "left":
            words = f"{name} left{more}"
        case "away":
            words = f"{name} is away{more}"
        case "ready":
            words = f"{name} is ready{more.removesuffix(' is ready')}"
        case "loading":
            if frame.progress is not None:  # that it begins is told, how it goes on is seen above the prompt
                return None
            words = f"{name} is {text}" if text.startswith("loading ") else f"{name} is loading{more}"
    return Line(words, "notice", local_time(frame.timestamp))


def _event(event: Event, me: str) -> Line | None:
    if event.kind == "setting" or (event.kind in _ANSWERED and same_name(event.actor, me)):
        return None
    if event.kind == "command" and _TOLD_ANYWAY & set(event.data.get("changed") or ()):
        return None
    tone = _LOUD.get(event.kind, "notice")
    return Line(_event_text(event), tone, local_time(event.timestamp))


def _event_text(event: Event) -> str:
    actor, text = clean_name(event.actor or "hub"), clean(event.text)
    match event.kind:
        case "held":
            return f"{actor} {text}\n{clean(str(event.data.get('content', '')))}"
        case "cancelled":
            seconds, tokens = _figure(event.data.get("latency")), int(_figure(event.data.get("tokens")))
            return f"{actor} stopped after {seconds * 1000:.0f} ms, {tokens} tokens"
        case "pass":
            return f"{actor} passes" + (f": {text}" if text else "")
        case "command":
            return f"{actor}: {text}"
        case "mark" | "topic" | "pin":
            return f"{event.kind} by {actor}: {text.removeprefix('topic: ')}"
        case "alarm" | "budget" | "redaction" | "ended" | "score":
            return text
    return f"{event.kind}: {text}" if text else f"{event.kind} by {actor}"


def _figure(value: Any) -> float:
    return float(value) if isinstance(value, int | float) else 0.0


def listed(names: Sequence[str], most: int = 12) -> str:
    """`Ada, Bob and 3 more`."""
    shown = ", ".join(names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
