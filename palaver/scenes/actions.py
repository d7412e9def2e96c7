"""What an agent of a scene does in its turn: five types, as words in the room and as text for evaluators."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, cast, get_args

from palaver.core.errors import PalaverError
from palaver.evaluation.rule_based import LEFT, NOTHING
from palaver.simulation.json_text import objects

ActionType = Literal["none", "speak", "non-verbal communication", "action", "leave"]
TYPES: Final[tuple[ActionType, ...]] = get_args(ActionType)

_BRACKETED: Final = re.compile(r"\[(action|non-verbal communication)\]\s*:?\s*(.*)", re.DOTALL | re.IGNORECASE)
_SAID: Final = re.compile(r"said:\s*(.*)", re.DOTALL | re.IGNORECASE)


class UnreadableAction(PalaverError):
    """A model's answer that is meant as an action and is none that can be done here."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing done. `argument` is what is said or done, empty for `none` and `leave`."""

    type: ActionType
    argument: str = ""

    @property
    def words(self) -> str:
        """As the room hears it: what is said as it stands, all else as its text."""
        return self.argument if self.type == "speak" else self.text

    @property
    def text(self) -> str:
        """As evaluators read it, e.g. `said: "Hello."`, `[action] opens the door`, `left the conversation`."""
        match self.type:
            case "none":
                return NOTHING
            case "leave":
                return LEFT
            case "speak":
                return f'said: "{self.argument}"'
        return f"[{self.type}] {self.argument}"


def read(words: str, allowed: Sequence[ActionType] = TYPES) -> Action:
    """The action in what a model or a person wrote: one of the texts, Sotopia's JSON, or else speech.

    Raises `UnreadableAction` for JSON that cannot be used, and for a type that is not among `allowed`. Doing nothing
    always is.
    """
    action = _read(words.strip())
    if action.type not in allowed and action.type != "none":
        raise UnreadableAction(f"{action.type!r} cannot be done here; possible: {', '.join(allowed)}")
    return action


def _read(words: str) -> Action:
    plain = words.strip("`*\"'. ").casefold()
    if plain in ("", NOTHING, "/pass", "[pass]"):
        return Action("none")
    if plain == LEFT:
        return Action("leave")
    if bracketed := _BRACKETED.fullmatch(words):
        kind, argument = cast(ActionType, bracketed[1].lower()), bracketed[2].strip()
        return Action(kind, argument) if argument else Action("none")
    if said := _SAID.fullmatch(words):
        return _speech(said[1].strip())
    if '"action_type"' in words:
        for fields in objects(words):
            return _from_json(fields)
        raise UnreadableAction("the JSON object is broken")
    return Action("speak", words)


def _from_json(fields: dict[str, Any]) -> Action:
    named, argument = str(fields.get("action_type", "")).strip().lower(), str(fields.get("argument") or "").strip()
    kind = next((known for known in TYPES if known == named), None)
    if kind is None:
        raise UnreadableAction(f"action_type {named!r} is unknown; known: {', '.join(TYPES)}")
    if kind in ("none", "leave"):
        return Action(kind)
    return Action(kind, argument) if argument else Action("none")


def _speech(text: str) -> Action:
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].strip()
    return Action("speak", text) if text else Action("none")
