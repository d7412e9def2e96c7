"""What an evaluator is, and the form of what it gives back. Knows no models, no rooms and no config files."""

import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Final, Protocol

ENVIRONMENT: Final = "Environment"
"""Sender of what no agent did: the background, other people's words, and `Turn #3` where a turn begins."""
TURN: Final = "Turn #"


@dataclass(frozen=True, slots=True)
class Unscored:
    """In a score's place: there is none, and why. Never 0.0."""

    reason: str


Value = int | float | bool | Unscored
Entry = tuple[str, tuple[tuple[str, Value], str]]
"""`(agent, ((dimension, score), reasoning))`; the agent `environment` stands for the conversation as a whole."""
Said = Sequence[tuple[str, Any]]
"""`(sender, text)` of all that was done so far, oldest first; see `palaver.scenes.actions` for the texts."""


class EvaluatorSettings(Protocol):
    """What is read of an evaluator's config; `palaver.config.EvaluatorConfig` fits as well as ours."""

    @property
    def type(self) -> str: ...
    @property
    def enabled(self) -> bool: ...
    @property
    def model(self) -> str | None: ...
    @property
    def config(self) -> dict[str, Any]: ...


@dataclass(frozen=True, slots=True)
class EvaluatorConfig:
    """An evaluator: its type, the id of the model it judges with, and its own settings."""

    type: str
    enabled: bool = True
    model: str | None = None
    config: dict[str, Any] = field(default_factory=dict)


class EvaluatorPlugin(ABC):
    """Scores conversations. Subclass it, give `plugin_type` and `evaluate`, and register it (`PluginManager`)."""

    needs_model: ClassVar[bool] = False
    """Whether it is made with `model=`, the model that its config names."""
    every_turn: ClassVar[bool] = True
    """Whether `evaluate` is called after every turn. A terminal evaluator is called at the end in any case."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.config = config

    @property
    @abstractmethod
    def plugin_type(self) -> str:
        """The name of this type in configs."""

    @abstractmethod
    async def evaluate(self, turn_number: int, messages: list[tuple[str, Any]]) -> Sequence[Entry]:
        """Score what was done in the first `turn_number` turns.

        `("environment", (("terminated", True), why))` ends the conversation.
        """

    def get_terminal_evaluator(self) -> Any:
        """An object with such an `evaluate`, called once when the conversation is over; None where there is none."""
        return None

    @property
    def provenance(self) -> Mapping[str, str]:
        """What is kept with each of its scores, besides its type."""
        return {}


def checked(entries: Any) -> list[Entry]:
    """What an evaluator gave back, if it has the documented form; raises ValueError that says what does not fit."""
    if not isinstance(entries, list | tuple):
        raise ValueError(f"evaluate() gave {_shown(entries)}, not a list of (agent, ((dimension, score), reasoning))")
    return [_checked(entry) for entry in entries]


def _checked(entry: Any) -> Entry:
    try:
        agent, ((dimension, score), reasoning) = entry
    except (TypeError, ValueError):
        raise ValueError(f"{_shown(entry)} is not (agent, ((dimension, score), reasoning))") from None
    if not isinstance(agent, str) or not isinstance(dimension, str) or not isinstance(reasoning, str):
        raise ValueError(f"{_shown(entry)}: agent, dimension and reasoning must be texts")
    if not isinstance(score, Unscored) and not (isinstance(score, int | float) and abs(score) <= sys.float_info.max):
        raise ValueError(f"{_shown(entry)}: the score must be a finite number or a bool")
    f"{agent}{dimension}{reasoning}".encode()  # half a surrogate pair is in no report: UnicodeEncodeError says so
    return agent, ((dimension, score), reasoning)


def _shown(value: Any) -> str:
    return repr(value)[:120]
