"""A member that joins and never reads again: what every hub must be able to bear."""

import socket
import time
from pathlib import Path
from typing import Final, Self

from load.dialects import Dialect
from load.frames import upgrade_request

ESTABLISHED: Final = "01"
LOOK_EVERY: Final = 0.05


class StuckMember:
    """Joins with a tiny receive buffer, then only watches whether the hub lets go of it.

    It looks into the kernel's table: a close that waits behind a full window is not seen at this end of the line.
    """

    def __init__(self, dialect: Dialect, port: int) -> None:
        self._connection = socket.socket()
        self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._connection.settimeout(10)
        self._connection.connect(("127.0.0.1", port))
        self._connection.sendall(upgrade_request("127.0.0.1", port, dialect.path))
        self._read_until(b"\r\n\r\n")
        self._connection.sendall(dialect.hello() + dialect.join("stuck", "observer"))
        if dialect.welcomes:
            self._read_until(b"PONG\r\n" if dialect.framed_twice else b"welcome")
        own = self._connection.getsockname()[1]
        self._hub_end = (f"0100007F:{port:04X}", f"0100007F:{own:04X}")
        self._next_look = 0.0
        self.cut_at: float | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def _read_until(self, mark: bytes) -> None:
        seen = b""
        while mark not in seen:
            chunk = self._connection.recv(512)
            if not chunk:
                raise ConnectionError(f"the hub closed the stuck member's connection as it joined: {seen!r}")
            seen += chunk

    def look(self) -> None:
        """Notes the time when the hub has closed or reset the connection."""
        now = time.monotonic()
        if self.cut_at is None and now >= self._next_look:
            self._next_look = now + LOOK_EVERY
            if not self._is_established():
                self.cut_at = now

    def _is_established(self) -> bool:
        lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
        states = (line.split()[1:4] for line in lines)
        return any((local, remote) == self._hub_end and state == ESTABLISHED for local, remote, state in states)
