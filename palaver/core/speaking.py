"""How words get into a room: their place in the order, what they count for, and what happens next."""

from itertools import islice
from typing import Final

from palaver.core import alarm, budgets, floor, notices
from palaver.core.effects import Acknowledge, Announce, Effect, Publish
from palaver.core.entry import Entry
from palaver.core.mentions import mentioned
from palaver.core.message import AGENTS, Message, key_of, timestamp
from palaver.core.protocol import Say
from palaver.core.state import Grant, Held, Record, RoomState

KEPT_IDS: Final = 4096
BLOCK: Final = 64
"""History is cut in blocks of so many messages: one `del` for many."""


def publish(state: RoomState, who: Entry | Held, words: Say | Held, turn: int | None, out: list[Effect]) -> Message:
    """Give these words the next `seq` and count them; then the floor can go on (`settle`)."""
    state.seq = seq = state.seq + 1
    message = Message(
        room=state.name,
        seq=seq,
        id=words.id or f"{state.name}-{seq}",
        sender=who.name,
        role=who.role,
        to=words.to,
        content=words.content,
        timestamp=timestamp(state.now),
        reply_to=words.reply_to,
        turn=turn,
        meta=words.meta,
    )
    history = state.history
    if len(history) >= state.history_limit + BLOCK:
        shorten(state)
    history.append(message)
    is_agent = who.role in AGENTS
    if is_agent and (record := state.records.get(key_of(who.name))) is not None:
        record.spoke = seq
        record.messages += 1
        if state.floor.slow:
            record.slow_until = state.now + state.floor.slow
        budgets.charge(state, record, words.meta)
    if words.id:
        mark(state, who.session, words.id, seq)
        out.append(Publish(message, who.session))
    else:
        out.append(Publish(message))
    if is_agent:
        floor.spoken(state, out, message)
        alarm.listen(state, out, message)
    else:
        floor.begin_anew(state)
    return message


def shorten(state: RoomState) -> None:
    """Forget the oldest messages where one more would be too many, a block at a time."""
    history = state.history
    if len(history) >= state.history_limit + BLOCK:
        alarm.catch_up(state)
        del history[: len(history) + 1 - state.history_limit]


def remember(state: RoomState, session: str, ident: str, seq: int, out: list[Effect]) -> None:
    """Acknowledge words that carry an id, and know them again if they are sent twice."""
    if ident:
        mark(state, session, ident, seq)
        out.append(Acknowledge(session, ident, seq))


def mark(state: RoomState, session: str, ident: str, seq: int) -> None:
    """Note that a session's frame has been taken; at least the last 4,096 are known."""
    seen = state.seen
    seen[f"{session}/{ident}"] = seq
    if len(seen) > 2 * KEPT_IDS:
        for old in list(islice(seen, KEPT_IDS)):
            del seen[old]


def seal(state: RoomState, words: Held, out: list[Effect]) -> None:
    """Keep words back until everybody who has the floor has spoken; acknowledged at once, without a `seq`."""
    state.floor.sealed.append(words)
    remember(state, words.session, words.id, 0, out)


def hold(state: RoomState, words: Held, out: list[Effect]) -> None:
    """Keep words back until a moderator lets them through; acknowledged at once, without a `seq`."""
    state.held_count += 1
    ticket = str(state.held_count)
    state.held[ticket] = words
    text = f"held for approval as {ticket}: /ok {ticket} lets it through, /drop {ticket} does not"
    held = notices.event(state, "held", actor=words.name, text=text, id=ticket, content=words.content)
    out.append(Announce(held, moderators=True))
    remember(state, words.session, words.id, 0, out)
    floor.step(state, out)


def settle(state: RoomState, out: list[Effect]) -> None:
    """After any change: publish what was sealed if all have spoken, enforce budgets, let the policy decide."""
    while state.floor.sealed and not state.floor.grants and not state.floor.paused:
        words = state.floor.sealed.pop(0)
        publish(state, words, words, words.turn, out)
    if state.records:
        enforce_budgets(state, out)
        floor.decide(state, out)


def selected(state: RoomState, given: Grant, answer: str) -> None:
    """A selector has named the next speaker, or nobody that can be used."""
    memory = state.floor.memory
    named = mentioned(answer, {key_of(name): name for name in given.choices})
    if named:
        memory["chosen"] = named[0]
    else:
        memory["failed"] = int(memory.get("failed", 0)) + 1


# --- budgets ---------------------------------------------------------------------------------------------------------


def enforce_budgets(state: RoomState, out: list[Effect]) -> None:
    """Warn at 80 % of a limit, silence at 100 %: the grant is revoked under a new epoch."""
    if state.budget:
        used = budgets.share(budgets.spent_by_room(state), state.budget)
        state.warned = _warn(state, out, "the room", used, state.warned)
        if used >= 1 and floor.pause(state, out, "budget spent"):
            text = "the room's budget is spent: paused; /budget all sets a new one"
            out.append(Announce(notices.notice(state, text, level="warning", code="budget")))
    for record in state.records.values() if state.rationed else ():
        if record.budget:
            _enforce_own_budget(state, record, out)


def _enforce_own_budget(state: RoomState, record: Record, out: list[Effect]) -> None:
    key = key_of(record.name)
    if key not in state.members or state.members[key].role not in AGENTS:
        return
    used = budgets.share(budgets.spent_by(state, record), record.budget)
    record.warned = _warn(state, out, record.name, used, record.warned)
    if used >= 1 and key in state.floor.grants:
        floor.bump(state)
        floor.revoke(state, out, key, "budget spent")


def _warn(state: RoomState, out: list[Effect], whose: str, used: float, warned: float) -> float:
    """Tell everybody, once at each step; the step comes back."""
    reached = 1.0 if used >= 1 else 0.8 if used >= 0.8 else 0.0
    if reached > warned:
        text = f"{whose} has used {used:.0%} of the budget"
        out.append(Announce(notices.event(state, "budget", actor=whose, text=text, used=round(used, 3))))
    return reached
