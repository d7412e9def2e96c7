"""One connection that has a seat, as the hub writes to it. Nothing here ever waits for the peer."""

import logging
import math
import socket
import struct
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from palaver.core.message import Role
from palaver.core.protocol import Close
from palaver.hub.limits import Bucket
from palaver.hub.sheet import Sheet

logger = logging.getLogger(__name__)

SOFT: Final = 1024 * 1024
"""Bytes that may wait in the hub for one member; above, it is set aside and caught up later. A hub that
is behind itself writes up to half as much at once, and must not take everybody for slow."""
HARD: Final = 8 * 1024 * 1024
"""Bytes above which a member is cut whatever the cause."""
SEND_BUFFER: Final = 256 * 1024
"""What the kernel may hold for one member."""

MESSAGE: Final = 1
DELTA: Final = 2
NOTICE: Final = 4
"""Kinds of frames; a session's `view` is the sum of those that it gets."""


class Transport(Protocol):
    """What a session needs of an asyncio transport."""

    def write(self, data: bytes) -> None: ...
    def writelines(self, list_of_data: Iterable[bytes | memoryview]) -> None: ...
    def get_write_buffer_size(self) -> int: ...
    def is_closing(self) -> bool: ...
    def abort(self) -> None: ...
    def get_extra_info(self, name: str) -> Any: ...


class Session:
    """Who sits behind a connection, what it gets to see, and how far it has got."""

    __slots__ = (
        "address",
        "behind",
        "catching_up",
        "closed",
        "connection",
        "deaf",
        "delivered",
        "descriptor",
        "expires",
        "ident",
        "legacy",
        "lost",
        "name",
        "on_end",
        "pace",
        "quiet_sweeps",
        "role",
        "room",
        "stuck_size",
        "stuck_sweeps",
        "transport",
        "view",
    )

    def __init__(
        self,
        *,
        ident: str,
        name: str,
        role: Role,
        room: str,
        transport: Transport,
        view: int,
        legacy: bool = False,
        address: str = "",
        expires: float = math.inf,
    ) -> None:
        self.ident = ident
        self.name = name
        self.role = role
        self.room = room
        self.transport = transport
        self.view = view
        self.legacy = legacy
        self.address = address
        self.expires = expires
        """When the right to be here ends, in seconds since the epoch."""
        self.pace: Bucket | None = None
        """How fast it may send; `None`: as it likes."""
        self.deaf = False
        self.behind = True
        """Gets no common frames now: it is being caught up, or does not read fast enough."""
        self.catching_up = False
        self.delivered = 0
        """`seq` of the last message written to it."""
        self.connection = ""
        """Id of the entry that seated it."""
        self.lost = False
        """The peer has begun to hang up: nothing more can be written."""
        self.closed: tuple[Close, str] | None = None
        self.stuck_sweeps = 0
        self.stuck_size = 0
        self.quiet_sweeps = 0
        self.descriptor = -1
        """The socket's, where bytes may be put into it as they are: there is one, and no TLS between."""
        self.on_end: Callable[[Close, str], None] = lambda code, reason: None
        """Closes the connection properly, without waiting."""

    @property
    def waiting(self) -> int:
        """Bytes written but not yet taken by the kernel."""
        return self.transport.get_write_buffer_size()

    def write(self, data: bytes, sheet: Sheet | None = None) -> None:
        """Hand bytes over to the transport, unless the connection is ending.

        With a sheet of them they go to the socket's descriptor if there is one: only where nothing waits.
        """
        if self.closed is not None or self.lost:
            return
        try:
            if sheet is None or self.descriptor < 0 or self.transport.is_closing():
                self.transport.write(data)
            elif (sent := sheet.send(self.descriptor)) < len(data):
                self.transport.write(data[sent:])
        except RuntimeError:  # asyncio refuses after write_eof: a closing handshake is under way
            self.lost = True
        self.quiet_sweeps = 0

    def write_parts(self, parts: list[bytes | memoryview]) -> None:
        """The same for bytes in several parts; they are joined only where the event loop cannot do without."""
        if self.closed is not None or self.lost:
            return
        try:
            self.transport.writelines(parts)
        except RuntimeError:
            self.lost = True
        self.quiet_sweeps = 0

    def tune(self) -> None:
        """Bound what the kernel keeps for this member, and let it notice a dead peer within 45 s."""
        connection = self.transport.get_extra_info("socket")
        if connection is None:
            return
        if self.transport.get_extra_info("sslcontext") is None:
            self.descriptor = connection.fileno()
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER // 2)  # Linux doubles it
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 45_000)

    def end(self, code: Close, reason: str) -> None:
        """Nothing more goes out but the reason; then the connection closes."""
        if self.closed is None:
            self.closed = (code, reason)
            self.on_end(code, reason)

    def cut(self, code: Close, reason: str) -> None:
        """Reset the connection."""
        if self.closed is None:
            self.closed = (code, reason)
        reset(self.transport)


def reset(transport: Transport) -> None:
    """End a connection at once: a FIN would wait behind all that the peer has not read, a reset frees it."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


def wire(body: bytes) -> bytes:
    """A server's websocket text frame around `body` (RFC 6455, 5.2); the same bytes are good for every member."""
    size = len(body)
    if size < 126:
        return bytes((0x81, size)) + body
    if size < 65536:
        return _HEAD(0x817E, size) + body
    return b"\x81\x7f" + size.to_bytes(8, "big") + body


_HEAD: Final = struct.Struct(">HH").pack


PING: Final = b"\x89\x00"
"""An empty ping; whatever the peer answers, the kernel sees that it is alive."""
