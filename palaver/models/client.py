"""`LLMClient`: many prompts to one or several models, in order or as they come (seed 1).

Limits, retries, fallback, cache and cost are `palaver.models.dispatch`'s business; this is who waits for whom.
"""

import asyncio
import itertools
import math
import random
import time
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any, Self

from palaver.models import blocking
from palaver.models.cache import Cache
from palaver.models.conversation import Conversation, Prompt, snapshot
from palaver.models.dispatch import Ask, Dispatcher, Sampling
from palaver.models.lanes import Lanes, open_lane
from palaver.models.limits import RateLimit
from palaver.models.model import Cancel, Model
from palaver.models.prices import PRICES, Price
from palaver.models.progress import Progress
from palaver.models.response import APIResponse, Totals
from palaver.models.retry import RetryPolicy
from palaver.models.text_stream import TextStream

__all__ = ["APIResponse", "LLMClient", "Totals"]


class LLMClient:
    """`LLMClient("gpt-4o-mini")`, `LLMClient(["gpt-4o", "ollama/llama3.2"])`, or any `Model` in place of a name.

    Names: `palaver.models.providers`. Several models are a fallback in that order, or shares of the traffic with
    `model_weights`. A model that refuses the key or its own name (401, 403, 404) is left out for `block_seconds`.
    Limits are per model; None is no limit. `request_timeout` is how many seconds an endpoint may be silent. `extra`
    goes into each request as it is (`top_p`, `response_format`).
    `prefer_model="last"` stays with the model that answered a conversation before; a name, with that model.

    Raises `ModelError` for a name that leads nowhere and for a missing key, ValueError for a setting that cannot be.
    What goes wrong later comes back as an `APIResponse`. A client may be used from several event loops.
    """

    def __init__(
        self,
        model: str | Model | Sequence[str | Model],
        *,
        max_new_tokens: int = 512,
        temperature: float = 0.7,
        stop: str | Sequence[str] = (),
        seed: int | None = None,
        extra: Mapping[str, Any] | None = None,
        max_requests_per_minute: float | None = None,
        max_tokens_per_minute: float | None = None,
        max_concurrent_requests: int = 100,
        max_attempts: int = 5,
        request_timeout: float = 60.0,
        model_weights: Sequence[float] | None = None,
        prefer_model: str | None = None,
        block_seconds: float = 300.0,
        base_url: str | None = None,
        api_key: str | None = None,
        cache: Cache | None = None,
        prices: Mapping[str, Price] | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        chance: Callable[[], float] = random.random,
    ) -> None:
        counts = {
            "max_new_tokens": max_new_tokens,
            "max_concurrent_requests": max_concurrent_requests,
            "max_attempts": max_attempts,
        }
        _check(counts, temperature, request_timeout)
        models = list(model) if isinstance(model, Sequence) and not isinstance(model, str) else [model]
        if not models or (model_weights is not None and len(model_weights) != len(models)):
            raise ValueError("give at least one model, and as many model_weights as models")
        if model_weights is not None and (min(model_weights) < 0 or not sum(model_weights)):
            raise ValueError(f"model_weights must be at least 0, and one of them more, not {list(model_weights)}")
        limits = [RateLimit(max_requests_per_minute, max_tokens_per_minute) for _ in models]
        lanes = [
            open_lane(each, base_url=base_url, api_key=api_key, limit=limit, timeout=request_timeout, clock=clock)
            for each, limit in zip(models, limits, strict=True)
        ]
        names = [lane.name for lane in lanes]
        if prefer_model not in (None, "last", *names):
            raise ValueError(f"prefer_model {prefer_model!r} is none of the models: {', '.join(names)}")
        self.totals = Totals()
        self._dispatcher = Dispatcher(
            lanes=Lanes(lanes, model_weights, clock, chance),
            retry=RetryPolicy(attempts=max_attempts),
            cache=cache,
            prices={**PRICES, **(prices or {})},
            block_seconds=block_seconds,
            clock=clock,
            sleep=sleep,
            chance=chance,
        )
        stops = (stop,) if isinstance(stop, str) else tuple(stop)
        self._sampling = Sampling(max_new_tokens, temperature, stops, seed)
        self._extra = dict(extra or {})
        self._prefer = prefer_model
        self._concurrent = max_concurrent_requests
        self._gates: _Gates = weakref.WeakKeyDictionary()
        self._started: dict[int, asyncio.Task[APIResponse]] = {}
        self._numbers = itertools.count(1)

    def __repr__(self) -> str:
        return f"LLMClient({self.models!r})"

    @property
    def models(self) -> list[str]:
        """The names of its models, in order."""
        return [lane.name for lane in self._dispatcher.lanes.lanes]

    # Many prompts

    async def process_prompts_async(
        self,
        prompts: Iterable[Prompt],
        *,
        show_progress: bool = True,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> list[APIResponse]:
        """Answer all prompts; responses in the order of the prompts, errors among them.

        Raises ValueError for what is no prompt before anything is sent.
        """
        asks = [self._ask(prompt, tools) for prompt in _several(prompts)]
        responses: list[APIResponse | None] = [None] * len(asks)
        with Progress(len(asks)) if show_progress else nullcontext() as bar:
            async for number, response in self._iter(asks):
                responses[number] = response
                if bar is not None:
                    bar.step(not response.is_error)
        return [response for response in responses if response is not None]

    def process_prompts_sync(
        self,
        prompts: Iterable[Prompt],
        *,
        show_progress: bool = True,
        tools: Sequence[Mapping[str, Any]] = (),
    ) -> list[APIResponse]:
        """Answer all prompts and wait for them; from any thread, also where an event loop runs."""
        return blocking.run(self.process_prompts_async(prompts, show_progress=show_progress, tools=tools))

    def iter_prompts_async(
        self, prompts: Iterable[Prompt], *, tools: Sequence[Mapping[str, Any]] = ()
    ) -> AsyncGenerator[tuple[int, APIResponse]]:
        """The prompts' numbers, from 0, and responses, as they are done.

        A prompt is taken when there is room for it and nothing is kept once it was given out, so `prompts` may be
        endless. Leaving the loop early cancels what is under way; so does `aclose`.
        """
        return self._iter(self._ask(prompt, tools) for prompt in _several(prompts))

    async def _iter(self, asks: Iterable[Ask]) -> AsyncGenerator[tuple[int, APIResponse]]:
        waiting = enumerate(asks)
        done: asyncio.Queue[asyncio.Task[APIResponse]] = asyncio.Queue()  # holds those under way at most
        under_way: dict[asyncio.Task[APIResponse], int] = {}

        def launch(count: int) -> None:
            for number, ask in itertools.islice(waiting, count):
                task = asyncio.create_task(self._answer(ask))
                under_way[task] = number
                task.add_done_callback(done.put_nowait)

        try:
            launch(self._concurrent)
            while under_way:
                task = await done.get()
                number = under_way.pop(task)
                launch(1)
                yield number, task.result()
        finally:
            for task in under_way:
                task.cancel()

    # Single prompts

    def stream(self, prompt: Prompt, *, cancel: Cancel | None = None) -> TextStream[APIResponse]:
        """One answer, piece by piece: `async for piece in stream`, and then `stream.response`."""

        def ask(on_text: Callable[[str], None]) -> Coroutine[Any, Any, APIResponse]:
            return self._answer(replace(self._ask(prompt), on_text=on_text, cancel=cancel))

        return TextStream(ask)

    def start(self, prompt: Prompt, *, tools: Sequence[Mapping[str, Any]] = ()) -> int:
        """Send a prompt and go on; its number is for `wait_for`. Needs a running event loop."""
        number = next(self._numbers)
        self._started[number] = asyncio.get_running_loop().create_task(self._answer(self._ask(prompt, tools)))
        return number

    async def wait_for(self, number: int) -> APIResponse:
        """The response to a prompt that was started, given out once; raises KeyError for another number."""
        response = await asyncio.shield(self._started[number])
        self._started.pop(number, None)
        return response

    async def wait_for_all(self, numbers: Sequence[int] | None = None) -> list[APIResponse]:
        """The responses to those that were started, all of them by default, in that order."""
        return [await self.wait_for(number) for number in (list(self._started) if numbers is None else numbers)]

    async def as_completed(self, numbers: Sequence[int] | None = None) -> AsyncGenerator[tuple[int, APIResponse]]:
        """The numbers and responses of those that were started, all of them by default, as they are done."""
        done: asyncio.Queue[int] = asyncio.Queue()  # holds those that were started at most
        waited_for = list(self._started) if numbers is None else list(numbers)

        def note(number: int, task: asyncio.Task[APIResponse]) -> None:
            done.put_nowait(number)

        for number in waited_for:
            self._started[number].add_done_callback(partial(note, number))
        for _ in waited_for:
            number = await done.get()
            if number in self._started:  # else it was cancelled or waited for elsewhere
                yield number, await self.wait_for(number)

    def cancel(self, number: int) -> None:
        """Stop a prompt that was started and forget it."""
        task = self._started.pop(number, None)
        if task is not None:
            task.cancel()

    async def close(self) -> None:
        """Cancel what was started and never waited for."""
        tasks = list(self._started.values())
        self._started.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _ask(self, prompt: Prompt, tools: Sequence[Mapping[str, Any]] = ()) -> Ask:
        last = prompt.model_used if isinstance(prompt, Conversation) else None
        preferred = last if self._prefer == "last" else self._prefer
        extra = {**self._extra, "tools": list(tools)} if tools else self._extra
        return Ask(snapshot(prompt), self._sampling, preferred, extra)

    async def _answer(self, ask: Ask) -> APIResponse:
        loop = asyncio.get_running_loop()
        gate = self._gates.get(loop) or self._gates.setdefault(loop, asyncio.Semaphore(self._concurrent))
        async with gate:
            response = await self._dispatcher.answer(ask)
        self.totals.add(response)
        return response


_Gates = weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]


def _several(prompts: Iterable[Prompt]) -> Iterable[Prompt]:
    """The prompts; raises ValueError for a single one, whose letters or keys would be sent one by one."""
    if isinstance(prompts, str | Conversation | Mapping):
        raise ValueError(f"prompts is a list, not one {type(prompts).__name__}: for a single one, [prompt]")
    return prompts


def _check(counts: Mapping[str, int], temperature: float, request_timeout: float) -> None:
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"{name} must be at least 1, not {count!r}")
    if not isinstance(temperature, int | float) or not math.isfinite(temperature) or temperature < 0:
        raise ValueError(f"temperature must be 0 or more, not {temperature!r}")
    if not isinstance(request_timeout, int | float) or not request_timeout > 0:
        raise ValueError(f"request_timeout must be more than 0, not {request_timeout!r}")
