"""A hub for tests, on a free port of this machine, and raw websocket members (fixture F4)."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from palaver.core.limits import Limits
from palaver.core.state import RoomState
from palaver.hub.auth import Auth, SharedSecret
from palaver.hub.hub import Hub
from palaver.hub.limits import Gate
from palaver.hub.server import listening
from palaver.hub.sqlite_log import SqliteLog
from palaver.hub.transcripts import Transcripts

WAIT = 30.0
"""Seconds after which a frame that does not come is a failure."""


@dataclass
class RunningHub:
    """A hub that listens."""

    url: str
    hub: Hub
    port: int


@asynccontextmanager
async def running(
    folder: Path | None = None,
    *,
    port: int = 0,
    auth: Auth | None = None,
    limits: Limits | None = None,
    gate: Gate | None = None,
    transcripts: Path | None = None,
    defaults: Callable[[RoomState], None] = lambda state: None,
    log: Any = None,
    **options: Any,
) -> AsyncIterator[RunningHub]:
    """A hub over a log in `folder` (in memory without one) or another `log`; members may send as fast as they like."""
    log = log or SqliteLog(folder)
    written = Transcripts(transcripts) if transcripts else None
    hub = Hub(
        log=log, archive=log, transcripts=written, defaults=defaults, limits=limits or Limits(frames=0), **options
    )
    async with listening(hub, auth or SharedSecret(), port=port, gate=gate) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield RunningHub(f"ws://127.0.0.1:{port}", hub, port)


class Member:
    """One raw websocket that speaks the protocol; frames as dicts."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.seen: list[dict[str, Any]] = []
        self._count = 0

    async def send(self, frame: dict[str, Any] | str | bytes) -> None:
        """Send a frame, or any text or bytes."""
        await self.connection.send(json.dumps(frame) if isinstance(frame, dict) else frame)

    async def next(self) -> dict[str, Any]:
        """The next frame, whatever it is."""
        async with asyncio.timeout(WAIT):
            frame: dict[str, Any] = json.loads(await self.connection.recv())
        self.seen.append(frame)
        return frame

    async def until(self, kind: str, /, **fields: Any) -> dict[str, Any]:
        """The next frame of this type whose fields have these values; others are kept in `seen`."""
        while True:
            frame = await self.next()
            if frame["type"] == kind and all(frame.get(name) == value for name, value in fields.items()):
                return frame

    async def say(self, content: str, **fields: Any) -> dict[str, Any]:
        """Say something and wait for its `ack` or `nack`."""
        self._count += 1
        ident = fields.pop("id", f"m{self._count}")
        await self.send({"type": "message", "id": ident, "content": content, **fields})
        return await self._answer(ident)

    async def command(self, text: str, ident: str = "") -> dict[str, Any]:
        """Give a command and wait for its `ack` or `nack`."""
        self._count += 1
        ident = ident or f"c{self._count}"
        await self.send({"type": "command", "id": ident, "text": text})
        return await self._answer(ident)

    async def _answer(self, ident: str) -> dict[str, Any]:
        while True:
            frame = await self.next()
            if frame["type"] in ("ack", "nack") and frame["id"] == ident:
                return frame

    async def until_ready(self, *names: str, seconds: float = 90) -> None:
        """Wait until these have joined and, where they have a model, loaded it."""
        seats = self.seen[0]["roster"]
        ready = {seat["name"] for seat in seats if seat["state"] == "ready"}
        async with asyncio.timeout(seconds):
            while not ready.issuperset(names):
                self.seen.append(frame := json.loads(await self.connection.recv()))
                if frame["type"] == "presence" and frame["ready"] and frame["state"] in ("joined", "ready"):
                    ready.add(frame["name"])

    def messages(self) -> list[dict[str, Any]]:
        """Every `message` frame seen so far."""
        return [frame for frame in self.seen if frame["type"] == "message"]

    async def close(self) -> None:
        """Hang up properly."""
        await self.connection.close()


@asynccontextmanager
async def joined(url: str, name: str, role: str = "moderator", **fields: Any) -> AsyncIterator[Member]:
    """A member that has its welcome."""
    async with connect(url, proxy=None, max_size=None) as connection:
        member = Member(connection)
        await member.send({"type": "join", "name": name, "role": role, **fields})
        first = await member.next()
        assert first["type"] == "welcome", first
        yield member


@asynccontextmanager
async def stranger(url: str) -> AsyncIterator[Member]:
    """A connection that has not joined."""
    async with connect(url, proxy=None, max_size=None) as connection:
        yield Member(connection)
