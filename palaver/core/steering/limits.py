"""Commands on limits: slow mode, hops, leases, approval, budgets."""

from collections.abc import Callable
from typing import Any

from palaver.core import budgets, floor
from palaver.core.commands import pairs_text
from palaver.core.effects import FLOOR_CHANGED
from palaver.core.errors import CommandError
from palaver.core.steering.turn import Outcome, Turn, agent, like


def _slow(turn: Turn) -> Outcome:
    word = turn.parsed.values["seconds"]
    seconds = 0.0 if word == "off" else like("slow", word, 1.0)
    before = turn.state.floor.slow
    floor.pace(turn.state, turn.out, seconds)
    text = f"slow mode: {seconds:g} s" if seconds else "slow mode off"
    return Outcome(text, {"slow": [before, seconds]} if before != seconds else None)


def _hops(turn: Turn) -> Outcome:
    outcome = _number(turn, "hop_limit", 0)
    floor.enforce_hop_limit(turn.state, turn.out)
    return outcome


def _lease(turn: Turn) -> Outcome:
    return _number(turn, "lease", 1)


def _number(turn: Turn, field: str, least: int) -> Outcome:
    before = getattr(turn.state.floor, field)
    value = like(field, turn.parsed.values["number"], before)
    if not least <= value <= 1e6:
        raise CommandError(f"{field} must be {least} to 1000000, not {value:g}")
    setattr(turn.state.floor, field, value)
    turn.out.append(FLOOR_CHANGED)
    return Outcome(f"{field} is {value:g}", {field: [before, value]} if before != value else None)


def _approve(turn: Turn) -> Outcome:
    on = turn.parsed.values["toggle"] == "on"
    before, turn.state.floor.approval = turn.state.floor.approval, on
    turn.out.append(FLOOR_CHANGED)
    return Outcome(f"approval {'on' if on else 'off'}", {"approval": [before, on]} if before != on else None)


def _budget(turn: Turn) -> Outcome:
    state, name = turn.state, turn.parsed.values["name"]
    pairs = turn.parsed.values.get("pairs")
    whole_room = name == "all"
    record = None if whole_room else agent(turn, name)[1]
    before = state.budget if record is None else record.budget
    if pairs is None:
        spent = budgets.spent_by_room(state) if record is None else budgets.spent_by(state, record)
        used = ", ".join(f"{what} {amount:g}" for what, amount in spent.items())
        return Outcome(f"{name}: budget {_told(before)}, used {used}")
    limits = _limits(before, pairs)
    if limits == before:
        return Outcome(f"{name}: budget is {_told(limits)} already")
    if record is None:
        state.budget, state.warned = limits, 0.0
        state.spent.setdefault("since", state.now)
    else:
        record.budget, record.warned = limits, 0.0
        state.rationed = True
    return Outcome(f"{name}: budget {_told(limits)}", {f"budget {name}": [before, limits]})


def _told(limits: dict[str, float]) -> str:
    return pairs_text(limits) or "none"


def _limits(before: dict[str, float], pairs: dict[str, Any]) -> dict[str, float]:
    """The limits as `pairs` change them; `off` takes one away."""
    limits = dict(before)
    for what, limit in pairs.items():
        if what not in ("messages", "tokens", "cost", "seconds"):
            raise CommandError(f"budget {what!r} is unknown; known: messages, tokens, cost, seconds")
        if limit is False:
            limits.pop(what, None)
        else:
            limits[what] = like(what, limit, 1.0)
    return limits


RULES: dict[str, Callable[[Turn], Outcome]] = {
    "slow": _slow,
    "hops": _hops,
    "lease": _lease,
    "approve": _approve,
    "budget": _budget,
}
