"""What a client gives back for a prompt, and what it has used so far."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from palaver.models.model import StopReason, Usage


@dataclass(frozen=True, slots=True)
class APIResponse:
    """What came back for one prompt; an error is one too, with `completion` None and the reason."""

    completion: str | None
    """The text, None where there is none."""
    is_error: bool
    error_message: str | None
    model_used: str
    usage: Usage = field(default_factory=Usage)
    cost: float | None = 0.0
    """US dollars; None where the model's price is not known. A cached reply costs nothing."""
    cached: bool = False
    attempts: int = 1
    status_code: int | None = None
    """HTTP's, of a failure; None where none came."""
    stop_reason: StopReason = "end"
    tool_calls: Sequence[Mapping[str, Any]] = ()
    logprobs: Any = None
    seconds: float = 0.0
    """From being sent to being whole, waits and attempts included."""
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def tokens_used(self) -> int:
        """Prompt and completion together."""
        return self.usage.prompt_tokens + self.usage.completion_tokens


@dataclass(slots=True)
class Totals:
    """What a client has used since it was made."""

    requests: int = 0
    """Prompts answered, errors and cached ones among them."""
    errors: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost: float = 0.0
    """US dollars, of the models whose price is known."""

    def add(self, response: APIResponse) -> None:
        """Count one more."""
        self.requests += 1
        self.errors += response.is_error
        self.cached += response.cached
        if not response.cached:
            self.prompt_tokens += response.usage.prompt_tokens
            self.completion_tokens += response.usage.completion_tokens
            self.cost += response.cost or 0.0
