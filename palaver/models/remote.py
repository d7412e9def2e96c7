"""What all models behind HTTP share: limits, attempts, cancelling, and a failure that comes back as data.

A subclass says how one attempt is made on its wire; it knows nothing of the others.
"""

import asyncio
import copy
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from palaver.core.errors import ModelError
from palaver.core.provenance import SAMPLING
from palaver.models.limits import Admission, OverBudget, RateLimit, admitted, estimate_tokens
from palaver.models.model import Cancel, ChatMessage, LLMResponse, StopReason, Usage
from palaver.models.retry import Fault, RetryPolicy, fault_of_status
from palaver.models.stopping import StopStrings, unless_pressed

logger = logging.getLogger(__name__)

_SAMPLING: Final = {**{name: name for name in SAMPLING}, "repeat_penalty": "repetition_penalty"}
"""What of `extra` belongs to sampling, and how the provenance calls it."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One request, before it is put into a wire's words."""

    messages: Sequence[ChatMessage]
    max_tokens: int
    temperature: float
    stop: Sequence[str]
    seed: int | None
    stream: bool


class Refused(Exception):
    """An attempt that got no reply. `status` is HTTP's, 0 where there was none."""

    def __init__(self, status: int, reason: str, *, retry_after: float | None = None, timed_out: bool = False) -> None:
        super().__init__(reason)
        self.status = status
        self.retry_after = retry_after
        self.timed_out = timed_out


@dataclass(slots=True)
class Heard:
    """What has come of a reply so far."""

    stop: StopStrings
    on_text: Callable[[str], None] | None
    clock: Callable[[], float]
    pieces: list[str] = field(default_factory=list)
    pieces_heard: int = 0
    finish: str = ""
    """The endpoint's own word for why it ended."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    tool_calls: Sequence[Mapping[str, Any]] = ()
    logprobs: Any = None
    sent_at: float = 0.0
    first_at: float | None = None
    queue_seconds: float = 0.0
    attempts: int = 0
    admission: Admission | None = None
    seen: dict[str, Any] = field(default_factory=dict)
    """What else the endpoint told of itself, for the provenance."""

    def text(self, piece: str) -> bool:
        """Take a piece of text; True when a stop string was found in it and nothing more is wanted."""
        if piece:
            self.pieces_heard += 1
            self.first_at = self.first_at or self.clock()
        self._let_out(self.stop.feed(piece))
        return self.stop.found is not None

    def ended(self) -> None:
        """Let out what might have been the beginning of a stop string and was not."""
        self._let_out(self.stop.rest())

    def _let_out(self, piece: str) -> None:
        if not piece:
            return
        if not piece.isascii():  # half a surrogate pair could be sent nowhere
            piece = piece.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        self.pieces.append(piece)
        if self.on_text is not None:
            self.on_text(piece)

    def usage(self, ended_at: float, streamed: bool) -> Usage:
        """Counts as the endpoint gave them; of a stream, the time to the first text counts as prefill."""
        first = self.sent_at if self.first_at is None or not streamed else self.first_at
        return Usage(
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self.completion_tokens,
            reused_tokens=self.cached_tokens,
            queue_seconds=self.queue_seconds,
            prefill_seconds=max(0.0, first - self.sent_at),
            decode_seconds=max(0.0, ended_at - first),
        )


class RemoteModel:
    """A model at an HTTP endpoint. Subclasses implement `_attempt`.

    `extra` goes into each request as it is: what only this kind of endpoint knows (`top_p`, `tools`, `logprobs`).
    `timeout` is how long the endpoint may be silent, in seconds. Connections belong to the event loop
    (`palaver.models.pool`), so a model may be used from several loops and needs no opening.
    """

    backend = "remote"

    def __init__(
        self,
        name: str,
        *,
        timeout: float = 60.0,
        retry: RetryPolicy | None = None,
        limit: RateLimit | None = None,
        extra: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.name = name
        self.extra: Mapping[str, Any] = dict(extra or {})
        self._timeout = timeout
        self._retry = retry or RetryPolicy()
        self._limit = limit or RateLimit()
        self._clock = clock
        self._sleep = sleep
        self._chance = chance

    @property
    def settings(self) -> Mapping[str, Any]:
        """What makes its replies what they are, besides its name and what each call says."""
        return self.extra

    def with_extra(self, extra: Mapping[str, Any]) -> Self:
        """The same model, limits and connections, with more (or other) `extra` in its requests."""
        sibling = copy.copy(self)
        sibling.extra = {**self.extra, **extra}
        return sibling

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 100,
        temperature: float = 0.7,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        cache_key: str = "",
    ) -> LLMResponse:
        """Answer `messages`; streamed where somebody listens or may cancel, whole otherwise.

        A stream that breaks after its first text is not tried again: the listener has heard it already.
        """
        ask = Ask(messages, max_tokens, temperature, stop, seed, on_text is not None or cancel is not None)
        heard = Heard(StopStrings(stop), on_text, self._clock)
        started = self._clock()
        failure: Refused | None = None
        try:
            await unless_pressed(cancel, self._persist(ask, heard))
        except Refused as error:
            failure = error
            logger.warning("model %s at %s failed: %s", self.name, self._where(), error)
        cancelled = cancel is not None and cancel.is_set()
        return self._response(ask, heard, started, failure, cancelled)

    async def close(self) -> None:
        """Nothing to let go of: the connections close with the event loop."""

    async def _attempt(self, ask: Ask, heard: Heard) -> None:
        """Send `ask` once and put what comes into `heard`; raises `Refused`."""
        raise NotImplementedError

    def _where(self) -> str:
        """The endpoint's address, without secrets."""
        raise NotImplementedError

    def _secret(self) -> str:
        """What must be in no error."""
        return ""

    async def _persist(self, ask: Ask, heard: Heard) -> None:
        """Attempt until it succeeds, is beyond help or has been tried often enough."""
        while True:
            await self._admitted(ask, heard)
            heard.attempts += 1
            heard.sent_at = self._clock()
            try:
                await self._attempt(ask, heard)
                heard.ended()
                return
            except Refused as refused:
                if (secret := self._secret()) and secret in str(refused):  # some endpoints quote it
                    refused.args = (str(refused).replace(secret, "(the key)"),)
                wait = self._wait_after(refused, heard)
                if wait is None:
                    raise
                logger.info("%s: %s; attempt %d in %.1f s", self.name, refused, heard.attempts + 1, wait)
            except ModelError as error:
                raise Refused(401, str(error)) from error
            except UnicodeEncodeError as error:
                raise Refused(400, f"the messages cannot be sent as UTF-8: {error}") from error
            await self._sleep(wait)

    async def _admitted(self, ask: Ask, heard: Heard) -> None:
        """Wait until the limits let one more request go."""
        length = sum(len(str(message["content"])) for message in ask.messages)
        tokens = estimate_tokens(length, len(ask.messages), ask.max_tokens)
        asked = self._clock()
        try:
            heard.admission = await admitted(self._limit, tokens, self._clock, self._sleep)
        except OverBudget as error:
            raise Refused(413, str(error)) from error
        heard.queue_seconds += self._clock() - asked

    def _wait_after(self, refused: Refused, heard: Heard) -> float | None:
        if fault_of_status(refused.status) is not Fault.PASSING or heard.pieces:
            return None
        wait = self._retry.wait(heard.attempts, refused.retry_after, self._chance())
        if wait is not None and refused.retry_after:
            self._limit.keep_quiet(self._clock() + refused.retry_after)
        return wait

    def _response(
        self, ask: Ask, heard: Heard, started: float, failure: Refused | None, cancelled: bool
    ) -> LLMResponse:
        ended = self._clock()
        if ask.stream and (cancelled or heard.stop.found) and not heard.completion_tokens:
            # We closed the stream before its count came; engines send about one token a piece.
            heard.completion_tokens = heard.pieces_heard
            heard.seen["tokens"] = "estimated"
        tokens = heard.prompt_tokens + heard.completion_tokens
        if heard.admission is not None and tokens:
            self._limit.settle(heard.admission, tokens)
        return LLMResponse(
            content="".join(heard.pieces),
            tokens_used=tokens,
            response_time=ended - started,
            model_used=self.name,
            success=failure is None,
            error=None if failure is None else str(failure),
            stop_reason=_stop_reason(heard, failure, cancelled),
            usage=heard.usage(ended, ask.stream),
            provenance=self._provenance(ask, heard, failure),
            tool_calls=heard.tool_calls,
            logprobs=heard.logprobs,
        )

    def _provenance(self, ask: Ask, heard: Heard, failure: Refused | None) -> dict[str, Any]:
        told: dict[str, Any] = {
            "backend": self.backend,
            "endpoint": self._where(),
            "temperature": ask.temperature,
            "max_tokens": ask.max_tokens,
            "sampling": {_SAMPLING[key]: value for key, value in self.extra.items() if key in _SAMPLING},
            **heard.seen,
        }
        if ask.seed is not None:
            told["seed"] = ask.seed
        if heard.attempts > 1:
            told["attempts"] = heard.attempts
        if failure is not None:
            told["status"] = failure.status
        if failure is not None and failure.retry_after is not None:
            told["retry_after"] = failure.retry_after
        return told


def _stop_reason(heard: Heard, failure: Refused | None, cancelled: bool) -> StopReason:
    if cancelled:
        return "cancelled"
    if failure is not None:
        return "timeout" if failure.timed_out else "error"
    if heard.stop.found is not None:
        return "stop"
    return "length" if heard.finish == "length" else "end"
