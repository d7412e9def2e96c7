"""Another way from one message of a recorded conversation on: the entries of a room that begins as that one did."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from palaver.core import room as rules
from palaver.core.effects import Publish, Rewrite
from palaver.core.entry import Entry, Forked, Joined
from palaver.core.errors import ConfigError
from palaver.core.message import Message, key_of
from palaver.core.protocol import Say
from palaver.core.state import RoomState, decode_state, encode_state

logger = logging.getLogger(__name__)

TOGETHER: Final = 500
"""Messages of one entry, where there are only messages to begin with."""
Settings = Mapping[str, Mapping[str, Any]]


class Past:
    """What a room was right after its message `at` (0: before the first). Raises `ConfigError` where it has none."""

    def __init__(self, entries: Sequence[Entry], at: int) -> None:
        self.room = entries[0].room
        self.at = at
        self._changed: dict[int, Message] = {}
        length, self.state = self._run(entries)
        self.entries = entries[:length]
        self.told = self._told()
        """How those who sat there said that they speak, by name; empty for those who did not say."""

    def _run(self, entries: Sequence[Entry]) -> tuple[int, RoomState]:
        """Apply all of them; returns how many make up the past, and the state after these."""
        now, past = RoomState(name=self.room), None
        for place, entry in enumerate(entries):
            before = now.seq
            if self.at == 0 == before:
                past = place, encode_state(now)
            for effect in _applied(now, entry):
                if isinstance(effect, Rewrite):
                    self._changed[effect.message.seq] = effect.message
            if before < self.at == now.seq:
                past = place + 1, encode_state(now)
                self._changed.clear()  # what was taken back until here is taken back in these entries
        if past is None:
            raise ConfigError(self._why_not(now.seq))
        return past[0], decode_state(past[1])

    def _why_not(self, last: int) -> str:
        if not 0 <= self.at <= last:
            return f"--at {self.at} is out of range: room {self.room!r} has messages 1 to {last} (0: before the first)"
        return f"--at {self.at}: that message was said together with the next one; take one before or after"

    def _told(self) -> dict[str, Mapping[str, Any]]:
        told: dict[str, Mapping[str, Any]] = {}
        for entry in self.entries:
            member = self.state.members.get(key_of(entry.name))
            if isinstance(entry.frame, Joined) and member is not None and member.connection == entry.id:
                told[member.name] = entry.frame.settings or {}
        return told

    def entries_of(self, room: str, *, settings: Settings, now: float, ident: str) -> list[Entry]:
        """The log of a room that goes on from here, with the time and the id of the entry that parts it."""
        redacted = tuple(message for seq, message in self._changed.items() if seq <= self.at)
        forked = Forked(
            origin=self.room,
            seq=self.at,
            settings={name: dict(told) for name, told in settings.items()},
            redacted=redacted,
        )
        return [*(self._moved(entry, room) for entry in self.entries), _own(room, forked, now, ident)]

    def _moved(self, entry: Entry, room: str) -> Entry:
        """An entry of that room as one of this; what is said in it tells where it was said."""
        frame = entry.frame
        if isinstance(frame, Say):
            frame = msgspec.structs.replace(frame, meta={**(frame.meta or {}), "forked_from": self.room})
        return msgspec.structs.replace(entry, room=room, frame=frame)


def said_in(entries: Sequence[Entry]) -> list[Message]:
    """What a room's log comes to, for its archive."""
    state, said = RoomState(name=entries[0].room), dict[int, Message]()
    for entry in entries:
        for effect in _applied(state, entry):
            said[effect.message.seq] = effect.message
    return list(said.values())


def _applied(state: RoomState, entry: Entry) -> list[Publish | Rewrite]:
    """What an entry published or took back."""
    try:
        effects = rules.apply(state, entry)
    except Exception:  # as when it was live: a mistake of ours must not cost the room what comes after it
        logger.exception("room %s: entry %s was not carried out", state.name, entry.id)
        return []
    return [effect for effect in effects if isinstance(effect, Publish | Rewrite)]


def entries_of_messages(
    messages: Sequence[Message], room: str, *, at: int, settings: Settings, now: float, ident: str
) -> list[Entry]:
    """The log of a room that begins with these messages, up to the `at`-th; for conversations without a log."""
    if not 0 <= at <= len(messages):
        raise ConfigError(f"--at {at} is out of range: there are messages 1 to {len(messages)} (0: before the first)")
    origin = messages[0].room if messages else room

    def pieces() -> Iterator[Forked]:
        for first in range(0, max(at, 1), TOGETHER):
            told = tuple(map(_tidy, messages[first : min(first + TOGETHER, at)]))
            last = first + TOGETHER >= at
            yield Forked(
                origin=origin,
                seq=at,
                messages=told,
                settings={name: dict(one) for name, one in settings.items()} if last else {},
            )

    return [_own(room, piece, now, f"{ident}.{number}") for number, piece in enumerate(pieces(), 1)]


def _tidy(message: Message) -> Message:
    meta = {**(message.meta or {}), "forked_from": message.room}
    return msgspec.structs.replace(message, meta=meta)


def _own(room: str, forked: Forked, now: float, ident: str) -> Entry:
    return Entry(id=ident, room=room, session="", name="hub", role="observer", time=now, frame=forked)
