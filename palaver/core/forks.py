"""A room that goes on from another's message: the same past, nobody in it, and its own way from there."""

import msgspec

from palaver.core import alarm, seats, speaking
from palaver.core.effects import Effect, Publish, Rewrite
from palaver.core.entry import Forked
from palaver.core.message import AGENTS, Message, key_of
from palaver.core.state import Record, RoomState


def part(state: RoomState, forked: Forked, out: list[Effect]) -> None:
    """Empty the seats, and lay down what the participants are told when they come."""
    alarm.catch_up(state)
    state.forked_from = {"room": forked.origin, "seq": forked.seq}
    for message in forked.messages:
        _tell(state, message, out)
    for key in list(state.members):
        seats.remove(state, key, f"the room was forked from {forked.origin}", out)
    state.floor.sealed = []
    state.lost = {}
    for record in state.records.values():
        record.revoked, record.unresponsive = {}, False
    for name, told in forked.settings.items():
        if (known := state.records.get(key_of(name))) is not None:
            known.settings = {**known.settings, **told}
    for message in forked.redacted:
        _take_back(state, message, out)


def _tell(state: RoomState, message: Message, out: list[Effect]) -> None:
    """A message of the other room, in its place here."""
    state.seq += 1
    told = msgspec.structs.replace(message, room=state.name, seq=state.seq)
    speaking.shorten(state)
    state.history.append(told)
    key = key_of(message.sender)
    if message.role in AGENTS:
        record = state.records.setdefault(key, Record(name=message.sender, role=message.role))
        record.spoke, record.messages = state.seq, record.messages + 1
        record.heard = state.seq
    out.append(Publish(told))


def _take_back(state: RoomState, message: Message, out: list[Effect]) -> None:
    empty = msgspec.structs.replace(message, room=state.name, content="", redacted=message.redacted or "redacted")
    state.history = [empty if one.seq == empty.seq else one for one in state.history]
    out.append(Rewrite(empty))
