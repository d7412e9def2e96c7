"""One command being carried out, and what came of it."""

import contextlib
from dataclasses import dataclass
from typing import Any, Final

from palaver.core import budgets, floor
from palaver.core.commands import Parsed
from palaver.core.effects import Effect
from palaver.core.entry import Entry
from palaver.core.errors import CommandError
from palaver.core.message import AGENTS, key_of
from palaver.core.state import Record, RoomState


@dataclass(frozen=True, slots=True)
class Turn:
    """A command being carried out: on what, by whom, with which values."""

    state: RoomState
    entry: Entry
    parsed: Parsed
    out: list[Effect]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a command did: a line for people and `{what: [before, after]}`, `None` where nothing changed."""

    text: str
    changed: dict[str, Any] | None = None
    private: bool = False
    """Whether only moderators are told what changed."""
    silent: bool = False
    """Whether nobody is: a program steps turn by turn, and that would be half of what people read."""


def agent(turn: Turn, name: str) -> tuple[str, Record]:
    """Key and record of a model or user simulator; raises `CommandError` for people."""
    key = key_of(name)
    record = turn.state.records.get(key)
    member = turn.state.members.get(key)
    if record is None or (member is not None and member.role not in AGENTS):
        raise CommandError(f"{name} is no model or user simulator: people always have the floor")
    return key, record


def able(turn: Turn, name: str) -> tuple[str, Record]:
    """Key and record of an agent that can be given the floor now; raises `CommandError` that says what is in the way.

    Slow mode is not: it paces what goes by itself.
    """
    state = turn.state
    key, record = agent(turn, name)
    if state.floor.paused:
        raise CommandError("the room is paused; /resume or /step first")
    if key not in state.members:
        raise CommandError(f"{record.name} is not here")
    if not state.members[key].ready:
        raise CommandError(f"{record.name} is still loading")
    if record.is_muted(state.now):
        raise CommandError(f"{record.name} is muted; /unmute first")
    if budgets.is_spent(state, record):
        raise CommandError(f"{record.name} has spent its budget; /budget sets a new one")
    if floor.left_when_free(state) <= 0:
        raise CommandError("the hop limit is reached, or all that waits for approval; /resume, /ok or /drop first")
    return key, record


MOST: Final = 1_000_000_000
"""No number that a command sets is above this: sums and snapshots stay exact."""


def like(name: str, value: Any, example: Any) -> Any:
    """`value` as the type of `example`, numbers within 0 to `MOST`; raises `CommandError` that names it."""
    wanted = type(example)
    if wanted in (int, float) and isinstance(value, str):
        with contextlib.suppress(ValueError):
            value = float(value)
    if wanted in (int, float) and isinstance(value, int | float) and not isinstance(value, bool):
        if not 0 <= value <= MOST or wanted(value) != value:
            raise CommandError(f"{name}={value} must be a {_NUMBERS[wanted]} of 0 to {MOST}")
        return wanted(value)
    if wanted is str and isinstance(value, str | int | float) and not isinstance(value, bool):
        return str(value)
    if wanted is list and isinstance(value, str):  # quotes within [] do not outlive the line's own quoting
        return [part.strip() for part in value.split(",") if part.strip()]
    if type(value) is wanted:
        return value
    raise CommandError(f"{name}={value!r} must be {_KINDS[wanted]}")


_NUMBERS: Final = {int: "whole number", float: "number"}
_KINDS: Final = {bool: "on or off", int: "a whole number", float: "a number", str: "a text", list: "a list"}
