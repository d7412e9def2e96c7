"""What a simulated user's seat has heard and said in a room, as a rollout to be kept beside others."""

import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from palaver.core.message import Message, same_name
from palaver.models.model import Usage
from palaver.simulation.in_room import UserInRoom
from palaver.simulation.rollout import Rollout, Side, TerminationReason


def rollout_of(
    messages: Sequence[Message], name: str, user: UserInRoom, *, max_turns: int = 0, seed: int | None = None
) -> Rollout:
    """The conversation as a rollout: simulated users' words are the user's, everybody else's the assistant's.

    What was said before `name`'s first word is the prefix. It ended by an end signal, by its turns, by the user's
    failure, or because somebody stopped it.
    """
    own = [same_name(message.sender, name) for message in messages]
    rollout = Rollout(
        ({"role": _side(each), "content": each.content} for each in messages),
        id=secrets.token_hex(8),
        seed=seed or 0,
        prefix_length=own.index(True) if True in own else len(own),
    )
    rollout.user_turns = list(user.turns)
    rollout.termination_reason = _reason(user, sum(own), max_turns)
    rollout.error = user.error
    for message in messages:
        _count(rollout, _side(message), message.sender, message.meta or {})
    return rollout


def _side(message: Message) -> Side:
    return "user" if message.role == "user_sim" else "assistant"


def _reason(user: UserInRoom, said: int, max_turns: int) -> TerminationReason:
    if user.error is not None:
        return "user_error"
    if any(turn.signal is not None for turn in user.turns):
        return "user_stop"
    return "max_turns" if max_turns and said >= max_turns else "moderator_stop"


def _count(rollout: Rollout, side: Side, sender: str, meta: Mapping[str, Any]) -> None:
    known = {field: meta[field] for field in Usage.__dataclass_fields__ if isinstance(meta.get(field), int | float)}
    rollout.add_usage(side, Usage(**known))
    told = {key: meta[key] for key in ("model", "backend", "revision", "dtype", "temperature") if key in meta}
    if told:
        rollout.made_by[sender] = told
