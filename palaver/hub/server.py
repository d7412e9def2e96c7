"""The websocket door: handshake, registration, reading, closing."""

import asyncio
import contextlib
import logging
import secrets
import ssl
from collections.abc import AsyncIterator, Coroutine, Sequence
from functools import partial
from http import HTTPStatus
from typing import Any, Final, cast

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from palaver import __version__
from palaver.core.errors import LogUnavailable, ProtocolError
from palaver.core.protocol import MAX_FRAME, Close, Error, Join, System, decode_join, encode
from palaver.hub.auth import Auth, Denied, Rights
from palaver.hub.connection import Connection
from palaver.hub.host import Refused, RoomHost
from palaver.hub.hub import Hub
from palaver.hub.legacy import decode_registration
from palaver.hub.limits import Gate
from palaver.hub.pages import Pages, pages
from palaver.hub.session import DELTA, MESSAGE, NOTICE, Session, reset

logger = logging.getLogger(__name__)

_SPENT: Final = Request("", Headers())
"""Stands for a handshake that is over: websockets tells by it that frames follow."""


SUBPROTOCOL: Final = Subprotocol("palaver")
"""What a client offers that sends its token beside it, as `palaver.token.TOKEN`: it cannot in its first frame."""
FAREWELL: Final = 5.0
"""Seconds that one who is sent away may take to read what was written to it."""
_TOKEN_IN_SUBPROTOCOL: Final = "palaver.token."


class Arrival(Connection):
    """A connection that the gate counts from its first byte, also while it is not yet a websocket."""

    __slots__ = ("_counts_as_unjoined", "_gate", "address", "refusal")  # a larger `__dict__` costs 2 KiB

    def __init__(self, gate: Gate, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._gate = gate
        self.address = ""
        self.refusal: str | None = ""
        """Why it is not let in; `None` where that is not even told."""
        self._counts_as_unjoined = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.address = str((transport.get_extra_info("peername") or ("",))[0])
        self.refusal = self._gate.arrive(self.address)
        if self.refusal is None:
            self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._gate.depart(self.address, had_joined=not self._counts_as_unjoined)
        self._counts_as_unjoined = False
        super().connection_lost(exc)

    def joined(self) -> None:
        """It has a seat now, unless it is gone already."""
        if self._counts_as_unjoined:
            self._counts_as_unjoined = False
            self._gate.joined()


class Door:
    """One listening hub: connections in, sessions on the hub."""

    def __init__(self, hub: Hub, auth: Auth, gate: Gate) -> None:
        self.hub = hub
        self._auth = auth
        self._gate = gate
        self._tasks: set[asyncio.Task[None]] = set()

    def _end(self, connection: ServerConnection, code: Close, reason: str) -> None:
        """Close from outside the connection's own task."""
        self.own(_turn_away(connection, code, reason))

    def own(self, work: Coroutine[None, None, None]) -> None:
        """Let a piece of work go on by itself."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def handle(self, connection: ServerConnection) -> None:
        """One connection from its first frame to its end."""
        arrival = cast(Arrival, connection)
        offered = _offered_token(connection)
        connection.request, connection.response = _SPENT, None  # a few KiB each that nobody needs any more
        try:
            session, join = await self._registration(arrival, offered)
            host = await self.hub.join(session, join)
            arrival.joined()
        except ConnectionClosed:
            return
        except _Turned as turned:
            await _turn_away(connection, turned.code, turned.reason, legacy=turned.legacy)
            return
        except Refused as refused:
            await _turn_away(connection, refused.code, refused.reason, legacy=session.legacy)
            return
        except LogUnavailable as error:
            await _turn_away(connection, Close.LOG_UNAVAILABLE, str(error), legacy=session.legacy)
            return
        reason = "connection lost"
        try:
            reason = await self._read(arrival, session, host)
        finally:
            self.hub.leave(host, session, session.closed[1] if session.closed else reason)

    async def _registration(self, connection: Arrival, offered: str | None) -> tuple[Session, Join]:
        limit = self._gate.limits.join_seconds
        try:
            async with asyncio.timeout(limit or None):
                raw = await connection.recv(decode=False)
        except TimeoutError:
            raise _Turned(Close.JOIN_TIMEOUT, f"no join within {limit:g} s") from None
        if wait := self._gate.wait_to_join(connection.address):
            raise _Turned(Close.TOO_MANY, f"too many joins from your address; come back in {wait:.0f} s")
        legacy = None
        try:
            legacy = decode_registration(raw)
            join = legacy or decode_join(raw)
        except ProtocolError as error:
            raise _Turned(Close.BAD_FRAME, str(error), legacy=b'"join"' not in raw) from error
        if join.token is None and offered is not None:
            join = msgspec.structs.replace(join, token=offered)
        rights = self._admit(connection, join, legacy=legacy is not None)
        session = Session(
            ident=join.session or secrets.token_hex(16),
            name=join.name,
            role=join.role,
            room=join.room,
            transport=connection.transport,
            view=MESSAGE | NOTICE | (DELTA if join.deltas else 0),
            legacy=legacy is not None,
            address=connection.address,
            expires=rights.expires,
        )
        session.tune()
        session.on_end = lambda code, reason: self._end(connection, code, reason)
        if session.legacy:
            greeting = System(room=join.room, content=f"Connected as {join.name}")
            await connection.send(encode(greeting), text=True)
        return session, join

    def _admit(self, connection: Arrival, join: Join, *, legacy: bool) -> Rights:
        """What the join's token opens, now and each time that a session comes back; raises `_Turned`."""
        try:
            rights = self._auth.rights_of(join.token)
            rights.check(join)
        except Denied as denied:
            self.hub.metrics.denied.labels(denied.why).inc()
            where = f"{join.name} ({join.role}) in {join.room}"
            logger.warning("%s was not let in from %s: %s", where, connection.address, denied)
            raise _Turned(Close.ACCESS_DENIED, str(denied), legacy=legacy) from denied
        return rights

    async def _read(self, connection: Connection, session: Session, host: RoomHost) -> str:
        """Read until the connection ends; returns why. Nobody else is waited for."""
        hub = self.hub
        connection.hand_over(_Reader(self, host, session, connection))
        try:
            while True:
                raw = await connection.recv(decode=False)
                if session.closed is not None:  # sent away; what it still says while it hangs up is not heard
                    continue
                leave = hub.receive(host, session, raw)
                if leave is not None:
                    await connection.close()
                    return leave.reason or "left"
                await hub.flow()
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd_then_sent:
                return "left"
            return "connection lost" if closed.sent is None else closed.sent.reason or "connection lost"


class _Reader:
    """Takes the frames of one connection that need no task."""

    __slots__ = ("_connection", "_door", "_host", "_session", "has_room")

    def __init__(self, door: Door, host: RoomHost, session: Session, connection: Connection) -> None:
        self._door, self._host, self._session, self._connection = door, host, session, connection
        self.has_room = door.hub.has_room

    def take(self, raw: bytes) -> bool:
        if self._session.closed is not None:  # sent away; what it still says while it hangs up is not heard
            return True
        return self._door.hub.receive(self._host, self._session, raw) is None

    def on_full(self) -> None:
        self._door.own(self._read_on())

    async def _read_on(self) -> None:
        await self._door.hub.flow()
        self._connection.read_on()


class _Turned(Exception):
    """A connection that does not get as far as a session."""

    def __init__(self, code: Close, reason: str, *, legacy: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.legacy = legacy


async def _turn_away(connection: ServerConnection, code: Close, reason: str, *, legacy: bool = False) -> None:
    """Say why, then close with a code that says whether to come back; what was written before goes out first.

    One that does not read has a while for it, then the connection is reset.
    """
    told: System | Error = System(content=reason) if legacy else Error(code=code.name.lower(), reason=reason)
    try:
        async with asyncio.timeout(FAREWELL):
            await connection.send(encode(told), text=True)
            await connection.close(code, reason.encode()[:120].decode(errors="ignore"))
    except ConnectionClosed:
        pass
    except TimeoutError:
        reset(connection.transport)


def _offered_token(connection: ServerConnection) -> str | None:
    """The token that stands among the offered subprotocols."""
    offered = connection.request.headers.get_all("Sec-WebSocket-Protocol") if connection.request else []
    for word in ",".join(offered).split(","):
        if word.strip().startswith(_TOKEN_IN_SUBPROTOCOL):
            return word.strip()[len(_TOKEN_IN_SUBPROTOCOL) :]
    return None


def _chosen(connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    """Never the token: what is chosen comes back in the answer."""
    return SUBPROTOCOL if SUBPROTOCOL in offered else None


def _unless_refused(answer: Pages) -> Pages:
    """The pages, for all but those whom the gate refuses."""

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        refusal = cast(Arrival, connection).refusal
        return (
            connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, f"{refusal}\n")
            if refusal
            else answer(connection, request)
        )

    return process_request


@contextlib.asynccontextmanager
async def listening(
    hub: Hub,
    auth: Auth,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    origins: Sequence[str] = (),
    gate: Gate | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    """A hub that listens, opened before and closed after: members are told to come back (close code 4000).

    Of web pages only the hub's own may connect, and those of a listed `Origin`. With `tls` it speaks `wss://` and
    `https://`. Raises `OSError` where the port cannot be had.
    """
    await hub.open()
    try:
        async with one_more_door(hub, auth, host=host, port=port, origins=origins, gate=gate, tls=tls) as server:
            yield server
    finally:
        await hub.close()


@contextlib.asynccontextmanager
async def one_more_door(
    hub: Hub,
    auth: Auth,
    *,
    host: str,
    port: int,
    origins: Sequence[str] = (),
    gate: Gate | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Server]:
    """A further address of a hub that is open; see `listening`."""
    gate = gate or Gate(hub.limits)
    server = await serve(
        Door(hub, auth, gate).handle,
        host,
        port,
        ssl=tls,
        compression=None,
        ping_interval=None,
        max_size=MAX_FRAME,
        max_queue=16,
        backlog=4096,
        close_timeout=2,
        process_request=_unless_refused(pages(hub, auth, origins)),
        select_subprotocol=_chosen,
        create_connection=cast(type[ServerConnection], partial(Arrival, gate)),
        server_header=f"palaver/{__version__}",
    )
    try:
        yield server
    finally:
        server.close(code=Close.GOING_AWAY, reason="the hub is stopping")
        await server.wait_closed()
