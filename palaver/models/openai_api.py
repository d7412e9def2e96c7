"""A model behind any OpenAI-compatible endpoint: OpenAI, vLLM, llama.cpp, `transformers serve`, Together, and so on.

Streams go through OpenAI's SDK. Whole answers are posted on the same pooled connections without it: the SDK takes
1.4 ms of processor time for a short answer and this road 0.23, which decides how fast a thousand prompts are done.
"""

import asyncio
import importlib
import json
import logging
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from palaver.core.errors import MissingExtra, ModelError
from palaver.models import pool
from palaver.models.refusals import broken, posted, refusal, told, unreadable
from palaver.models.remote import Ask, Heard, Refused, RemoteModel

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk

logger = logging.getLogger(__name__)

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "EMPTY"
"""The key sent where none is set and none is needed, as vLLM's documentation has it."""

_MOST_STOP_STRINGS = 4
"""OpenAI refuses more; the rest are found on our side."""

_WHOLE = ("application/json", "text/html")
"""What an endpoint answers with that does not stream, or is none."""
_CHUNKS = "a stream of chat completion chunks"

_QUIRKS = ("max_completion_tokens", "stream_options", "temperature")
"""Words in a 400 that tell what this endpoint wants otherwise; tried once each, then remembered."""


class OpenAIModel(RemoteModel):
    """`OpenAIModel("gpt-4o-mini")`, or any name that the endpoint at `base_url` knows.

    The key is `api_key` or the environment's `key_env`; an endpoint on plain `http://` needs none. Without
    `base_url` the environment's `OPENAI_BASE_URL` holds, else OpenAI itself. Further keywords: `RemoteModel`.
    """

    backend = "openai"
    _query = ""
    """What the endpoint's URL ends with."""

    def __init__(
        self,
        name: str,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        key_env: str = "OPENAI_API_KEY",
        **settings: Any,
    ) -> None:
        super().__init__(name, **settings)
        self._base_url = (base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL).rstrip("/")
        self._place = pool.without_user(self._base_url)
        self._api_key = api_key
        self._key_env = key_env
        self._quirks: set[str] = set()

    def key(self) -> str:
        """The key that is sent; raises `ModelError` naming the variable to set where there is none."""
        key = self._api_key or os.environ.get(self._key_env)
        if key:
            return key
        if self._base_url.startswith("http://"):
            return NO_KEY
        raise ModelError(f"no key for {self.name} at {self._place}: set the environment variable {self._key_env}")

    def _where(self) -> str:
        return self._place

    def _credentials(self) -> dict[str, str]:
        """The header that carries the key."""
        return {"authorization": f"Bearer {self.key()}"}

    async def _attempt(self, ask: Ask, heard: Heard) -> None:
        while True:
            try:
                return await (self._stream(ask, heard) if ask.stream else self._whole(ask, heard))
            except Refused as refused:
                if not self._learn(refused):
                    raise

    def _learn(self, refused: Refused) -> bool:
        """Whether the endpoint told of a quirk that was not known yet, so that asking otherwise may do."""
        if refused.status not in (400, 422):
            return False
        told = next((quirk for quirk in _QUIRKS if quirk in str(refused) and quirk not in self._quirks), None)
        if told is None or (told == "temperature" and "nsupported" not in str(refused)):
            return False
        logger.warning("%s: adapting to the endpoint, which said: %s", self.name, refused)
        self._quirks.add(told)
        return True

    def _request(self, ask: Ask) -> dict[str, Any]:
        limit = "max_completion_tokens" if "max_completion_tokens" in self._quirks else "max_tokens"
        request: dict[str, Any] = {"model": self.name, "messages": list(ask.messages), limit: ask.max_tokens}
        if "temperature" not in self._quirks:
            request["temperature"] = ask.temperature
        if ask.stop:
            request["stop"] = list(ask.stop)[:_MOST_STOP_STRINGS]
        if ask.seed is not None:
            request["seed"] = ask.seed
        if ask.stream and "stream_options" not in self._quirks:
            request["stream_options"] = {"include_usage": True}
        return {**request, **self.extra}

    def _provenance(self, ask: Ask, heard: Heard, failure: Refused | None) -> dict[str, Any]:
        told = super()._provenance(ask, heard, failure)
        return {**told, "temperature": None} if "temperature" in self._quirks else told  # it was not sent

    # A whole answer

    async def _whole(self, ask: Ask, heard: Heard) -> None:
        self._read(await self._post(self._request(ask)), heard)

    def _read(self, content: bytes, heard: Heard) -> None:
        try:
            document = json.loads(content)
            choice = document["choices"][0]
            message = choice["message"]
            text = message.get("content") or ""
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise unreadable(content, self._place, "a chat completion") from error
        if not isinstance(text, str):
            raise unreadable(content, self._place, "text")
        heard.finish = choice.get("finish_reason") or ""
        heard.tool_calls = message.get("tool_calls") or ()
        heard.logprobs = choice.get("logprobs")
        _count(heard, document.get("usage"))
        _identify(heard, document)
        heard.text(text)

    async def _post(self, request: Mapping[str, Any]) -> bytes:
        url = f"{self._base_url}/chat/completions{self._query}"
        asked = posted(url, request, self._credentials(), where=self._place, seconds=self._timeout, hint=self._hint)
        async with asked as answer:
            return await answer.read()

    def _secret(self) -> str:
        return self._api_key or os.environ.get(self._key_env) or ""

    def _hint(self, status: int) -> str:
        if status in (401, 403):
            return f"is the key in {self._key_env} right?" if self._api_key is None else "is the key right?"
        return f"is there a model {self.name!r}, and does the URL end in /v1?" if status in (404, 405) else ""

    # A stream

    async def _stream(self, ask: Ask, heard: Heard) -> None:
        try:
            openai = await asyncio.to_thread(importlib.import_module, "openai")  # half a second, once
        except ImportError as error:
            raise MissingExtra("openai", "openai") from error
        with told(self._place, self._timeout):
            pool.address(self._base_url)
            try:
                await self._listen(self._sdk(), ask, heard)
            except openai.APIStatusError as error:
                status, said = error.status_code, error.response
                raise refusal(status, said.headers, said.content, self._place, self._hint(status)) from error
            except openai.APIConnectionError as error:
                raise broken(error.__cause__, self._place, self._timeout) from error
            except openai.APIError as error:
                raise Refused(502, f"{self._place} broke off its stream: {error.message}") from error
            except (json.JSONDecodeError, UnicodeDecodeError) as error:
                got = error.doc if isinstance(error, json.JSONDecodeError) else error.object
                raise unreadable(got, self._place, _CHUNKS) from error

    def _sdk(self) -> "AsyncOpenAI":
        from openai import AsyncOpenAI

        from palaver.models import sdk_wire

        return AsyncOpenAI(
            api_key=self.key(),
            base_url=self._base_url,
            http_client=sdk_wire.client(),
            max_retries=0,
            timeout=self._timeout,
        )

    async def _listen(self, sdk: "AsyncOpenAI", ask: Ask, heard: Heard) -> None:
        request = self._request(ask)
        model, messages = request.pop("model"), request.pop("messages")
        calls: dict[int, dict[str, Any]] = {}
        chunks = 0
        stream = await sdk.chat.completions.create(model=model, messages=messages, stream=True, extra_body=request)
        async with stream:
            if stream.response.headers.get("content-type", "").startswith(_WHOLE):
                self._read(await stream.response.aread(), heard)
                return
            async for chunk in stream:
                chunks += 1
                try:
                    piece = _take(chunk, heard, calls)
                except (AttributeError, LookupError, TypeError) as error:  # the SDK hands on what comes, unchecked
                    raise unreadable(repr(chunk), self._place, _CHUNKS) from error
                if heard.text(piece):
                    break  # leaving the block closes the connection, which stops the engine behind it
        if not chunks:
            raise Refused(502, f"{self._place} sent an empty stream; does the URL end in /v1?")
        heard.tool_calls = [calls[index] for index in sorted(calls)]


def _take(chunk: "ChatCompletionChunk", heard: Heard, calls: dict[int, dict[str, Any]]) -> str:
    """Put what one chunk tells into `heard` and `calls`; returns its text."""
    if chunk.usage is not None:
        _count(heard, chunk.usage.model_dump(warnings=False))
    if not chunk.choices:
        return ""
    if not heard.seen:
        _identify(heard, {"model": chunk.model, "system_fingerprint": chunk.system_fingerprint})
    choice = chunk.choices[0]
    heard.finish = choice.finish_reason or heard.finish
    if choice.logprobs is not None:
        heard.logprobs = heard.logprobs or {"content": []}
        heard.logprobs["content"] += choice.logprobs.model_dump().get("content") or []
    for delta in choice.delta.tool_calls or ():
        call = calls.setdefault(delta.index, {"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
        call["id"] = delta.id or call["id"]
        if delta.function is not None:
            call["function"]["name"] += delta.function.name or ""
            call["function"]["arguments"] += delta.function.arguments or ""
    return "" + (choice.delta.content or "")


def _count(heard: Heard, usage: Any) -> None:
    """Take the token counts, 0 for what is missing."""
    if not isinstance(usage, Mapping):
        return
    details = usage.get("prompt_tokens_details")
    heard.prompt_tokens = _whole_number(usage.get("prompt_tokens"))
    heard.completion_tokens = _whole_number(usage.get("completion_tokens"))
    heard.cached_tokens = _whole_number(details.get("cached_tokens")) if isinstance(details, Mapping) else 0


def _whole_number(value: Any) -> int:
    return value if isinstance(value, int) else 0


def _identify(heard: Heard, document: Mapping[str, Any]) -> None:
    """Note which model really answered, and on what."""
    for key, name in (("model", "served_model"), ("system_fingerprint", "fingerprint")):
        if document.get(key):
            heard.seen[name] = document[key]
