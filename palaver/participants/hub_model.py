"""A model that sits in a room, used as a `Model`: what is asked is said there, its next message is the answer."""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence

from palaver.core.errors import PalaverError
from palaver.core.message import Message, same_name
from palaver.core.protocol import Event, Join, Nack, Presence, System
from palaver.models.model import Cancel, ChatMessage, LLMResponse
from palaver.participants.link import Link, LinkDown


class HubModel:
    """The member `name` of a room, asked by a moderator.

    Only the last user message is said: the room remembers the rest, and the member's own settings (personality,
    temperature, tokens) are its client's. It is given the floor for its answer, whatever the policy.
    """

    def __init__(
        self,
        url: str,
        name: str,
        *,
        room: str = "main",
        asker: str = "Guest",
        token: str | None = None,
        limit: float = 120,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.name = name
        self._url = url
        self._join = Join(name=asker, role="moderator", room=room, token=token, deltas=False)
        self._limit = limit
        self._tls = tls

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
        """Say the last user message and wait for the member's; `max_tokens` to `seed` are its own affair."""
        started = time.perf_counter()
        asked = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
        try:
            async with asyncio.timeout(self._limit):
                answer = await self._ask(asked)
        except TimeoutError:
            return self._failed(started, f"{self.name} did not answer within {self._limit:g} s")
        except PalaverError as error:
            return self._failed(started, str(error))
        if on_text is not None:
            on_text(answer.content)
        meta = answer.meta or {}
        tokens = sum(int(meta.get(what) or 0) for what in ("prompt_tokens", "completion_tokens"))
        return LLMResponse(answer.content, tokens, time.perf_counter() - started, self.name, True, provenance=meta)

    def _failed(self, started: float, reason: str) -> LLMResponse:
        elapsed = time.perf_counter() - started
        return LLMResponse("", 0, elapsed, self.name, False, reason, stop_reason="error")

    async def _ask(self, text: str) -> Message:
        async with Link(self._url, self._join, tls=self._tls) as link:
            asked: asyncio.Future[int] = asyncio.get_running_loop().create_future()
            asking = asyncio.create_task(self._put(link, text, asked))
            answering = asyncio.create_task(self._answer(link, asked, asking))
            try:
                done, _ = await asyncio.wait((answering, asking), return_when=asyncio.FIRST_EXCEPTION)
                for task in done:
                    task.result()
                return answering.result()
            finally:
                answering.cancel()
                asking.cancel()
                await asyncio.gather(answering, asking, return_exceptions=True)

    async def _put(self, link: Link, text: str, asked: "asyncio.Future[int]") -> None:
        said = await link.say(text)
        if isinstance(said, Nack):
            raise PalaverError(said.reason)
        asked.set_result(said.seq or 0)
        given = await link.command(f'/floor "{self.name}"')
        if isinstance(given, Nack):
            raise PalaverError(given.reason)

    async def _answer(self, link: Link, asked: "asyncio.Future[int]", asking: "asyncio.Task[None]") -> Message:
        """Its message, once asked; a pass counts from when it was given the floor for this."""
        async for frame in link:
            match frame:
                case Message() if same_name(frame.sender, self.name) and frame.seq > await asked:
                    return frame
                case System(code="model_failed") if frame.content.startswith(f"{self.name} "):
                    raise PalaverError(frame.content)
                case Event(kind="pass") if same_name(frame.actor, self.name) and asking.done():
                    raise PalaverError(f"{self.name} gave no answer: {frame.text or 'it passed'}")
                case Presence(state="left") if same_name(frame.name, self.name):
                    raise PalaverError(f"{self.name} has left the room")
                case LinkDown():
                    raise PalaverError(f"no hub: {frame.reason}")
        raise PalaverError("the hub closed the room")

    async def close(self) -> None:
        """Nothing is kept open between two answers."""
