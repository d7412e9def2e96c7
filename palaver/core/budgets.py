"""What has been used of a budget: messages, tokens, cost, time, by each participant and by all. It silences nobody."""

from typing import Any, Final

from palaver.core.message import key_of
from palaver.core.state import Record, RoomState


def charge(state: RoomState, record: Record, meta: dict[str, Any] | None) -> None:
    """Count what a message cost, as far as its author's client reported it."""
    tokens = cost = 0.0
    if meta:
        tokens = _number(meta.get("prompt_tokens")) + _number(meta.get("completion_tokens"))
        record.tokens += int(tokens)
        if "cost" in meta:
            cost = _number(meta["cost"])
            record.cost += cost
        if "spoke_for_other" in meta:
            record.cut += int(_number(meta["spoke_for_other"]))
    spent = state.spent
    if "messages" not in spent:
        spent.update(messages=0.0, tokens=0.0, cost=0.0)
    spent["messages"] += 1.0
    if tokens:
        spent["tokens"] += tokens
    if cost:
        spent["cost"] += cost


def _number(value: Any) -> float:
    return value if isinstance(value, _NUMBERS) and 0 <= value < _MOST else 0


_NUMBERS: Final = (int, float)  # `int | float` would be made anew at each look
_MOST: Final = 10**12


def share(spent: dict[str, float], budget: dict[str, float]) -> float:
    """How much of the limit that is nearest is used: 1.0 is all of it."""
    return max((spent[what] / limit if limit > 0 else 1.0 for what, limit in budget.items()), default=0.0)


def is_spent(state: RoomState, record: Record) -> bool:
    """Whether a limit of its own or of the room is used up."""
    if record.budget and share(spent_by(state, record), record.budget) >= 1:
        return True
    return bool(state.budget) and share(spent_by_room(state), state.budget) >= 1


def spent_by(state: RoomState, record: Record) -> dict[str, float]:
    """What one participant has used, under the names that a budget limits; `seconds` is time with the floor."""
    given = state.floor.grants.get(key_of(record.name))
    return {
        "messages": record.messages,
        "tokens": record.tokens,
        "cost": record.cost,
        "seconds": record.seconds + (state.now - given.since if given is not None else 0.0),
    }


def spent_by_room(state: RoomState) -> dict[str, float]:
    """What all have used together; `seconds` is the time since the room had its first budget."""
    return {
        "messages": state.spent.get("messages", 0.0),
        "tokens": state.spent.get("tokens", 0.0),
        "cost": state.spent.get("cost", 0.0),
        "seconds": state.now - state.spent.get("since", state.now),
    }
