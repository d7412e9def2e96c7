"""What a conversation came to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from palaver.core.message import Message

Status = Literal["completed", "failed"]


@dataclass(frozen=True, slots=True)
class EpisodeLog:
    """A conversation that is over, as `run_conversation` gives it back."""

    room: str
    scenario: str
    status: Status
    reasoning: str
    """Why it ended, and what the evaluators said: never empty."""
    turn_count: int
    """Turns that were finished."""
    messages: Sequence[Message]
    """All that was said, by people too; redacted ones without their text."""
    results: Mapping[str, Any]
    """By agent and dimension: `score` (None: `unscored` says why), `reasoning`, `evaluator`. JSON-able."""
    agents: Mapping[str, str | None]
    """The model of each agent, None for a person."""
    error: str | None = None
    """Why it failed."""
    unscored: int = 0
    """Judgements that gave no score."""
    statistics: Mapping[str, Any] = field(default_factory=dict)
    """Figures that need no model (`palaver.evaluation.statistics`)."""
