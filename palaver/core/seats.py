"""Coming and going: who sits in a room, under which name, and what the others are told of it."""

from collections.abc import Mapping
from typing import Any, Final

from palaver.core import due, floor, notices
from palaver.core.effects import Admit, Announce, Disconnect, Effect, Hearing, Reply
from palaver.core.entry import Entry, Joined
from palaver.core.lookalikes import skeleton
from palaver.core.message import AGENTS, key_of
from palaver.core.protocol import Close
from palaver.core.state import FOREVER, Member, Record, RoomState

KEPT_RECORDS: Final = 1000
_NUMBERS: Final = ("temperature", "delay", "history", "max_tokens")
"""What a client tells in numbers of how it speaks."""
CROWD: Final = 200
"""Rooms beyond this size announce only those who can speak, and show so many seats."""


def is_here(member: Member | None, entry: Entry) -> bool:
    """Whether the entry's session is the one that sits under its name, given who does."""
    if member is None or member.session != entry.session:
        return False
    return member.role == entry.role


def refuse(state: RoomState, entry: Entry) -> Disconnect | None:
    """Why the entry's name cannot be seated now."""
    key = key_of(entry.name)
    there = state.members.get(key)
    if there is not None and there.session != entry.session:
        return Disconnect(entry.session, Close.NAME_TAKEN, taken(entry.name), entry.id)
    if (like := _looks_like(state, entry.name)) is not None:
        reason = f"name {entry.name!r} looks like {like!r}, who is here; choose another"
        return Disconnect(entry.session, Close.NAME_TAKEN, reason, entry.id)
    if state.banned.get(key, 0.0) > max(state.now, entry.time):
        return Disconnect(entry.session, Close.BANNED, f"{entry.name} is banned from room {state.name!r}", entry.id)
    return None


def _looks_like(state: RoomState, name: str) -> str | None:
    """Whoever speaks here under another name that is drawn alike; a plain ASCII name is itself."""
    if name.isascii():
        return None
    drawn = skeleton(name)
    others = (state.members[key].name for key in state.speakers if key != key_of(name))
    return next((other for other in others if skeleton(other) == drawn), None)


def taken(name: str) -> str:
    """What somebody is told whose name is in use; the words are those of LLM Party Chat."""
    return f"Name '{name}' is already taken. Connection rejected."


def seat(state: RoomState, entry: Entry, joined: Joined, out: list[Effect]) -> None:
    """Give the entry's session a seat; the same session again takes over its own."""
    refusal = refuse(state, entry)
    if refusal is not None:
        out.append(refusal)
        return
    key = key_of(entry.name)
    old = state.members.get(key)
    if old is not None:  # the same client on a new connection: what it was granted died with the old one
        floor.forget(state, out, key)
    state.lost.pop(key, None)
    member = Member(
        name=entry.name,
        role=entry.role,
        session=entry.session,
        connection=entry.id,
        hub=joined.hub,
        ready=joined.ready,
        about=joined.about,
    )
    state.members[key] = member
    state.idle.pop(key, None)
    if entry.role == "observer":
        state.speakers.pop(key, None)
    else:
        state.speakers[key] = True
    out.append(Admit(entry.session, entry.id))
    if entry.role in AGENTS:
        record = _enrol(state, key, entry)
        state.idle[key] = True
        record.started = _speaks(joined.settings or {})
        if record.deafened:
            out.append(Hearing(entry.session, True))
        if record.settings:
            out.append(Reply(entry.session, notices.settings_event(state, record.name, record.settings)))
    if old is None:
        _announce(state, member, "joined", out)
    elif old.away:
        _announce(state, member, "ready" if member.ready else "loading", out)


def _enrol(state: RoomState, key: str, entry: Entry) -> Record:
    records = state.records
    if key in records:
        record = records[key]
        record.name, record.role = entry.name, entry.role
        record.revoked, record.unresponsive, record.left = {}, False, -FOREVER
        return record
    if len(records) >= KEPT_RECORDS:
        absent = [name for name in records if name not in state.members]
        absent.sort(key=lambda name: _is_steered(records[name]))
        for gone in absent[: KEPT_RECORDS // 10]:
            del records[gone]
    records[key] = Record(name=entry.name, role=entry.role, heard=state.seq)
    return records[key]


def _speaks(told: Mapping[str, Any]) -> dict[str, Any]:
    """Of what a client tells of itself, what `/set` and `/whois` show; no text but the model's name."""
    numbers = {what: told[what] for what in _NUMBERS if isinstance(told.get(what), int | float)}
    return numbers | ({"model": told["model"][:200]} if isinstance(told.get("model"), str) else {})


def _is_steered(record: Record) -> bool:
    """Whether a moderator has laid down anything for this participant: such records are forgotten last."""
    return bool(record.muted_until or record.deafened or record.budget or record.settings)


def back(state: RoomState, entry: Entry, out: list[Effect]) -> bool:
    """The entry's client is alive: says whether it was thought to be away, and is here again."""
    member = state.members.get(key_of(entry.name))
    if member is None or not member.away or not is_here(member, entry):
        return False
    _here_again(state, key_of(entry.name), out)
    return True


def _here_again(state: RoomState, key: str, out: list[Effect]) -> None:
    member = state.members[key]
    member.away = False
    state.lost.pop(key, None)
    _announce(state, member, "ready" if member.ready else "loading", out)


def lose(state: RoomState, hub: str, out: list[Effect]) -> None:
    """A hub is gone: its members are away and give back the floor; their names stay theirs for a while."""
    for key, member in state.members.items():
        if member.hub == hub and key not in state.lost:
            state.lost[key] = state.now
            floor.forget(state, out, key)
            member.away = True
            _announce(state, member, "away", out, "its hub is lost")


def find(state: RoomState, hub: str, out: list[Effect]) -> None:
    """A hub that was called lost is there, and so are its members that kept their seats."""
    for key in [key for key in state.lost if state.members[key].hub == hub]:
        _here_again(state, key, out)


def give_up(state: RoomState, out: list[Effect]) -> None:
    """Those whose hub is lost for too long have gone; should their hub only be cut off, they are told to come back."""
    for key in [key for key, since in state.lost.items() if state.now >= since + due.GRACE]:
        out.append(Disconnect(state.members[key].session, Close.GOING_AWAY, "the hub was cut off from the others"))
        remove(state, key, "its hub was lost", out)


def remove(state: RoomState, key: str, reason: str, out: list[Effect]) -> None:
    """Take a member out of the room and tell the others why."""
    member = state.members.pop(key)
    state.speakers.pop(key, None)
    state.lost.pop(key, None)
    if key in state.records:
        state.records[key].left = state.now
    state.floor.hands = [hand for hand in state.floor.hands if key_of(hand.name) != key]
    floor.forget(state, out, key)
    state.idle.pop(key, None)
    _announce(state, member, "left", out, reason)


def _announce(state: RoomState, member: Member, what: notices.Change, out: list[Effect], text: str = "") -> None:
    if member.role == "observer" and len(state.members) > CROWD:
        return
    out.append(Announce(notices.presence(state, member, what, text)))
