"""One message of a room: what the wire carries, the transcript keeps and every prompt is made of."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

Role = Literal["model", "user_sim", "moderator", "observer"]
"""What a member is. Moderators are the humans of a room; models and user simulators need the floor."""

AGENTS: frozenset[Role] = frozenset({"model", "user_sim"})
"""Roles that speak only when granted the floor."""


def timestamp(seconds: float) -> str:
    """UTC time as ISO 8601 with milliseconds, e.g. `2026-11-21T06:53:16.042Z`, from seconds since the epoch."""
    global _latest
    moment, text, began, second = _latest
    if seconds == moment:  # what is said together, and its acknowledgements, bear the same
        return text
    milliseconds = int(seconds * 1000)
    since = milliseconds - began
    if not 0 <= since < 1000:
        since = milliseconds % 1000
        began = milliseconds - since
        second = _of_minute(began // 60_000) + _SECONDS[began // 1000 % 60]
    text = second + _MILLISECONDS[since]
    _latest = seconds, text, began, second
    return text


_latest = float("nan"), "", -1000, ""
"""The moment last asked for and its text, and the same of the second it is in (in milliseconds): the next is near."""


@lru_cache(maxsize=64)
def _of_minute(minute: int) -> str:
    return datetime.fromtimestamp(minute * 60, UTC).strftime("%Y-%m-%dT%H:%M:")


_SECONDS: Final = tuple(f"{number:02d}." for number in range(60))
_MILLISECONDS: Final = tuple(f"{number:03d}Z" for number in range(1000))


class Message(msgspec.Struct, frozen=True, tag="message", kw_only=True, gc=False, rename={"sender": "from"}):
    """What was said, as the hub stamped it.

    `seq` counts the messages of a room from 1 without a gap; `to` names the only reader of a whisper; `turn` is the
    grant it was said under (`None` for humans); `meta` is what made it, as its author's client reported.
    """

    room: str
    seq: int
    id: str
    sender: str
    role: Role
    to: str | None = None
    content: str
    timestamp: str
    reply_to: int | None = None
    turn: int | None = None
    meta: Mapping[str, Any] | None = None
    redacted: str | None = None
    """Why its content was taken out, where a moderator did so."""

    @property
    def written_by(self) -> str:
        """The moderator who wrote it in the sender's name, as the hub notes it; empty where the sender did."""
        meta = self.meta or {}
        return str(meta.get("by", "?")) if meta.get("sent_as") else ""

    def is_for(self, name: str, role: Role) -> bool:
        """Whether this member may read it: everybody, or both ends of a whisper and the moderators."""
        if self.to is None or role == "moderator":
            return True
        return same_name(name, self.to) or same_name(name, self.sender)


key_of: Final[Callable[[str], str]] = str.casefold
"""The form under which names are compared: letter case does not count."""


def same_name(one: str, other: str) -> bool:
    """Whether two names are the same participant's."""
    return one == other or key_of(one) == key_of(other)


def depth(value: Any, most: int) -> int:
    """How deep lists and objects lie within each other; looks no further than `most`."""
    inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    if most <= 1:
        return 1
    return 1 + max((depth(one, most - 1) for one in inside if isinstance(one, dict | list)), default=0)
