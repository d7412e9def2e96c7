"""The websocket door: handshake, registration, reading, closing."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request

from palaver import __version__
from palaver.core.errors import AccessDenied, LogUnavailable, ProtocolError
from palaver.core.protocol import MAX_FRAME, Close, Error, Join, System, decode_join, encode
from palaver.hub.host import Refused, RoomHost
from palaver.hub.hub import Hub
from palaver.hub.legacy import decode_registration
from palaver.hub.pages import pages
from palaver.hub.session import DELTA, MESSAGE, NOTICE, Session

logger = logging.getLogger(__name__)

JOIN_LIMIT: Final = 10.0
"""Seconds that a connection may take to join."""


_SPENT: Final = Request("", Headers())
"""Stands for a handshake that is over: websockets tells by it that frames follow."""


class Auth(Protocol):
    """Decides who may join."""

    def admit(self, join: Join) -> None:
        """Raises `AccessDenied`."""
        ...


class Door:
    """One listening hub: connections in, sessions on the hub."""

    def __init__(self, hub: Hub, auth: Auth) -> None:
        self._hub = hub
        self._auth = auth
        self._closing: set[asyncio.Task[None]] = set()

    def _end(self, connection: ServerConnection, code: Close, reason: str) -> None:
        """Close from outside the connection's own task."""
        task = asyncio.get_running_loop().create_task(_turn_away(connection, code, reason))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def handle(self, connection: ServerConnection) -> None:
        """One connection from its first frame to its end."""
        connection.request, connection.response = _SPENT, None  # a few KiB each that nobody needs any more
        try:
            session, join = await self._registration(connection)
            host = await self._hub.join(session, join)
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
            reason = await self._read(connection, session, host)
        finally:
            self._hub.leave(host, session, session.closed[1] if session.closed else reason)

    async def _registration(self, connection: ServerConnection) -> tuple[Session, Join]:
        try:
            async with asyncio.timeout(JOIN_LIMIT):
                raw = await connection.recv(decode=False)
        except TimeoutError:
            raise _Turned(Close.JOIN_TIMEOUT, f"no join within {JOIN_LIMIT:.0f} s") from None
        legacy = None
        try:
            legacy = decode_registration(raw)
            join = legacy or decode_join(raw)
            self._auth.admit(join)
        except ProtocolError as error:
            raise _Turned(Close.BAD_FRAME, str(error), legacy=b'"join"' not in raw) from error
        except AccessDenied as error:
            raise _Turned(Close.ACCESS_DENIED, str(error), legacy=legacy is not None) from error
        view = MESSAGE | NOTICE | (DELTA if join.deltas else 0)
        session = Session(
            ident=join.session or secrets.token_hex(16),
            name=join.name,
            role=join.role,
            room=join.room,
            transport=connection.transport,
            view=view,
            legacy=legacy is not None,
        )
        session.tune()
        session.on_end = lambda code, reason: self._end(connection, code, reason)
        if session.legacy:
            greeting = System(room=join.room, content=f"Connected as {join.name}")
            await connection.send(encode(greeting), text=True)
        return session, join

    async def _read(self, connection: ServerConnection, session: Session, host: RoomHost) -> str:
        """Read until the connection ends; returns why. Nobody else is waited for."""
        hub = self._hub
        try:
            while True:
                raw = await connection.recv(decode=False)
                leave = hub.receive(host, session, raw)
                if leave is not None:
                    await connection.close()
                    return leave.reason or "left"
                await hub.flow()
        except ConnectionClosed as closed:
            if closed.rcvd is not None and closed.rcvd_then_sent:
                return "left"
            return "connection lost"


class _Turned(Exception):
    """A connection that does not get as far as a session."""

    def __init__(self, code: Close, reason: str, *, legacy: bool = False) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.legacy = legacy


async def _turn_away(connection: ServerConnection, code: Close, reason: str, *, legacy: bool = False) -> None:
    """Say why, then close with a code that says whether to come back."""
    with contextlib.suppress(ConnectionClosed):
        told: System | Error = System(content=reason) if legacy else Error(code=code.name.lower(), reason=reason)
        await connection.send(encode(told), text=True)
        await connection.close(code, reason.encode()[:120].decode(errors="ignore"))


@contextlib.asynccontextmanager
async def listening(
    hub: Hub,
    auth: Auth,
    *,
    host: str = "127.0.0.1",
    port: int = 8765,
    origins: Sequence[str] = (),
) -> AsyncIterator[Server]:
    """A hub that listens, opened before and closed after: members are told to come back (close code 4000).

    Of web pages only the hub's own may connect, and those of a listed `Origin`. Raises `OSError` where the port
    cannot be had.
    """
    door = Door(hub, auth)
    await hub.open()
    try:
        server = await serve(
            door.handle,
            host,
            port,
            compression=None,
            ping_interval=None,
            max_size=MAX_FRAME,
            max_queue=16,
            backlog=4096,
            close_timeout=2,
            process_request=pages(hub, origins),
            server_header=f"palaver/{__version__}",
        )
        try:
            yield server
        finally:
            server.close(code=Close.GOING_AWAY, reason="hub is stopping; come back")
            await server.wait_closed()
    finally:
        await hub.close()
