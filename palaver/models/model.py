"""What a model is to the rest of the house: messages in, one reply out, stoppable at any moment.

It does not know rooms, floors or sockets; who speaks to whom was settled when the messages were made
(`palaver.core.prompt`).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from operator import add
from typing import Any, Literal, Protocol, TypedDict

StopReason = Literal["end", "length", "stop", "cancelled", "timeout", "error", "pass"]
"""Why a reply ended: end of turn, token limit, stop string, cancelled, time limit, failure, chose silence."""


class ChatMessage(TypedDict):
    """One message of a prompt; `role` is `system`, `user` or `assistant`."""

    role: str
    content: str


Messages = Sequence[Mapping[str, Any]]
"""A conversation as a caller writes it down: dicts with `role` and `content`."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What a reply cost. Tokens are counts, times are seconds; 0 where a backend does not tell."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    reused_tokens: int = 0
    """Prompt tokens taken from a key-value cache instead of being computed."""
    queue_seconds: float = 0.0
    prefill_seconds: float = 0.0
    decode_seconds: float = 0.0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(*map(add, astuple(self), astuple(other)))

    @property
    def tokens_per_second(self) -> float:
        """Decoded tokens a second; 0.0 where nothing was decoded."""
        return self.completion_tokens / self.decode_seconds if self.decode_seconds > 0 else 0.0


@dataclass(slots=True)
class LLMResponse:
    """One reply: the six fields of seed 3 in its order, then what the network needs besides.

    A failure is data: `success=False`, `content=""` (or what had come until then), `error` says why.
    """

    content: str
    tokens_used: int
    """Prompt and completion tokens together."""
    response_time: float
    """Seconds, wall clock."""
    model_used: str
    """The model that was asked for."""
    success: bool
    error: str | None = None
    stop_reason: StopReason = "end"
    usage: Usage = field(default_factory=Usage)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """What made the reply, JSON-able: backend, device, dtype, revision, seed, sampling, what was trimmed."""
    tool_calls: Sequence[Mapping[str, Any]] = ()
    """Tool calls as the endpoint sent them (OpenAI's form); Palaver passes them through and calls nothing."""
    logprobs: Any = None
    """Log probabilities as the endpoint sent them, where they were asked for."""


class Cancel:
    """A stop button that works from any thread and stays pressed.

    `complete()` looks at it between tokens and registers callbacks for waits that must end at once.
    """

    def __init__(self) -> None:
        self._event = threading.Event()
        self._lock = threading.Lock()  # guards _callbacks against a press from another thread
        self._callbacks: list[Callable[[], None]] = []
        self.reason = ""

    def is_set(self) -> bool:
        """Whether somebody pressed it."""
        return self._event.is_set()

    def press(self, reason: str = "") -> None:
        """Stop the reply; the first reason stays. Pressing twice does nothing more."""
        with self._lock:
            if self._event.is_set():
                return
            self.reason = reason
            self._event.set()
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def on_press(self, callback: Callable[[], None]) -> None:
        """Call `callback` once when pressed (at once if it already is), in the thread that presses."""
        with self._lock:
            if not self._event.is_set():
                self._callbacks.append(callback)
                return
        callback()


class Model(Protocol):
    """Whatever can answer: Hugging Face, an OpenAI-compatible API, a workflow endpoint, a script."""

    name: str
    """What was asked for: a path, a hub name, an API's model id."""

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
        """Answer `messages` with one reply; never raises for what went wrong with the model.

        `temperature` 0 is greedy. `stop` strings end the reply and are cut out of it. `on_text` gets each new
        piece of text, in the event loop's thread, in order. `cancel` ends it within one decode step (HF) or by
        closing the stream (API): then `stop_reason` is "cancelled" and `content` holds what had come.
        `cache_key` names the conversation (a participant's name), so that an engine can keep its cache apart.
        """
        ...

    async def close(self) -> None:
        """Let go of threads, connections and memory."""
        ...
