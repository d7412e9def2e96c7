"""One member's connection to a hub that outlives its connections: join, resume, resend, come back or stay away.

It does not know what is said or why; participants, simulated users and the console all sit on it.

    async with Link("ws://127.0.0.1:8765", Join(name="Ada", role="moderator")) as link:
        async for frame in link:                     # HubFrame, or LinkDown while there is no connection
            match frame:
                case Welcome(): ...                  # joined, or back again; `link.is_up` is true from here on
                case LinkDown(reason=why): ...       # lost, or not reached; it tries again by itself
                case Message(): ...                  # each once and in order of `seq`, whatever happens between

From other tasks, as long as somebody iterates:

    answer = await link.say("hello", to=None, turn=None, meta=None)      # Ack | Nack, also across reconnects
    answer = await link.command("/pause")                                 # Ack | Nack
    link.send(Delta(turn=3, text="so "))                                  # at once or never

The iteration ends when the link is closed or the hub ends the room, and raises `NameTaken`, `AccessDenied` or
`ProtocolError` when the hub sends this member away for good (close codes 4500 and above).
"""

import asyncio
import contextlib
import logging
import random
import secrets
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidURI, WebSocketException
from websockets.uri import parse_uri

from palaver.core.errors import ConfigError, PalaverError, ProtocolError
from palaver.core.message import Message
from palaver.core.protocol import (
    MAX_CONTENT,
    MAX_FRAME,
    Ack,
    Command,
    Delta,
    Error,
    HubFrame,
    Join,
    Leave,
    MemberFrame,
    Nack,
    Say,
    Status,
    Welcome,
    decode_hub,
    decode_member,
    encode,
)
from palaver.participants import endings

logger = logging.getLogger(__name__)

INCOMING: Final = 10_000
"""Frames that may wait for the iterating task; beyond, nothing more is read and the hub catches this member up."""
OUTGOING: Final = 1_000
"""Frames that may wait for the socket; beyond, `send` refuses. Streamed text may fill half of it."""
UNANSWERED: Final = 256
"""Messages and commands that may wait for their answer; beyond, `say` and `command` wait first."""
LONGEST_WAIT: Final = 15.0
"""Seconds between two rounds of attempts, at most."""
STEADY: Final = 10.0
"""A connection that lived so many seconds was a good one: the next wait is short again."""
GOODBYE: Final = 2.0
"""Seconds that closing may take."""


def addresses(server: str) -> list[str]:
    """The URLs of hubs in a text that separates them by commas; raises `ConfigError` for what cannot be one."""
    urls = [url.strip() for url in server.split(",") if url.strip()]
    if not urls:
        raise ConfigError(f"--server {server!r} names no URL; give one like ws://127.0.0.1:8765")
    for url in urls:
        try:
            parse_uri(url)
        except (InvalidURI, ValueError) as error:
            why = error.msg if isinstance(error, InvalidURI) else error
            told = f"--server {url!r} is no websocket URL ({why})"
            raise ConfigError(f"{told}; give one like ws://127.0.0.1:8765") from error
    return urls


@dataclass(frozen=True, slots=True)
class LinkDown:
    """There is no connection: lost, or not reached. The next attempt is made in `retry_in` seconds."""

    reason: str
    retry_in: float
    attempt: int
    """Attempts in a row that have failed, 0 where a good connection was lost."""


Received = HubFrame | LinkDown
"""What iterating over a link yields."""
Answer = Ack | Nack
"""What a message or a command comes back with."""


def full_jitter(attempt: int) -> float:
    """Seconds to wait after so many failed rounds: uniform up to an exponential bound (AWS, "full jitter")."""
    return 0.05 + random.uniform(0, min(LONGEST_WAIT, 0.5 * 2.0 ** min(attempt, 10)))


class Link:
    """A seat at a hub. Enter it to start; leave the block to say goodbye.

    `server` is a URL or several separated by commas, tried in turn; raises `ConfigError` for what cannot be one.
    `join.session` is made up where it is missing; `proxy` is `None` for a direct connection, whatever the environment
    says; `tls` says whom to trust over `wss://` (`None`: whom this machine trusts).
    """

    def __init__(
        self,
        server: str,
        join: Join,
        *,
        proxy: str | None = None,
        tls: ssl.SSLContext | None = None,
        wait: Callable[[int], float] = full_jitter,
    ) -> None:
        self.urls: Sequence[str] = addresses(server)
        self.join = join if join.session else msgspec.structs.replace(join, session=secrets.token_hex(16))
        self.name = join.name
        """The name as the hub knows it, from the first `welcome` on."""
        self.seq = join.after
        """`seq` of the last message that was handed on; `None` before the first `welcome`."""
        self.is_up = False
        """Whether there is a connection with a seat now."""
        self._proxy = proxy
        self._tls = tls
        self._wait = wait
        self._place = 0
        self._failed_rounds = 0
        self._attempt = 0
        self._refused: Error | None = None
        self._incoming: asyncio.Queue[Received | None] = asyncio.Queue(INCOMING)
        self._outgoing: asyncio.Queue[bytes | None] | None = None
        self._unanswered: dict[str, tuple[bytes, asyncio.Future[Answer]]] = {}
        self._slots = asyncio.Semaphore(UNANSWERED)
        self._failure: PalaverError | None = None
        self._closing = False
        self._runner: asyncio.Task[None] | None = None

    # --- its life -----------------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        if (size := len(encode(self.join))) > MAX_FRAME:
            told = f"joining would take {size} bytes, and a hub takes {MAX_FRAME}"
            raise ProtocolError(f"the personality of {self.name} is too long: {told}")
        self._runner = asyncio.create_task(self._run(), name=f"link of {self.name}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self, reason: str = "") -> None:
        """Say goodbye, so that the others see why, and end; takes two seconds at most. Closing twice is once."""
        if self._runner is None or self._closing:
            return
        self._closing = True
        try:
            if self.send(Leave(reason=reason[:500])) and self._outgoing is not None:
                self._outgoing.put_nowait(None)
                await asyncio.wait([self._runner], timeout=GOODBYE)
        finally:
            self._runner.cancel()
            await asyncio.wait([self._runner])
            self._end(None)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Received:
        if self._runner is None:
            raise RuntimeError("enter the link first: async with Link(…) as link")
        received = await self._incoming.get() if not (self._runner.done() and self._incoming.empty()) else None
        if received is not None:
            return received
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    # --- speaking -----------------------------------------------------------------------------------------------------

    async def say(
        self,
        text: str,
        *,
        to: str | None = None,
        turn: int | None = None,
        reply_to: int | None = None,
        meta: dict[str, Any] | None = None,
    ) -> Answer:
        """Send a message and wait for its answer; it is sent again under the same id until there is one,
        also where the hub says that it came too fast (`rate_limited`).

        Raises `ProtocolError` for text that no hub takes and what the iteration raises when the link fails.
        """
        if len(text) > MAX_CONTENT:
            raise ProtocolError(f"a message of {len(text)} characters is too long; a hub takes {MAX_CONTENT}")
        ident = secrets.token_hex(8)
        return await self._ask(Say(id=ident, content=text, to=to, turn=turn, reply_to=reply_to, meta=meta))

    async def command(self, text: str) -> Answer:
        """Give a moderator's command, `/pause Zen Sage`, and wait for its answer, as `say` does."""
        return await self._ask(Command(id=secrets.token_hex(8), text=text))

    def send(self, frame: MemberFrame) -> bool:
        """Send a frame that nobody answers; False where it was dropped, for want of a connection or of room.

        A `Status` is remembered for the next join. Use `say` and `command` for what must not get lost.
        """
        if isinstance(frame, Status):
            self.join = msgspec.structs.replace(self.join, ready=frame.state == "ready")
        limit = OUTGOING // 2 if isinstance(frame, Delta) else OUTGOING - 1  # one place is for the end
        return self._put(encode(frame), limit)

    def _put(self, body: bytes, limit: int) -> bool:
        if self._outgoing is None or self._outgoing.qsize() >= limit:
            return False
        self._outgoing.put_nowait(body)
        return True

    async def _ask(self, frame: Say | Command) -> Answer:
        body = encode(frame)
        if len(body) > MAX_FRAME:
            raise ProtocolError(f"the frame has over {MAX_FRAME} bytes: say less, or with less meta")
        decode_member(body)  # what the hub cannot read it cannot answer by its id: whoever said it would wait for ever
        async with self._slots:
            while True:
                answer = await self._answer(frame.id, body)
                if not isinstance(answer, Nack) or answer.code != "rate_limited":
                    return answer
                await asyncio.sleep(answer.retry_after or 1.0)

    async def _answer(self, ident: str, body: bytes) -> Answer:
        if self._failure is not None or self._closing:
            raise self._failure or PalaverError("the link is closed")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._unanswered[ident] = (body, answer)
        self._put(body, OUTGOING - 1)  # where there is no room the connection is lost: sent again on the next
        try:
            return await answer
        finally:
            self._unanswered.pop(ident, None)

    # --- connecting, again and again ----------------------------------------------------------------------------------

    async def _run(self) -> None:
        try:
            while not await self._one_connection():
                pass
            self._end(None)
        except PalaverError as error:
            self._end(error)
        except Exception as error:  # whoever iterates must not wait for ever
            logger.exception("the link of %s failed", self.name)
            self._end(PalaverError(f"the link failed: {type(error).__name__}: {error}"))

    def _end(self, failure: PalaverError | None) -> None:
        self._failure = self._failure or failure
        self._outgoing, self.is_up = None, False
        for _, answer in self._unanswered.values():
            if not answer.done():
                answer.set_exception(self._failure or PalaverError("the link is closed"))
        with contextlib.suppress(asyncio.QueueFull):  # a full queue wakes its reader by itself
            self._incoming.put_nowait(None)

    async def _one_connection(self) -> bool:
        """Connect, talk until the connection ends, wait for the next attempt; True where there is to be none."""
        url = self.urls[self._place]
        began = asyncio.get_running_loop().time()
        try:
            async with self._connect(url) as socket:
                began = asyncio.get_running_loop().time()
                await self._talk(socket)
                reason = "the connection ended"
        except ConnectionClosed as closed:
            said = self._refused.reason if self._refused else ""
            if self._closing or endings.is_over(closed, self.join, said):
                return True
            reason = endings.lost(closed, said)
        except (OSError, TimeoutError, WebSocketException) as error:
            reason = endings.unreached(url, error)
        was_up, self.is_up = self.is_up, False
        if was_up and asyncio.get_running_loop().time() - began >= STEADY:
            self._failed_rounds = self._attempt = 0
        await self._pause_before_next(reason, was_up)
        return False

    def _connect(self, url: str) -> connect:
        trust: dict[str, Any] = {"ssl": self._tls} if self._tls is not None and url.startswith("wss:") else {}
        return connect(url, proxy=self._proxy, compression=None, max_size=2**22, close_timeout=1, **trust)

    async def _pause_before_next(self, reason: str, was_up: bool) -> None:
        if not was_up:
            self._attempt += 1
        self._place = (self._place + 1) % len(self.urls)
        seconds = 0.0
        if self._place == 0:
            seconds = self._wait(self._failed_rounds)
            self._failed_rounds += 1
        where = self.urls[self._place] if len(self.urls) > 1 else "again"
        logger.warning("%s; trying %s in %.1f s", reason, where, seconds)
        await self._incoming.put(LinkDown(reason, seconds, self._attempt))
        await asyncio.sleep(seconds)

    # --- one connection -----------------------------------------------------------------------------------------------

    async def _talk(self, socket: ClientConnection) -> None:
        self._refused = None
        join = msgspec.structs.replace(self.join, after=self.seq)
        await socket.send(encode(join), text=True)
        writer: asyncio.Task[None] | None = None
        try:
            while True:
                frame = _decode(await socket.recv(decode=False))
                if isinstance(frame, Welcome) and writer is None:
                    if frame.seq < (self.seq or 0):
                        return self._begin_anew(frame.seq)
                    self._seated(frame)
                    writer = asyncio.create_task(self._write(socket), name=f"writer of {self.name}")
                if frame is not None:
                    await self._take(frame)
        finally:
            self._outgoing = None
            if writer is not None:
                writer.cancel()
                await asyncio.wait([writer])

    def _begin_anew(self, seq: int) -> None:
        logger.warning("the hub's room is at message %d, we have seen %s: its log was replaced", seq, self.seq)
        self.seq, self._place = 0, self._place - 1

    def _seated(self, welcome: Welcome) -> None:
        self.name = welcome.name
        self.is_up = True
        if not welcome.missed:
            self.seq = welcome.seq
        logger.info("joined %r at %s as %s", welcome.room or self.join.room, self.urls[self._place], welcome.name)
        outgoing: asyncio.Queue[bytes | None] = asyncio.Queue(OUTGOING)
        for body, _ in self._unanswered.values():
            outgoing.put_nowait(body)
        self._outgoing = outgoing

    async def _write(self, socket: ClientConnection) -> None:
        outgoing = self._outgoing
        with contextlib.suppress(ConnectionClosed):
            while outgoing is not None and (body := await outgoing.get()) is not None:
                await socket.send(body, text=True)
            await socket.close()

    async def _take(self, frame: HubFrame) -> None:
        match frame:
            case Message():
                if frame.seq <= (self.seq or 0):
                    return
                await self._incoming.put(frame)
                self.seq = frame.seq
            case Ack() | Nack() if frame.id in self._unanswered:
                answer = self._unanswered[frame.id][1]
                if not answer.done():
                    answer.set_result(frame)
            case Error():
                self._refused = frame
                if not endings.ends_with(frame):
                    logger.error("the hub: %s (%s)", frame.reason, frame.code)
                await self._incoming.put(frame)
            case _:
                await self._incoming.put(frame)


def _decode(raw: bytes) -> HubFrame | None:
    try:
        return decode_hub(raw)
    except ProtocolError as error:
        logger.debug("skipped a frame of a newer hub: %s", error)
        return None
