"""A model served by Ollama, over its own protocol (`/api/chat`), which takes more options than its OpenAI one."""

import json
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from palaver.models import pool
from palaver.models.refusals import posted, unreadable
from palaver.models.remote import Ask, Heard, Refused, RemoteModel

if TYPE_CHECKING:
    import aiohttp

_PORT = 11434
_LONGEST_LINE = 2**26
"""Bytes; a whole answer is one line."""
_TOP_LEVEL = frozenset({"tools", "format", "keep_alive", "think", "logprobs", "top_logprobs"})
"""Keys of `extra` that Ollama wants beside `options` and not within them."""


class OllamaModel(RemoteModel):
    """`OllamaModel("llama3.2")` at `host`, else at the environment's `OLLAMA_HOST`, else on this machine.

    `extra` holds Ollama's options (`top_p`, `repeat_penalty`, `num_ctx`, …) and its `tools`, `format`, `keep_alive`.
    """

    backend = "ollama"

    def __init__(self, name: str, *, host: str | None = None, **settings: Any) -> None:
        super().__init__(name, **settings)
        self._url = ollama_url(host or os.environ.get("OLLAMA_HOST") or "")
        self._place = pool.without_user(self._url)

    def _where(self) -> str:
        return self._place

    async def _attempt(self, ask: Ask, heard: Heard) -> None:
        asked = posted(
            f"{self._url}/api/chat", self._request(ask), {}, where=self._place, seconds=self._timeout, hint=self._hint
        )
        async with asked as answer:
            await self._listen(answer.content, heard)

    def _hint(self, status: int) -> str:
        return f"fetch it with `ollama pull {self.name}`" if status == 404 else ""

    def _request(self, ask: Ask) -> dict[str, Any]:
        options: dict[str, Any] = {"temperature": ask.temperature, "num_predict": ask.max_tokens}
        if ask.stop:
            options["stop"] = list(ask.stop)
        if ask.seed is not None:
            options["seed"] = ask.seed
        options |= {key: value for key, value in self.extra.items() if key not in _TOP_LEVEL}
        beside = {key: value for key, value in self.extra.items() if key in _TOP_LEVEL}
        messages = [_message(message) for message in ask.messages]
        return {"model": self.name, "messages": messages, "stream": ask.stream, "options": options, **beside}

    async def _listen(self, content: "aiohttp.StreamReader", heard: Heard) -> None:
        """One JSON object a line; a whole answer is a single one."""
        last: Mapping[str, Any] = {}
        while line := await content.readline(max_line_length=_LONGEST_LINE):
            if not line.strip():
                continue
            last = self._parse(line)
            message = last["message"]
            heard.tool_calls = [*heard.tool_calls, *_tool_calls(message)]
            heard.prompt_tokens = last.get("prompt_eval_count") or 0
            heard.completion_tokens = last.get("eval_count") or 0
            if heard.text(message["content"]):
                return
        if not last.get("done"):
            raise unreadable(json.dumps(last), self._place, "a whole reply")
        heard.finish = last.get("done_reason") or ""
        heard.logprobs = last.get("logprobs")

    def _parse(self, line: bytes) -> Mapping[str, Any]:
        try:
            document: Any = json.loads(line)
        except ValueError as error:
            raise unreadable(line, self._place, "JSON") from error
        if isinstance(document, dict) and "error" in document:
            raise Refused(502, f"{self._place} broke off: {document['error']}")
        if not isinstance(document, dict) or not _has_text(document.get("message")):
            raise unreadable(line, self._place, "a chat reply")
        return document


def _has_text(message: Any) -> bool:
    return isinstance(message, dict) and isinstance(message.get("content"), str)


def ollama_url(host: str) -> str:
    """The URL behind what `OLLAMA_HOST` may hold: `host`, `host:port`, `http://host:port`, or nothing."""
    scheme, _, rest = host.rpartition("://")
    rest = rest.rstrip("/") or "127.0.0.1"
    name, colon, port = rest.rpartition(":")
    if not colon or not port.isdigit():
        name, port = rest, {"http": "80", "https": "443"}.get(scheme, str(_PORT))
    if name == "0.0.0.0":  # where a server listens, which is not where a client calls
        name = "127.0.0.1"
    return f"{scheme or 'http'}://{name}:{port}"


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    """A message in Ollama's form: the arguments of tool calls are an object there, not a string."""
    calls = message.get("tool_calls")
    if not calls:
        return dict(message)
    return {**message, "content": message.get("content") or "", "tool_calls": [_with_object(call) for call in calls]}


def _with_object(call: Mapping[str, Any]) -> dict[str, Any]:
    function = call["function"]
    arguments = function["arguments"]
    parsed = json.loads(arguments) if isinstance(arguments, str) else arguments
    return {**call, "function": {**function, "arguments": parsed}}


def _tool_calls(message: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Tool calls in OpenAI's form."""
    calls = message.get("tool_calls") or []
    return [
        {
            "id": call.get("id") or f"call_{number}",
            "type": "function",
            "function": {
                "name": call["function"]["name"],
                "arguments": json.dumps(call["function"].get("arguments") or {}),
            },
        }
        for number, call in enumerate(calls)
    ]
