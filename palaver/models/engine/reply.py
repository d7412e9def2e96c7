"""A reply while it is being decoded: its row, its sampler, its text, its clocks."""

import time

from palaver.models.engine.request import Outcome, Request
from palaver.models.engine.rows import Row
from palaver.models.engine.sampling import Sampler
from palaver.models.engine.text import Decode, TextStream
from palaver.models.model import StopReason, Usage


class Reply:
    """Takes tokens one by one and knows when it is over. Used by the engine's thread alone."""

    def __init__(self, request: Request, row: Row, decode: Decode) -> None:
        self.request = request
        self.row = row
        self.reused = len(row.tokens)
        self.seen = list(request.tokens)
        """Prompt and reply so far."""
        self.largest_batch = 1
        self._sampler = Sampler(request.sampling)
        self._stream = TextStream(decode, request.stop, live=request.on_text is not None)
        self._prompt = len(request.tokens)
        self._admitted = time.monotonic()
        self._first_token: float | None = None

    @property
    def drawn(self) -> int:
        """Tokens drawn so far, an end token included."""
        return len(self.seen) - self._prompt

    @property
    def pending(self) -> list[int]:
        """Tokens that the model has yet to compute: the rest of the prompt, then the last token drawn."""
        return self.seen[len(self.row.tokens) :]

    @property
    def sampler(self) -> Sampler:
        """Draws this reply's tokens."""
        return self._sampler

    def due_reason(self, now: float) -> StopReason | None:
        """Whether it must end before another step: cancelled, or out of time."""
        if self.request.cancel.is_set():
            return "cancelled"
        if self.request.deadline is not None and now >= self.request.deadline:
            return "timeout"
        return None

    def take(self, token: int, end_tokens: frozenset[int]) -> StopReason | None:
        """One more token; returns why the reply ends with it, if it does."""
        if self._first_token is None:
            self._first_token = time.monotonic()
        self.seen.append(token)
        if token in end_tokens:
            return "end"
        self._emit(self._stream.push(token))
        if self._stream.stopped_by is not None:
            return "stop"
        if self.drawn >= self.request.max_tokens:
            return "length"
        return None

    def finish(self, reason: StopReason, error: str | None = None) -> None:
        """Show the rest, unless something went wrong, and hand over the outcome."""
        if error is None:
            self._emit(self._stream.finish())
        if reason in ("end", "length") and self._stream.stopped_by is not None:
            reason = "stop"
        now = time.monotonic()
        first = self._first_token or now
        usage = Usage(
            prompt_tokens=self._prompt,
            completion_tokens=self.drawn,
            reused_tokens=self.reused,
            queue_seconds=self._admitted - self.request.submitted,
            prefill_seconds=first - self._admitted,
            decode_seconds=now - first,
        )
        outcome = Outcome(self._stream.text, reason, usage, error, self.largest_batch, self._stream.stopped_by)
        outcome.tokens = self.seen[self._prompt :]
        self.request.on_done(outcome)

    def _emit(self, piece: str) -> None:
        if piece and self.request.on_text is not None:
            self.request.on_text(piece)
