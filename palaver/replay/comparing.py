"""What two runs of one conversation must share, and the one list of what they need not."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from palaver.core.entry import Entry
from palaver.core.message import Message

VOLATILE: Final = {
    "entry": ("id", "session", "time"),
    "frame": ("id", "latency", "connection"),
    "message": ("id", "timestamp"),
    "meta": (
        "queue_seconds",
        "prefill_seconds",
        "decode_seconds",
        "total_seconds",
        "tokens_per_second",
        "reused_tokens",
        "attempts",
        "traceparent",
        "command",
    ),
}
"""Times, ids and whatever else is another each time: everything else must be the same."""


def difference(recorded: Entry, again: Entry) -> str:
    """The first field in which two entries differ, and how; empty where they are the same."""
    return _first(_masked(recorded, "entry"), _masked(again, "entry"))


def differing_message(recorded: Sequence[Message], again: Sequence[Message]) -> str:
    """The first message in which two conversations differ, and how; empty where they are the same."""
    for one, other in zip(recorded, again, strict=False):
        if told := _first(_masked(one, "message"), _masked(other, "message")):
            return f"message {one.seq} of {one.sender}: {told}"
    if len(recorded) != len(again):
        return f"{len(again)} messages were said, {len(recorded)} are recorded"
    return ""


def _masked(value: Entry | Message, kind: str) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.to_builtins(value)
    masked = _without(plain, VOLATILE[kind])
    if isinstance(frame := masked.get("frame"), dict):
        masked["frame"] = frame = _without(frame, VOLATILE["frame"])
        if isinstance(frame.get("meta"), dict):
            frame["meta"] = _without(frame["meta"], VOLATILE["meta"])
    if isinstance(masked.get("meta"), dict):
        masked["meta"] = _without(masked["meta"], VOLATILE["meta"])
    return masked


def _without(fields: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name not in names}


def _first(one: Any, other: Any, path: str = "") -> str:
    if isinstance(one, dict) and isinstance(other, dict):
        for name in dict.fromkeys([*one, *other]):
            inner = f"{path}.{name}" if path else str(name)
            if told := _first(one.get(name), other.get(name), inner):
                return told
        return ""
    return "" if one == other else f"{path} is {shortened(other)}, recorded was {shortened(one)}"


def shortened(value: object) -> str:
    """A value on one line, long ones without their middle."""
    shown = repr(value)
    return shown if len(shown) <= 160 else f"{shown[:100]} … {shown[-50:]}"
