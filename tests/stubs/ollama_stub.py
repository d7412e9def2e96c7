"""F2: a stub of Ollama: `/api/chat` (also streamed), `/api/tags` and `/api/show`.

It knows the models it is given and answers 404 for any other, as Ollama does.
`python -m tests.stubs.ollama_stub --port 0` runs it as a process and prints its URL.
"""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.stubs.server import Answer, Request, StubServer, serve_from_command_line

Reply = str | Mapping[str, Any]


class OllamaStub(StubServer):
    """Scripted replies, in turn and round again; or what a function of the request's body gives."""

    def __init__(
        self,
        replies: Sequence[Reply] | Callable[[Any], Reply] = ("Hello from the stub.",),
        *,
        models: Sequence[str] | None = None,
        counts: bool = True,
        content: Any = None,
        stop_after: int | None = None,
        latency: float = 0.0,
        hang: bool = False,
        port: int = 0,
    ) -> None:
        super().__init__(latency=latency, hang=hang, port=port)
        self.models = models
        """The models that it has; None: every one that is asked for."""
        self.counts = counts
        """Whether answers carry `prompt_eval_count` and `eval_count`."""
        self.content = content
        """When set, sent in place of a reply, of whatever type: a server gone wrong."""
        self.stop_after = stop_after
        """Words after which a stream stands still until the client hangs up."""
        self._replies = replies
        self._served = 0

    async def answer(self, request: Request, answer: Answer) -> None:
        """Route one request."""
        if request.path == "/api/tags":
            answer.whole(200, {"models": [{"name": name, "model": name} for name in self.models or ()]})
        elif request.path == "/api/chat":
            await self._chat(request.json, answer)
        else:
            await super().answer(request, answer)

    async def _chat(self, body: Any, answer: Answer) -> None:
        model = body["model"]
        if self.models is not None and model not in self.models:
            answer.whole(404, {"error": f"model '{model}' not found"})
            return
        message, limited = self._message(body)
        words = message["content"].split(" ") if isinstance(message["content"], str) else []
        last: dict[str, Any] = {"done_reason": "length" if limited else "stop"}
        if self.counts:
            prompt = sum(len(str(each["content"]).split()) for each in body["messages"])
            last |= {"prompt_eval_count": prompt, "eval_count": len(words)}
            last |= {"prompt_eval_duration": 2_000_000, "eval_duration": 5_000_000, "load_duration": 1_000_000}
        head = {"model": model, "created_at": "2026-01-01T00:00:00Z"}
        if body.get("stream", True):
            await self._stream(head, message, words, last, answer)
        else:
            answer.whole(200, {**head, "message": message, "done": True, **last})

    def _message(self, body: Any) -> tuple[dict[str, Any], bool]:
        if callable(self._replies):
            reply = self._replies(body)
        else:
            reply = self._replies[self._served % len(self._replies)]
            self._served += 1
        message = {"role": "assistant", "content": reply} if isinstance(reply, str) else {"role": "assistant", **reply}
        if self.content is not None:
            return {**message, "content": self.content}, False
        words = message["content"].split(" ")
        limit = (body.get("options") or {}).get("num_predict") or len(words)
        return {**message, "content": " ".join(words[:limit])}, limit < len(words)

    async def _stream(self, head: Any, message: Any, words: list[str], last: Any, answer: Answer) -> None:
        answer.begin("application/x-ndjson")
        for number, word in enumerate(words):
            if number == self.stop_after:
                await asyncio.Event().wait()
            piece = {"role": "assistant", "content": word if number == 0 else f" {word}"}
            answer.piece(json.dumps({**head, "message": piece, "done": False}) + "\n")
        rest = {**message, "content": ""}
        answer.piece(json.dumps({**head, "message": rest, "done": True, **last}) + "\n")
        answer.end()


if __name__ == "__main__":
    serve_from_command_line(
        lambda args: OllamaStub(args.reply or ("Hello from the stub.",), latency=args.latency, port=args.port),
        "A stub of Ollama.",
    )
