"""A room: entries of the log in, effects out. A pure function of its state; no socket, no clock, no model.

Every hub that applies the same entries holds the same room, byte for byte, and does the same.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from palaver.core import budgets, due, floor, forks, notices, seats, speaking, steering
from palaver.core.effects import FLOOR_CHANGED, Acknowledge, Announce, Effect, Reply
from palaver.core.entry import Elapsed, Entry, Forked, HubBack, HubLost, HubStarted, Joined, Left
from palaver.core.message import AGENTS, key_of, timestamp
from palaver.core.protocol import Ack, Cancelled, Command, FloorRequest, Nack, Pass, Say, Status
from palaver.core.state import Hand, Held, RoomState, copy_of

HANDS: Final = 100


def apply(state: RoomState, entry: Entry) -> list[Effect]:
    """Take one entry and say what is to be done. Entries that the state refuses change nothing but its time."""
    out: list[Effect] = []
    if entry.time > state.now:
        state.now = entry.time
    frame, key = entry.frame, key_of(entry.name)
    member = state.members.get(key)
    if member is not None and member.away and isinstance(frame, _SIGNS_OF_LIFE) and seats.back(state, entry, out):
        speaking.settle(state, out)
    _RULES[type(frame)](state, entry, key, frame, out)
    return out


def refuses(state: RoomState, entry: Entry) -> Nack | None:
    """Why this frame cannot be taken now, for a hub to answer at the door without logging it."""
    frame = entry.frame
    is_plain = isinstance(frame, Say) and frame.to is None and frame.content.strip()
    if is_plain and entry.role == "moderator" and not state.ended:
        return None  # only the seat could be wrong, and the room makes sure of that
    key = key_of(entry.name)
    member = state.members.get(key)
    if member is not None and member.away:  # the room must hear that it is alive
        return None
    if isinstance(frame, Say):
        refusal = _refuse_say(state, entry, key, frame)
    elif isinstance(frame, Command):
        refusal = _refuse_command(state, entry, key, frame)
    else:
        return None
    if refusal is None or (frame.id and f"{entry.session}/{frame.id}" in state.seen):  # sent again: taken then
        return None
    return msgspec.structs.replace(refusal, timestamp=timestamp(max(state.now, entry.time)))


# --- speaking --------------------------------------------------------------------------------------------------------


def _say(state: RoomState, entry: Entry, key: str, frame: Say, out: list[Effect]) -> None:
    if frame.id and (seq := state.seen.get(f"{entry.session}/{frame.id}")) is not None:
        out.append(Acknowledge(entry.session, frame.id, seq))
        return
    nack = _refuse_say(state, entry, key, frame)
    if nack is not None:
        out.append(Reply(entry.session, nack))
    elif entry.role in AGENTS:
        _say_with_floor(state, entry, key, frame, out)
    else:
        speaking.publish(state, entry, frame, None, out)
        speaking.settle(state, out)


def _say_with_floor(state: RoomState, entry: Entry, key: str, frame: Say, out: list[Effect]) -> None:
    given, record = floor.complete(state, out, key), state.records[key]
    saw_to = frame.meta.get("saw_to") if frame.meta else None
    if isinstance(saw_to, int) and saw_to > record.heard:  # what came meanwhile is answered too, and owed no second one
        record.heard = max(record.heard, min(saw_to, state.seq))
    if given.purpose == "select":
        speaking.selected(state, given, frame.content)
        speaking.remember(state, entry.session, frame.id, 0, out)
    elif floor.policy_of(state).sealed:
        speaking.seal(state, _words(entry, frame, given.turn), out)
    elif state.floor.approval:
        speaking.hold(state, _words(entry, frame, given.turn), out)
    else:
        speaking.publish(state, entry, frame, given.turn, out)
    speaking.settle(state, out)


def _refuse_say(state: RoomState, entry: Entry, key: str, frame: Say) -> Nack | None:
    if state.ended:
        return notices.nack(state, frame.id, "ended", "the conversation has ended; a new one needs another room")
    if not frame.content.strip():
        return notices.nack(state, frame.id, "empty", "a message must hold some text")
    if not seats.is_here(state.members.get(key), entry):
        return notices.nack(state, frame.id, "not_joined", "this session has no seat in the room")
    if frame.to is not None and key_of(frame.to) not in state.members:
        return notices.nack(state, frame.id, "no_such_name", f"nobody here is called {frame.to!r}")
    if entry.role in AGENTS:
        return _refuse_agent(state, key, frame, max(state.now, entry.time))
    if entry.role == "observer":
        return notices.nack(state, frame.id, "not_allowed", "observers read; join as moderator to speak")
    return None


def _refuse_agent(state: RoomState, key: str, frame: Say, now: float) -> Nack | None:
    if state.floor.paused:
        return notices.nack(state, frame.id, "paused", "the room is paused")
    record = state.records[key]
    if record.is_muted(now):
        left = record.muted_until - now
        return notices.nack(state, frame.id, "muted", f"{record.name} is muted", left if left < 1e9 else None)
    given = state.floor.grants.get(key)
    if given is not None and frame.turn in (None, given.turn):
        return None
    if budgets.is_spent(state, record):
        return notices.nack(state, frame.id, "budget", f"{record.name} has spent its budget")
    if frame.turn is not None and frame.turn <= state.floor.turn:
        return notices.nack(state, frame.id, "stale_epoch", f"turn {frame.turn} is over; wait for a grant")
    return notices.nack(state, frame.id, "no_floor", "wait for a grant before speaking")


def _words(entry: Entry, frame: Say, turn: int) -> Held:
    return Held(
        session=entry.session,
        name=entry.name,
        role=entry.role,
        time=entry.time,
        id=frame.id,
        content=frame.content,
        to=frame.to,
        reply_to=frame.reply_to,
        turn=turn,
        meta=frame.meta,
    )


# --- the floor -------------------------------------------------------------------------------------------------------


def _pass(state: RoomState, entry: Entry, key: str, frame: Pass, out: list[Effect]) -> None:
    given = state.floor.grants.get(key)
    if not seats.is_here(state.members.get(key), entry) or given is None or given.turn != frame.turn:
        return
    floor.complete(state, out, key)
    if given.purpose == "select":
        speaking.selected(state, given, "")
    if frame.failed:
        text = f"{entry.name} could not answer: {frame.reason or 'no reason given'}"
        out.append(Announce(notices.notice(state, text, level="error", code="model_failed")))
    else:
        passed = notices.event(state, "pass", actor=entry.name, text=frame.reason, turn=frame.turn)
        out.append(Announce(passed, moderators=True))
    speaking.settle(state, out)


def _cancelled(state: RoomState, entry: Entry, key: str, frame: Cancelled, out: list[Effect]) -> None:
    record = state.records.get(key)
    if record is None or not seats.is_here(state.members.get(key), entry):
        return
    if record.revoked.pop(frame.turn, None) is None:
        return
    record.unresponsive = False
    record.latencies.append(frame.latency)
    del record.latencies[:-100]
    stopped = notices.event(
        state, "cancelled", actor=entry.name, turn=frame.turn, latency=frame.latency, tokens=frame.tokens
    )
    out.append(Announce(stopped, moderators=True))


def _floor_request(state: RoomState, entry: Entry, key: str, frame: FloorRequest, out: list[Effect]) -> None:
    if entry.role not in AGENTS or key in state.floor.grants or not seats.is_here(state.members.get(key), entry):
        return
    raised = Hand(name=entry.name, urgency=frame.urgency, reason=frame.reason, time=state.now)
    hands = state.floor.hands
    place = next((place for place, hand in enumerate(hands) if key_of(hand.name) == key), len(hands))
    if place < HANDS:
        hands[place : place + 1] = [raised]
    out.append(FLOOR_CHANGED)
    speaking.settle(state, out)


def _status(state: RoomState, entry: Entry, key: str, frame: Status, out: list[Effect]) -> None:
    member = state.members.get(key)
    if member is None or not seats.is_here(member, entry):
        return
    member.ready = frame.state == "ready"
    out.append(Announce(notices.presence(state, member, frame.state, frame.text, frame.progress)))
    speaking.settle(state, out)


def _command(state: RoomState, entry: Entry, key: str, frame: Command, out: list[Effect]) -> None:
    if f"{entry.session}/{frame.id}" in state.seen:
        done = Ack(room=state.name, timestamp=timestamp(state.now), id=frame.id, text="done before")
        out.append(Reply(entry.session, done))
        return
    refusal = _refuse_command(state, entry, key, frame)
    if refusal is not None:
        out.append(Reply(entry.session, refusal))
    elif steering.carry_out(state, entry, frame, out):
        speaking.mark(state, entry.session, frame.id, 0)


def _refuse_command(state: RoomState, entry: Entry, key: str, frame: Command) -> Nack | None:
    if entry.role != "moderator":
        return notices.nack(state, frame.id, "not_allowed", "only moderators give commands")
    if not seats.is_here(state.members.get(key), entry):
        return notices.nack(state, frame.id, "not_joined", "this session has no seat in the room")
    return None


# --- coming, going, time ---------------------------------------------------------------------------------------------


def _joined(state: RoomState, entry: Entry, key: str, frame: Joined, out: list[Effect]) -> None:
    if not state.opened:
        if frame.opening is not None:
            state.floor = copy_of(frame.opening)
        state.opened, state.floor.generator = state.now, frame.seed
    seats.seat(state, entry, frame, out)
    speaking.settle(state, out)


def _left(state: RoomState, entry: Entry, key: str, frame: Left, out: list[Effect]) -> None:
    member = state.members.get(key)
    if member is not None and member.connection == frame.connection:
        seats.remove(state, key, frame.reason, out)
        speaking.settle(state, out)


def _hub_started(state: RoomState, entry: Entry, key: str, frame: HubStarted, out: list[Effect]) -> None:
    for seated in [seated for seated, member in state.members.items() if member.hub == frame.hub]:
        seats.remove(state, seated, "hub restarted", out)
    speaking.settle(state, out)


def _hub_lost(state: RoomState, entry: Entry, key: str, frame: HubLost, out: list[Effect]) -> None:
    seats.lose(state, frame.hub, out)
    speaking.settle(state, out)


def _hub_back(state: RoomState, entry: Entry, key: str, frame: HubBack, out: list[Effect]) -> None:
    seats.find(state, frame.hub, out)
    speaking.settle(state, out)


def _elapsed(state: RoomState, entry: Entry, key: str, frame: Elapsed, out: list[Effect]) -> None:
    kind, _, rest = frame.key.partition(":")
    if kind == "lease":
        due.lease_over(state, out, rest)
    elif kind == "cancel":
        due.unanswered(state, out, rest)
    elif kind == "gone":
        seats.give_up(state, out)
    speaking.settle(state, out)


def _forked(state: RoomState, entry: Entry, key: str, frame: Forked, out: list[Effect]) -> None:
    forks.part(state, frame, out)


_SIGNS_OF_LIFE: Final = (Say, Pass, Cancelled, FloorRequest, Status)
_RULES: dict[type, Callable[[RoomState, Entry, str, Any, list[Effect]], None]] = {
    Say: _say,
    Pass: _pass,
    Cancelled: _cancelled,
    FloorRequest: _floor_request,
    Status: _status,
    Command: _command,
    Joined: _joined,
    Left: _left,
    Elapsed: _elapsed,
    HubStarted: _hub_started,
    HubLost: _hub_lost,
    HubBack: _hub_back,
    Forked: _forked,
}
