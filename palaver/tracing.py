"""Spans of turns, replies and messages, where somebody asked for traces. Like a log, they are a process's own affair.

Until `use` is called every span is nothing, and no package of OpenTelemetry is loaded (`palaver.otel` does that). A
turn's span is named in its message (`meta.traceparent`): the hub's span of that message hangs below it, and the next
speaker's turn links to it.
"""

from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self


class Span:
    """Something that takes time; as it stands here nobody looks. As a context manager it ends with its block."""

    traceparent = ""
    """How another process names it as parent (W3C Trace Context); empty where nobody traces."""

    def tell(self, attributes: Mapping[str, Any]) -> None:
        """Say more about it; what is None stays unsaid."""

    def link(self, traceparent: str) -> None:
        """It answers what that span made; what is no traceparent is left alone."""

    def fail(self, reason: str) -> None:
        """It did not succeed."""

    def end(self) -> None:
        """It is over."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            self.fail(f"{type(error).__name__}: {error}")
        self.end()


Kind = Literal["internal", "client", "consumer"]
Start = Callable[..., Span]
_NOTHING: Final = Span()
_start: Start | None = None


def is_on() -> bool:
    """Whether anybody wants spans."""
    return _start is not None


def span(
    name: str,
    attributes: Mapping[str, Any] | None = None,
    *,
    kind: Kind = "internal",
    parent: str = "",
    began: float | None = None,
) -> Span:
    """A span that has begun, at `began` (seconds since the epoch) or now; `parent` is another one's `traceparent`."""
    if _start is None:
        return _NOTHING
    return _start(name, attributes or {}, kind=kind, parent=parent, began=began)


def use(start: Start | None) -> None:
    """From now on spans are begun by `start` (`palaver.otel.starter`), or by nobody."""
    global _start
    _start = start
