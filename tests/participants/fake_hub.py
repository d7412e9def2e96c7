"""A hub of a few lines on a real socket, for what a well-behaved hub never does: the test says every frame."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from websockets.asyncio.server import Server, ServerConnection, serve

from palaver.core.message import Message
from palaver.core.protocol import (
    FloorView,
    FromMember,
    Grant,
    Holder,
    HubFrame,
    Join,
    Seat,
    Welcome,
    decode_member,
    encode,
)

TIME = "2026-01-01T00:00:00.000Z"


class Seated:
    """One connection at the fake hub, after its join."""

    def __init__(self, socket: ServerConnection, join: Join) -> None:
        self.socket = socket
        self.join = join

    async def send(self, *frames: HubFrame) -> None:
        for frame in frames:
            await self.socket.send(encode(frame), text=True)

    async def welcome(self, seq: int = 0, missed: int = 0, roster: tuple[Seat, ...] = (), **fields: Any) -> None:
        """Admit it; `fields` go into the floor."""
        floor = floor_view(**fields)
        welcome = Welcome(
            room=self.join.room,
            name=self.join.name,
            role=self.join.role,
            session="s",
            seq=seq,
            missed=missed,
            members=1,
            roster=roster,
            floor=floor,
        )
        await self.send(welcome)

    async def receive(self) -> Any:
        """The next frame of the member."""
        async with asyncio.timeout(10):
            return decode_member(await self.socket.recv(decode=False))

    async def receive_a(self, kind: type[FromMember]) -> Any:
        """The next frame of that kind; others are passed over."""
        while not isinstance(frame := await self.receive(), kind):
            pass
        return frame

    async def close(self, code: int = 1000, reason: str = "") -> None:
        await self.socket.close(code, reason)

    def drop(self) -> None:
        """Cut the wire, no goodbye."""
        self.socket.transport.abort()


class FakeHub:
    """Hands every connection that joined to the test."""

    ping: float | None = 20.0
    """Seconds between pings, and for their answers."""

    def __init__(self) -> None:
        self._joined: asyncio.Queue[Seated] = asyncio.Queue()
        self._server: Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Listen; again on the same port after `close`."""
        self._server = await serve(
            self._handle,
            "127.0.0.1",
            self.port,
            compression=None,
            close_timeout=0.2,
            ping_interval=self.ping,
            ping_timeout=self.ping,
        )
        self.port = next(iter(self._server.sockets)).getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close(code=1012)
            await self._server.wait_closed()

    async def joined(self) -> Seated:
        """The next connection whose `join` has come."""
        async with asyncio.timeout(10):
            return await self._joined.get()

    async def _handle(self, socket: ServerConnection) -> None:
        raw = await socket.recv(decode=False)
        await self._joined.put(Seated(socket, msgspec.json.decode(raw, type=Join)))
        await socket.wait_closed()


@asynccontextmanager
async def fake_hub() -> AsyncIterator[FakeHub]:
    """A fake hub that listens."""
    hub = FakeHub()
    await hub.open()
    try:
        yield hub
    finally:
        await hub.close()


def message(seq: int, content: str = "", sender: str = "Ada", **fields: Any) -> Message:
    """A message as a hub sends it."""
    fields.setdefault("role", "moderator")
    return Message(
        room="main", seq=seq, id=f"m{seq}", sender=sender, content=content or f"word {seq}", timestamp=TIME, **fields
    )


def floor_view(*, holder: str = "", turn: int = 0, paused: bool = False) -> FloorView:
    """A floor with at most one holder."""
    holders = (Holder(name=holder, turn=turn, since=TIME),) if holder else ()
    return FloorView(epoch=1, paused=paused, policy="open", holders=holders)


def grant(turn: int, context: int = 0, **fields: Any) -> Grant:
    """The floor, given under `turn`."""
    return Grant(turn=turn, epoch=1, lease=60.0, context=context, policy="open", reason="test", **fields)
