"""F1: a stub of an OpenAI-compatible endpoint: `/v1/chat/completions` (also streamed) and `/v1/models`.

A reply is a text, or the whole `message` object of a choice (for tool calls). Tokens are words.
`python -m tests.stubs.openai_stub --port 0 --latency 0.05` runs it as a process and prints its URL.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from tests.stubs.server import Answer, Failure, Request, StubServer, serve_from_command_line

Reply = str | Mapping[str, Any]


class OpenAIStub(StubServer):
    """Scripted replies, in turn and round again; or what a function of the request's body gives."""

    def __init__(
        self,
        replies: Sequence[Reply] | Callable[[Any], Reply] = ("Hello from the stub.",),
        *,
        models: Sequence[str] = ("stub-model",),
        usage: bool = True,
        api_key: str | None = None,
        token_delay: float = 0.0,
        stop_after: int | None = None,
        latency: float = 0.0,
        hang: bool = False,
        port: int = 0,
    ) -> None:
        super().__init__(latency=latency, hang=hang, port=port)
        self.models = models
        self.usage = usage
        """Whether answers count tokens; some servers do not."""
        self.api_key = api_key
        """When set, any other key gets 401."""
        self.token_delay = token_delay
        """Seconds between two words of a stream."""
        self.stop_after = stop_after
        """Words after which a stream stands still until the client hangs up."""
        self._script = replies if callable(replies) else _in_turn(replies)

    @property
    def base_url(self) -> str:
        """What goes into `base_url` and `OPENAI_BASE_URL`."""
        return f"{self.url}/v1"

    def failure_body(self, failure: Failure) -> Any:
        """An error document as OpenAI's."""
        if failure.body is not None:
            return failure.body
        return {"error": {"message": f"scripted failure {failure.status}", "type": "stub", "code": None}}

    async def answer(self, request: Request, answer: Answer) -> None:
        """Route one request."""
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            message = "Incorrect API key provided."
            answer.whole(401, {"error": {"message": message, "type": "auth", "code": "invalid_api_key"}})
        elif request.path == "/v1/models":
            listed = [{"id": name, "object": "model", "created": 0, "owned_by": "stub"} for name in self.models]
            answer.whole(200, {"object": "list", "data": listed})
        elif request.path == "/v1/chat/completions":
            await self._complete(request.json, answer)
        else:
            await super().answer(request, answer)

    async def _complete(self, body: Any, answer: Answer) -> None:
        reply = self._script(body)
        message = {"content": reply} if isinstance(reply, str) else dict(reply)
        words, finish = _cut(message.get("content") or "", body)
        if message.get("tool_calls"):
            finish = "tool_calls"
        counts = _count(body, words)
        if body.get("stream"):
            await self._stream(body, message, words, finish, counts, answer)
            return
        choice = {
            "index": 0,
            "message": {"role": "assistant", **message, "content": "".join(words) or None},
            "finish_reason": finish,
            "logprobs": _logprobs(words) if body.get("logprobs") else None,
        }
        document = {"id": "stub", "object": "chat.completion", "created": 0, "model": body["model"]}
        answer.whole(200, {**document, "choices": [choice], **({"usage": counts} if self.usage else {})})

    async def _stream(
        self, body: Any, message: Mapping[str, Any], words: list[str], finish: str, counts: Any, answer: Answer
    ) -> None:
        head = {"id": "stub", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}

        def send(delta: Any, finish_reason: str | None = None, logprobs: Any = None) -> None:
            choice = {"index": 0, "delta": delta, "finish_reason": finish_reason, "logprobs": logprobs}
            answer.piece(f"data: {json.dumps({**head, 'choices': [choice]})}\n\n")

        answer.begin("text/event-stream")
        send({"role": "assistant", "content": ""})
        for number, word in enumerate(words):
            if number == self.stop_after:
                await asyncio.Event().wait()
            if self.token_delay:
                await asyncio.sleep(self.token_delay)
            send({"content": word}, logprobs=_logprobs([word]) if body.get("logprobs") else None)
        for index, call in enumerate(message.get("tool_calls") or ()):
            for delta in _tool_call_deltas(index, call):
                send({"tool_calls": [delta]})
        send({}, finish)
        if self.usage and (body.get("stream_options") or {}).get("include_usage"):
            answer.piece(f"data: {json.dumps({**head, 'choices': [], 'usage': counts})}\n\n")
        answer.piece("data: [DONE]\n\n")
        answer.end()


def _in_turn(replies: Sequence[Reply]) -> Callable[[Any], Reply]:
    served = 0

    def script(body: Any) -> Reply:
        nonlocal served
        served += 1
        return replies[(served - 1) % len(replies)]

    return script


def _cut(text: str, body: Any) -> tuple[list[str], str]:
    """The words of `text` as a model would have said them: not beyond a stop string, nor the token limit."""
    stops = body.get("stop") or []
    for stop in [stops] if isinstance(stops, str) else stops:
        text = text.partition(stop)[0]
    words = [word if number == 0 else f" {word}" for number, word in enumerate(text.split(" "))] if text else []
    limit = body.get("max_tokens") or body.get("max_completion_tokens") or len(words)
    return words[:limit], "length" if limit < len(words) else "stop"


def _count(body: Any, words: Sequence[str]) -> dict[str, Any]:
    prompt = sum(len(str(message.get("content") or "").split()) for message in body.get("messages", ()))
    return {
        "prompt_tokens": prompt,
        "completion_tokens": len(words),
        "total_tokens": prompt + len(words),
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def _logprobs(words: Sequence[str]) -> dict[str, Any]:
    return {"content": [{"token": word, "logprob": -0.5, "bytes": None, "top_logprobs": []} for word in words]}


def _tool_call_deltas(index: int, call: Any) -> Iterator[dict[str, Any]]:
    function = call["function"]
    half = len(function["arguments"]) // 2
    first = {"name": function["name"], "arguments": function["arguments"][:half]}
    yield {"index": index, "id": call["id"], "type": "function", "function": first}
    yield {"index": index, "function": {"arguments": function["arguments"][half:]}}


if __name__ == "__main__":
    serve_from_command_line(
        lambda args: OpenAIStub(args.reply or ("Hello from the stub.",), latency=args.latency, port=args.port),
        "A stub of an OpenAI-compatible endpoint.",
    )
