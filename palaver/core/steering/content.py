"""Commands on the conversation itself: approval, redaction, topic, pins, notes, settings, scores."""

from collections.abc import Callable
from typing import Any

from palaver.core import alarm, floor, notices, speaking
from palaver.core.commands import pairs_text
from palaver.core.effects import FLOOR_CHANGED, Announce, Reply, Rewrite
from palaver.core.errors import CommandError
from palaver.core.message import AGENTS, Message, key_of
from palaver.core.state import Held, Record
from palaver.core.steering.turn import Outcome, Turn, able, agent, like


def _words(turn: Turn, name: str, role: str, content: str, meta: dict[str, Any] | None = None) -> Held:
    command_id = getattr(turn.entry.frame, "id", "")
    return Held(
        session=turn.entry.session,
        name=name,
        role=role,  # type: ignore[arg-type]  # callers pass a Role
        time=turn.entry.time,
        id="",
        content=content,
        meta={"by": turn.entry.name, "command": command_id, **(meta or {})},
    )


def _publish(turn: Turn, words: Held) -> Message:
    """Publish words that waited, or that a moderator says for others, and let the floor go on."""
    message = speaking.publish(turn.state, words, words, words.turn, turn.out)
    speaking.settle(turn.state, turn.out)
    return message


# --- speaking for the room -----------------------------------------------------------------------------------------


def _sys(turn: Turn) -> Outcome:
    words = _words(turn, "system", "moderator", turn.parsed.values["text"])
    message = _publish(turn, words)
    return Outcome(f"said as the system: message {message.seq}")


def _sendas(turn: Turn) -> Outcome:
    name = turn.parsed.values["name"]
    record = turn.state.records.get(key_of(name))
    role = record.role if record else "moderator"
    words = _words(turn, name, role, turn.parsed.values["text"], {"sent_as": True})
    message = _publish(turn, words)
    return Outcome(f"said in {name}'s name: message {message.seq}", {"sent as": [turn.entry.name, name]})


def _whisper(turn: Turn) -> Outcome:
    name = turn.parsed.values["name"]
    if key_of(name) not in turn.state.members:
        raise CommandError(f"{name} is not here")
    words = Held(
        session=turn.entry.session,
        name=turn.entry.name,
        role=turn.entry.role,
        time=turn.entry.time,
        id="",
        content=turn.parsed.values["text"],
        to=name,
    )
    message = _publish(turn, words)
    return Outcome(f"whispered to {name}: message {message.seq}")


# --- held messages -------------------------------------------------------------------------------------------------


def _tickets(turn: Turn) -> list[str]:
    word = turn.parsed.values["ticket"].lstrip("#")
    if word == "all":
        return list(turn.state.held)
    if word not in turn.state.held:
        listed = ", ".join(turn.state.held) or "none"
        raise CommandError(f"no message is held as {word!r}; held: {listed}")
    return [word]


def _ok(turn: Turn) -> Outcome:
    tickets = _tickets(turn)
    if turn.parsed.values["ticket"] == "all":
        tickets = [ticket for ticket in tickets if not _is_muted(turn, turn.state.held[ticket].name)]
    for ticket in tickets:
        if turn.state.floor.steps is not None:  # it counted when it was held
            turn.state.floor.steps += 1
        _publish(turn, turn.state.held.pop(ticket))
    turn.out.append(FLOOR_CHANGED)
    return Outcome(f"let through: {', '.join(tickets) or 'none'}", {"held": [tickets, []]} if tickets else None)


def _is_muted(turn: Turn, name: str) -> bool:
    record = turn.state.records.get(key_of(name))
    return record is not None and record.is_muted(turn.state.now)


def _drop(turn: Turn) -> Outcome:
    tickets = _tickets(turn)
    for ticket in tickets:
        words = turn.state.held.pop(ticket)
        refusal = notices.nack(turn.state, words.id, "dropped", "the moderator did not let it through")
        turn.out.append(Reply(words.session, refusal))
    turn.out.append(FLOOR_CHANGED)
    return Outcome(f"dropped: {', '.join(tickets) or 'none'}", {"held": [tickets, []]} if tickets else None)


# --- taking back ---------------------------------------------------------------------------------------------------


def at_hand(turn: Turn, seq: int) -> Message:
    """The message under `seq`; raises `CommandError` where the room does not hold it any more."""
    for message in turn.state.history:
        if message.seq == seq:
            return message
    first = turn.state.history[0].seq if turn.state.history else 0
    raise CommandError(f"message {seq} is not at hand; the room holds {first} to {turn.state.seq}")


def redact(turn: Turn, message: Message, reason: str) -> list[int]:
    """Take a message's text out everywhere; the `seq` of later agent messages that may have seen it come back."""
    state = turn.state
    place = state.history.index(message)
    empty = Message(
        room=message.room,
        seq=message.seq,
        id=message.id,
        sender=message.sender,
        role=message.role,
        to=message.to,
        content="",
        timestamp=message.timestamp,
        reply_to=message.reply_to,
        turn=message.turn,
        redacted=reason or "redacted",
    )
    state.history[place] = empty
    seen_by = [later.seq for later in state.history[place + 1 :] if _saw(later, message)]
    turn.out.append(Rewrite(empty))
    text = f"message {message.seq} of {message.sender} was redacted" + (f": {reason}" if reason else "")
    if seen_by:
        text += f"; it may have been seen by messages {', '.join(map(str, seen_by))}"
    told = notices.event(
        state, "redaction", actor=turn.entry.name, text=text, seq=message.seq, seen_by=seen_by, reason=reason
    )
    turn.out.append(Announce(told))
    return seen_by


def _saw(later: Message, message: Message) -> bool:
    if later.role not in AGENTS or later.redacted is not None or not message.is_for(later.sender, later.role):
        return False
    meta = later.meta or {}
    first, last = meta.get("saw_from"), meta.get("saw_to")
    if isinstance(first, int) and isinstance(last, int):
        return first <= message.seq <= last
    return True


def _redact(turn: Turn) -> Outcome:
    message = at_hand(turn, turn.parsed.values["seq"])
    if message.redacted is not None:
        return Outcome(f"message {message.seq} is redacted already")
    seen_by = redact(turn, message, turn.parsed.values.get("reason", ""))
    return Outcome(f"message {message.seq} redacted", {"redacted": [None, message.seq], "seen_by": seen_by})


def _undo(turn: Turn) -> Outcome:
    count = int(turn.parsed.values.get("number", 1))
    chat = [message for message in turn.state.history if message.redacted is None][-count:] if count > 0 else []
    if not chat:
        return Outcome("nothing to undo")
    for message in reversed(chat):
        redact(turn, message, "undone")
    listed = [message.seq for message in chat]
    return Outcome(f"undone: {', '.join(map(str, listed))}", {"undone": [None, listed]})


def _retry(turn: Turn) -> Outcome:
    state, name = turn.state, turn.parsed.values["name"]
    key, _ = able(turn, name)
    own = [message for message in state.history if key_of(message.sender) == key and message.redacted is None]
    if not own:
        raise CommandError(f"{name} has said nothing here that could be tried again")
    redact(turn, own[-1], "tried again")
    floor.hand_over(state, turn.out, key, f"retry: asked for by {turn.entry.name}")
    return Outcome(f"{name} tries again", {"retried": [None, own[-1].seq]})


# --- topic, pins, notes --------------------------------------------------------------------------------------------


def _topic(turn: Turn) -> Outcome:
    text = turn.parsed.values.get("text")
    before = turn.state.topic
    if text is None or text == before:
        return Outcome(f"topic: {before}" if before else "no topic is set")
    turn.state.topic = text
    turn.out.append(Announce(notices.event(turn.state, "topic", actor=turn.entry.name, text=text)))
    turn.out.append(FLOOR_CHANGED)
    return Outcome(f"topic: {text}", {"topic": [before, text]})


def _pin(turn: Turn) -> Outcome:
    message = at_hand(turn, turn.parsed.values["seq"])
    return _set_pins(turn, [*[pin for pin in turn.state.pins if pin != message.seq], message.seq][-50:])


def _unpin(turn: Turn) -> Outcome:
    seq = turn.parsed.values.get("seq")
    return _set_pins(turn, [pin for pin in turn.state.pins if seq is not None and pin != seq])


def _set_pins(turn: Turn, pins: list[int]) -> Outcome:
    before, turn.state.pins = turn.state.pins, pins
    text = f"pinned: {', '.join(map(str, pins)) or 'nothing'}"
    if before == pins:
        return Outcome(text)
    turn.out.append(Announce(notices.event(turn.state, "pin", actor=turn.entry.name, text=text, pins=pins)))
    return Outcome(text, {"pins": [before, pins]})


def _mark(turn: Turn) -> Outcome:
    text = turn.parsed.values["text"]
    turn.out.append(Announce(notices.event(turn.state, "mark", actor=turn.entry.name, text=text, seq=turn.state.seq)))
    return Outcome(f"marked after message {turn.state.seq}: {text}")


def _score(turn: Turn) -> Outcome:
    values = turn.parsed.values
    _, record = agent(turn, values["name"])
    before = record.scores.get(values["dimension"])
    if before == values["number"]:
        return Outcome(f"{record.name}: {values['dimension']} is {before:g} already")
    record.scores[values["dimension"]] = values["number"]
    text = f"{record.name}: {values['dimension']} {values['number']:g}"
    told = notices.event(
        turn.state,
        "score",
        actor=turn.entry.name,
        text=text,
        name=record.name,
        dimension=values["dimension"],
        value=values["number"],
    )
    turn.out.append(Announce(told, moderators=True))
    return Outcome(text, {f"score {record.name} {values['dimension']}": [before, values["number"]]})


def _end(turn: Turn) -> Outcome:
    state = turn.state
    if state.ended:
        return Outcome("the conversation has ended already")
    floor.pause(state, turn.out, "the conversation has ended")
    state.ended = True
    text = turn.parsed.values.get("text", "the moderator has ended the conversation")
    turn.out.append(Announce(notices.event(state, "ended", actor=turn.entry.name, text=text)))
    turn.out.append(FLOOR_CHANGED)
    return Outcome(text, {"ended": [False, True]})


# --- settings and questions ----------------------------------------------------------------------------------------

SETTINGS: dict[str, Any] = {
    "temperature": 0.7,
    "model": "",
    "persona": "",
    "delay": 1.0,
    "history": 5,
    "max_tokens": 100,
}
"""What `/set` can change of a participant, with an example of the right type."""


def _set(turn: Turn) -> Outcome:
    name = turn.parsed.values["name"]
    agents = turn.state.agents() if name == "room" else []
    records = [record for _, _, record in agents] or [agent(turn, name)[1]]
    wanted = {}
    for what, value in turn.parsed.values["pairs"].items():
        if what not in SETTINGS:
            raise CommandError(f"setting {what!r} is unknown; known: {', '.join(SETTINGS)}")
        wanted[what] = like(what, value, SETTINGS[what])
    changed: dict[str, Any] = {}
    for record in records:
        changed |= _settle_on(turn, record, wanted)
    text = ", ".join(f"{what} {short(after)} (before: {short(before)})" for what, (before, after) in changed.items())
    return Outcome(f"from the next turn: {text}" if text else "set so already", changed or None, private=True)


def short(value: Any) -> Any:
    """A setting as one line shows it: of a personality its beginning."""
    if value is None:
        return "as started"
    return value if not isinstance(value, str) or len(value) <= 40 else f"{' '.join(value[:40].split())}…"


def _settle_on(turn: Turn, record: Record, wanted: dict[str, Any]) -> dict[str, Any]:
    """Change one participant's settings and tell its client, and nobody else who is no moderator; says what changed."""
    before = record.started | record.settings
    changed = {
        f"{record.name} {what}": [before.get(what), value]
        for what, value in wanted.items()
        if before.get(what) != value
    }
    if changed:
        record.settings = record.settings | wanted
        told = notices.settings_event(turn.state, record.name, record.settings, turn.entry.name)
        turn.out.append(Announce(told, moderators=True))
        if (member := turn.state.members.get(key_of(record.name))) is not None:
            turn.out.append(Reply(member.session, told))
    return changed


def _alarm(turn: Turn) -> Outcome:
    state = turn.state
    before = {**alarm.DEFAULTS, **state.alarm}
    wanted = {}
    for name, value in turn.parsed.values.get("pairs", {}).items():
        if name not in alarm.DEFAULTS:
            raise CommandError(f"alarm setting {name!r} is unknown; known: {', '.join(alarm.DEFAULTS)}")
        wanted[name] = like(name, value, alarm.DEFAULTS[name])
        if name in ("window", "ping_pong") and not 2 <= wanted[name] <= 100:
            raise CommandError(f"{name} must be 2 to 100 messages, not {wanted[name]}")
    state.alarm.update(wanted)
    after = {**alarm.DEFAULTS, **state.alarm}
    return Outcome(f"alarm: {pairs_text(after)}", {"alarm": [before, after]} if before != after else None)


RULES: dict[str, Callable[[Turn], Outcome]] = {
    "sys": _sys,
    "sendas": _sendas,
    "w": _whisper,
    "ok": _ok,
    "drop": _drop,
    "redact": _redact,
    "undo": _undo,
    "retry": _retry,
    "topic": _topic,
    "pin": _pin,
    "unpin": _unpin,
    "mark": _mark,
    "score": _score,
    "end": _end,
    "set": _set,
    "alarm": _alarm,
}
