"""One reply that somebody wants, as the engine's thread sees it, and what came of it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from palaver.models.engine.sampling import Sampling
from palaver.models.model import Cancel, StopReason, Usage


@dataclass(slots=True)
class Outcome:
    """What came of a request."""

    text: str
    stop_reason: StopReason
    usage: Usage
    error: str | None = None
    largest_batch: int = 1
    """The most replies that were decoded together with this one, itself counted."""
    stopped_by: str | None = None
    tokens: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Request:
    """Tokens to continue and how. `on_text` and `on_done` are called in the engine's thread and must not wait."""

    tokens: list[int]
    max_tokens: int
    on_done: Callable[[Outcome], None]
    on_text: Callable[[str], None] | None = None
    sampling: Sampling = field(default_factory=Sampling)
    stop: tuple[str, ...] = ()
    cancel: Cancel = field(default_factory=Cancel)
    cache_key: str = ""
    adapter: str = ""
    deadline: float | None = None
    """`time.monotonic()` after which the reply ends with what it has."""
    submitted: float = field(default_factory=time.monotonic)
