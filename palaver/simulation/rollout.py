"""A rollout: the list of messages that two speakers left behind, and how it came about. Runs nothing."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, Self, get_args

from palaver.core.errors import PalaverError
from palaver.models.model import ChatMessage, Usage

Side = Literal["assistant", "user"]

TerminationReason = Literal[
    "user_stop",
    "assistant_stop",
    "max_turns",
    "timeout",
    "too_many_errors",
    "agent_error",
    "user_error",
    "context_window_exceeded",
    "budget",
    "stale",
    "moderator_stop",
]
"""Why a conversation ended: an end signal, the turns, the clock, failures, the token budget, the same words over and
over, or a person."""
REASONS: Final[tuple[str, ...]] = get_args(TerminationReason)
FAILURES: Final = frozenset({"too_many_errors", "agent_error", "user_error", "context_window_exceeded"})
"""Reasons that are somebody's failure."""


@dataclass(frozen=True, slots=True)
class UserTurn:
    """One turn of the simulated user."""

    text: str
    """What the assistant heard."""
    thought: str = ""
    current_answer: str = ""
    signal: str | None = None
    """The end signal that was cut out of it."""
    raw: str = ""
    """What the user's model wrote."""
    attempts: int = 1
    """2 where it was asked again because it had said nothing."""


class Rollout(list[ChatMessage]):
    """The whole conversation, prefix included, as a list of messages that also says how it ended."""

    def __init__(
        self, messages: Iterable[ChatMessage] = (), *, id: str = "", seed: int = 0, prefix_length: int = 0
    ) -> None:
        super().__init__(messages)
        self.id = id
        self.seed = seed
        """Every reply's own seed comes from this one."""
        self.prefix_length = prefix_length
        self.user_turns: list[UserTurn] = []
        self.termination_reason: TerminationReason | None = None
        """None while it goes on."""
        self.error: str | None = None
        self.usage: dict[Side, Usage] = {"assistant": Usage(), "user": Usage()}
        self.made_by: dict[str, Mapping[str, Any]] = {}
        """By side, what its last reply told of its model: backend, device, sampling."""
        self.trimmed_messages = 0
        """Messages that had to be left out of a prompt for length, at most."""
        self.seconds = 0.0

    @property
    def prefix(self) -> list[ChatMessage]:
        """What the conversation began with."""
        return self[: self.prefix_length]

    @property
    def new(self) -> list[ChatMessage]:
        """What was said after the prefix."""
        return self[self.prefix_length :]

    @property
    def terminated_by_user(self) -> bool:
        """Whether the user gave an end signal."""
        return self.termination_reason == "user_stop"

    @property
    def failed(self) -> bool:
        """Whether it ended by somebody's failure."""
        return self.termination_reason in FAILURES

    @property
    def tokens(self) -> int:
        """All tokens read and written, on both sides."""
        return sum(each.prompt_tokens + each.completion_tokens for each in self.usage.values())

    def add_usage(self, side: Side, usage: Usage) -> None:
        """Count a reply's cost."""
        self.usage[side] += usage

    def to_record(self) -> dict[str, Any]:
        """Everything as JSON-able values; `from_record` reads it."""
        return {
            "id": self.id,
            "messages": list(self),
            "prefix_length": self.prefix_length,
            "user_turns": [asdict(turn) for turn in self.user_turns],
            "termination_reason": self.termination_reason,
            "error": self.error,
            "seed": self.seed,
            "usage": {side: asdict(spent) for side, spent in self.usage.items()},
            "made_by": {side: dict(told) for side, told in self.made_by.items()},
            "trimmed_messages": self.trimmed_messages,
            "seconds": round(self.seconds, 3),
        }

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Self:
        """The rollout of a record; raises LookupError, TypeError or ValueError where it is none."""
        if record["termination_reason"] not in (*REASONS, None):
            raise ValueError(f"termination_reason {record['termination_reason']!r} is unknown")
        rollout = cls(record["messages"], id=record["id"], seed=record["seed"], prefix_length=record["prefix_length"])
        rollout.user_turns = [UserTurn(**turn) for turn in record["user_turns"]]
        rollout.termination_reason = record["termination_reason"]
        rollout.error = record["error"]
        rollout.usage.update({side: Usage(**spent) for side, spent in record["usage"].items()})
        rollout.made_by = dict(record.get("made_by", {}))
        rollout.trimmed_messages = record.get("trimmed_messages", 0)
        rollout.seconds = record.get("seconds", 0.0)
        return rollout


class RolloutError(PalaverError):
    """A conversation that broke off; `rollout` holds it as far as it went, and the reason."""

    def __init__(self, rollout: Rollout) -> None:
        super().__init__(
            f"the conversation broke off after {len(rollout.new)} new messages "
            f"({rollout.termination_reason}): {rollout.error}"
        )
        self.rollout = rollout
