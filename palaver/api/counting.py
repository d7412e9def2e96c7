"""What the conversation server counts, beside the hub's own counters and in the same registry."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from palaver.models.model import Cancel, ChatMessage, LLMResponse, Model
from palaver.models.provider import DEFAULT_MAX_TOKENS

Told = Callable[[str, LLMResponse], None]
"""Called with a model's id and its reply."""


class Counters:
    """Conversations, and what models did. Label values are the configuration's model ids and fixed words."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.started = Counter("palaver_conversations_started", "Conversations begun", registry=registry)
        self.ended = Counter("palaver_conversations", "Conversations that ended", ["status"], registry=registry)
        self.running = Gauge("palaver_conversations_running", "Conversations that run now", registry=registry)
        self.waiting = Gauge("palaver_conversations_waiting", "Conversations that wait to begin", registry=registry)
        self.unscored = Counter("palaver_evaluator_failures", "Judgements that gave no score", registry=registry)
        self.tokens = Counter("palaver_tokens", "Tokens of models", ["model", "kind"], registry=registry)
        self.failures = Counter("palaver_model_failures", "Replies that failed", ["model"], registry=registry)
        self.reply = Histogram(
            "palaver_reply_seconds",
            "Time of a model's reply",
            ["model"],
            buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100),
            registry=registry,
        )


class MeasuredModel:
    """Another model whose replies are counted; it remembers how the last one ended. `told` is called with each."""

    def __init__(self, ident: str, model: Model, counters: Counters, told: Told) -> None:
        self.name = model.name
        self.temperature: float = getattr(model, "temperature", 0.7)
        """As configured, for calls that do not say."""
        self.max_tokens: int = getattr(model, "max_tokens", None) or DEFAULT_MAX_TOKENS
        self.healthy: bool | None = None
        self.last_error: str | None = None
        self._ident = ident
        self._model = model
        self._counters = counters
        self._told = told

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        cache_key: str = "",
    ) -> LLMResponse:
        """The other model's reply."""
        response = await self._model.complete(
            messages,
            max_tokens=self.max_tokens if max_tokens is None else max_tokens,
            temperature=self.temperature if temperature is None else temperature,
            stop=stop,
            seed=seed,
            on_text=on_text,
            cancel=cancel,
            cache_key=cache_key,
        )
        self.count(response)
        self._told(self._ident, response)
        return response

    def count(self, response: LLMResponse) -> None:
        """Count a reply."""
        self._counters.reply.labels(self._ident).observe(response.response_time)
        self._counters.tokens.labels(self._ident, "prompt").inc(response.usage.prompt_tokens)
        self._counters.tokens.labels(self._ident, "completion").inc(response.usage.completion_tokens)
        if response.stop_reason == "cancelled":
            return
        self.healthy, self.last_error = response.success, response.error
        if not response.success:
            self._counters.failures.labels(self._ident).inc()

    async def close(self) -> None:
        """Let go of the other model."""
        await self._model.close()
