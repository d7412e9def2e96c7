"""The small frames a rule answers with: acknowledgements, notices, events, comings and goings."""

from typing import Any, Literal

from palaver.core.message import Message, timestamp
from palaver.core.protocol import Ack, Event, Nack, Presence, System
from palaver.core.state import Member, RoomState

Change = Literal["joined", "left", "away", "loading", "ready"]
Level = Literal["info", "warning", "error"]


def ack(state: RoomState, ident: str, seq: int) -> Ack:
    """Words are durable: under `seq`, or 0 while they are held or sealed."""
    return Ack(room=state.name, timestamp=timestamp(state.now), id=ident, seq=seq or None)


def placed(message: Message) -> Ack:
    """The same of words that are published."""
    return Ack(room=message.room, timestamp=message.timestamp, id=message.id, seq=message.seq)


def nack(
    state: RoomState,
    ident: str,
    code: str,
    reason: str,
    retry_after: float | None = None,
    *,
    now: float | None = None,
) -> Nack:
    """A frame was refused: now, or as the entry is applied that asks for it. `retry_after` is in seconds."""
    return Nack(
        room=state.name,
        timestamp=timestamp(state.now if now is None else now),
        id=ident,
        code=code,
        reason=reason,
        retry_after=retry_after,
    )


def presence(state: RoomState, member: Member, what: Change, text: str = "", progress: float | None = None) -> Presence:
    """Somebody came, went or changed."""
    return Presence(
        room=state.name,
        timestamp=timestamp(state.now),
        name=member.name,
        role=member.role,
        state=what,
        ready=member.ready,
        text=text,
        progress=progress,
        members=len(state.members),
        about=member.about if what == "joined" else "",
    )


def notice(state: RoomState, text: str, *, level: Level = "info", code: str = "") -> System:
    """A notice of the hub to the people in the room."""
    return System(room=state.name, timestamp=timestamp(state.now), content=text, level=level, code=code)


def event(state: RoomState, kind: str, *, actor: str = "", text: str = "", **data: object) -> Event:
    """Something that happened to the room, for programs and people."""
    return Event(room=state.name, timestamp=timestamp(state.now), kind=kind, actor=actor, text=text, data=data)


def settings_event(state: RoomState, name: str, settings: dict[str, Any], actor: str = "") -> Event:
    """What a participant's client is told to use from its next turn on."""
    return event(state, "setting", actor=actor, name=name, settings=settings)
