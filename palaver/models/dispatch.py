"""How one prompt gets its answer: from the cache, or from a lane, tried again or elsewhere as the failure asks."""

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from palaver.core.errors import ModelError
from palaver.models.cache import Cache, keep, look_up, request_key
from palaver.models.lanes import Lane, Lanes
from palaver.models.limits import OverBudget, admitted, estimate_tokens
from palaver.models.model import Cancel, ChatMessage, LLMResponse
from palaver.models.prices import Price
from palaver.models.response import APIResponse
from palaver.models.retry import Fault, RetryPolicy, fault_of
from palaver.models.stopping import unless_pressed

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a reply is to be drawn."""

    max_tokens: int
    temperature: float
    stop: tuple[str, ...] = ()
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Ask:
    """One prompt on its way."""

    messages: list[ChatMessage]
    sampling: Sampling
    preferred: str | None = None
    """The name of the model to stay with, while it can."""
    extra: Mapping[str, Any] = field(default_factory=dict)
    on_text: Callable[[str], None] | None = None
    cancel: Cancel | None = None


@dataclass(slots=True)
class _Course:
    """How far one prompt has come."""

    ask: Ask
    lane: Lane | None = None
    response: LLMResponse | None = None
    attempts: int = 0
    heard: bool = False
    """Somebody has heard a part of a reply: it cannot be begun again."""
    spent: list[Lane] = field(default_factory=list)

    @property
    def cancelled(self) -> bool:
        """Whether the asker does not want an answer any more."""
        return self.ask.cancel is not None and self.ask.cancel.is_set()

    def listen(self) -> Callable[[str], None] | None:
        """The asker's ear, which remembers that it has heard something."""
        on_text = self.ask.on_text
        if on_text is None:
            return None

        def hear(piece: str) -> None:
            self.heard = True
            on_text(piece)

        return hear


@dataclass(slots=True, kw_only=True)
class Dispatcher:
    """Sends prompts down their lanes."""

    lanes: Lanes
    retry: RetryPolicy
    cache: Cache | None
    prices: Mapping[str, Price]
    block_seconds: float
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep
    chance: Callable[[], float] = random.random

    async def answer(self, ask: Ask) -> APIResponse:
        """The answer to one prompt; never raises for what went wrong with a model."""
        started = self.clock()
        course = _Course(ask)
        await self._run(course)
        return self._told(course, self.clock() - started)

    async def _run(self, course: _Course) -> None:
        """One attempt after another until there is an answer, or nothing left to try."""
        while True:
            lane = self.lanes.choose(preferred=course.ask.preferred, spent=course.spent)
            if lane is None:
                course.response = course.response or _failure(self.lanes.why_none(), 503)
                return
            course.lane = lane
            course.response = await self._attempt(course, lane)
            if course.response.success or course.heard or course.cancelled:
                return
            wait = self._after_failure(course, lane, course.response)
            if wait is None:
                return
            if wait:
                await unless_pressed(course.ask.cancel, self._pause(wait))
            if course.cancelled:
                return

    def _after_failure(self, course: _Course, lane: Lane, failed: LLMResponse) -> float | None:
        """Seconds until the next attempt, wherever that goes; None where there is no use in another."""
        match fault_of(failed):
            case Fault.REQUEST:
                return None
            case Fault.MODEL:
                logger.warning("%s is left out for %.0f s: %s", lane.name, self.block_seconds, failed.error)
                self.lanes.block(lane, self.block_seconds, failed.error or "refused")
                return 0.0
            case Fault.UNKNOWN:
                course.spent.append(lane)
                return 0.0
            case Fault.PASSING:
                return self._wait(course, lane, failed.provenance.get("retry_after"))

    def _wait(self, course: _Course, lane: Lane, retry_after: float | None) -> float | None:
        """After an overload: at once where another model is free, else when it makes sense to ask again."""
        wait = self.retry.wait(course.attempts, retry_after, self.chance())
        if retry_after and retry_after > self.retry.longest_retry_after:
            self.lanes.block(lane, retry_after, f"it asked for {retry_after:.0f} s of patience")
        elif retry_after:
            lane.limit.keep_quiet(self.clock() + retry_after)
        if course.attempts < self.retry.attempts and len(self.lanes.lanes) > 1:
            course.spent.append(lane)
            if self.lanes.choose(preferred=None, spent=course.spent) is not None:
                return 0.0
            course.spent.clear()
        return wait

    async def _attempt(self, course: _Course, lane: Lane) -> LLMResponse:
        try:
            if self.cache is None:
                return await self._send(course, lane)
            return await self._cached(course, lane, self.cache)
        except OverBudget as error:
            return _failure(str(error), 413)
        except ModelError as error:
            return _failure(str(error), None)
        except Exception as error:
            logger.exception("a request to %s broke", lane.name)
            return _failure(f"{type(error).__name__}: {error}", None)

    async def _cached(self, course: _Course, lane: Lane, cache: Cache) -> LLMResponse:
        ask = course.ask
        key = self._key(ask, lane)
        kept = look_up(cache, key)
        if kept is not None:
            if ask.on_text is not None:
                ask.on_text(kept.content)
            return kept
        response = await self._send(course, lane)
        if response.success and not course.cancelled:
            keep(cache, key, response)
        return response

    async def _send(self, course: _Course, lane: Lane) -> LLMResponse:
        ask = course.ask
        course.attempts += 1
        model = await lane.model(ask.extra)
        length = sum(len(str(message["content"])) for message in ask.messages)
        tokens = estimate_tokens(length, len(ask.messages), ask.sampling.max_tokens)
        admission = await unless_pressed(ask.cancel, admitted(lane.limit, tokens, self.clock, self.sleep))
        if admission is None:
            return LLMResponse("", 0, 0.0, lane.name, True, stop_reason="cancelled")
        response = await model.complete(
            ask.messages,
            max_tokens=ask.sampling.max_tokens,
            temperature=ask.sampling.temperature,
            stop=ask.sampling.stop,
            seed=ask.sampling.seed,
            on_text=course.listen(),
            cancel=ask.cancel,
        )
        if response.tokens_used:
            lane.limit.settle(admission, response.tokens_used)
        return response

    async def _pause(self, seconds: float) -> None:
        await self.sleep(seconds)

    def _key(self, ask: Ask, lane: Lane) -> str:
        sampling = [ask.sampling.max_tokens, ask.sampling.temperature, list(ask.sampling.stop), ask.sampling.seed]
        request = {"model": lane.name, "at": lane.where, "messages": ask.messages, "sampling": sampling}
        return request_key({**request, "extra": dict(ask.extra)})

    def _told(self, course: _Course, seconds: float) -> APIResponse:
        response, lane = course.response, course.lane
        assert response is not None
        price = self.prices.get(lane.price_name) or self.prices.get(lane.name) if lane is not None else None
        cached = bool(response.provenance.get("cached"))
        status = response.provenance.get("status")
        return APIResponse(
            completion=(response.content or None) if response.success else None,
            is_error=not response.success,
            error_message=response.error,
            model_used=lane.name if lane is not None else "",
            usage=response.usage,
            cost=0.0 if cached or not response.tokens_used else price.of(response.usage) if price is not None else None,
            cached=cached,
            attempts=course.attempts,
            status_code=status if isinstance(status, int) and status else None,
            stop_reason=response.stop_reason,
            tool_calls=response.tool_calls,
            logprobs=response.logprobs,
            seconds=seconds,
            provenance=response.provenance,
        )


def _failure(reason: str, status: int | None) -> LLMResponse:
    provenance = {} if status is None else {"status": status}
    return LLMResponse("", 0, 0.0, "", False, reason, "error", provenance=provenance)
