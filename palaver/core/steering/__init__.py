"""What the moderator's commands do: each is idempotent and answers with what changed."""

from typing import Final

from palaver.core import alarm, notices
from palaver.core.commands import parse
from palaver.core.effects import Announce, Effect, Reply
from palaver.core.entry import Entry
from palaver.core.errors import CommandError
from palaver.core.message import timestamp
from palaver.core.protocol import Ack, Command
from palaver.core.speaking import settle
from palaver.core.state import RoomState
from palaver.core.steering import content, limits, questions, steer
from palaver.core.steering.turn import Turn

RULES = {**steer.RULES, **limits.RULES, **content.RULES, **questions.RULES}

_WAKES: Final = frozenset({"resume", "step", "floor", "grant", "retry", "sys", "sendas", "w", "ok"})
"""Commands after which somebody would speak: not where the conversation has ended."""


def carry_out(state: RoomState, entry: Entry, frame: Command, out: list[Effect]) -> bool:
    """Do what a moderator asks and acknowledge it, or refuse with the reason and say so; nothing is done by halves."""
    try:
        parsed = parse(frame.text, names(state))
        rule = RULES.get(parsed.spec.verb)
        if rule is None:
            raise CommandError(f"/{parsed.spec.verb} is for the console, not for the hub")
        if state.ended and parsed.spec.verb in _WAKES:
            raise CommandError(f"the conversation has ended: /{parsed.spec.verb} cannot be done any more")
        alarm.catch_up(state)
        outcome = rule(Turn(state, entry, parsed, out))
    except CommandError as error:
        out.append(Reply(entry.session, notices.nack(state, frame.id, "bad_command", str(error))))
        return False
    if outcome.changed and not outcome.silent:
        told = notices.event(state, "command", actor=entry.name, text=outcome.text, changed=outcome.changed)
        out.append(Announce(told, moderators=outcome.private))
    acknowledged = Ack(
        room=state.name, timestamp=timestamp(state.now), id=frame.id, text=outcome.text, changed=outcome.changed
    )
    out.append(Reply(entry.session, acknowledged))
    settle(state, out)
    return True


def names(state: RoomState) -> list[str]:
    """Every name that a command may speak of: who is here and who was."""
    return list(
        dict.fromkeys(
            [member.name for member in state.members.values()] + [record.name for record in state.records.values()]
        )
    )
