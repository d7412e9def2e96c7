"""The hub's end of a websocket: frames cut anywhere, fragments, control frames and mistakes, all in order."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from palaver.core.protocol import MAX_FRAME
from palaver.hub import sqlite_log
from tests.hubs import WAIT, RunningHub, joined, running

REQUEST = (
    b"GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


def text(frame: dict[str, Any], *, fin: bool = True, opcode: Opcode = Opcode.TEXT) -> bytes:
    return Frame(opcode, json.dumps(frame).encode(), fin).serialize(mask=True)


def said(number: int, **fields: Any) -> dict[str, Any]:
    return {"type": "message", "id": str(number), "content": f"number {number}", **fields}


JOIN = text({"type": "join", "name": "Raw", "role": "moderator"})


class Raw:
    """A client that writes bytes as it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: first byte and payload."""
        async with asyncio.timeout(WAIT):
            first, size = await self.reader.readexactly(2)
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first, await self.reader.readexactly(size)

    async def acknowledged(self, count: int) -> list[str]:
        """Ids of the next so many acknowledgements."""
        found: list[str] = []
        while len(found) < count:
            first, payload = await self.frame()
            if first == 0x81 and (frame := json.loads(payload))["type"] in ("ack", "nack"):
                assert frame["type"] == "ack", frame
                found.append(frame["id"])
        return found

    async def closed_with(self) -> int:
        """The code of the close frame that comes."""
        while True:
            first, payload = await self.frame()
            if first == 0x88:
                self.writer.close()
                return int.from_bytes(payload[:2], "big")


@asynccontextmanager
async def raw(hub: RunningHub) -> AsyncIterator[Raw]:
    """A websocket that has shaken hands, and nothing more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.port)
    writer.write(REQUEST)
    assert b" 101 " in await reader.readuntil(b"\r\n\r\n")
    try:
        yield Raw(reader, writer)
    finally:
        writer.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100, 100_000])
async def test_frames_may_be_cut_anywhere(size: int) -> None:
    """Small frames and frames with two and eight bytes of length, in pieces of `size` bytes."""
    lengths = [0, 1, 125, 126, 70_000] if size > 50 else [0, 1, 125, 126, 300]
    frames = [text(said(number, meta={"padding": "x" * length})) for number, length in enumerate(lengths)]
    stream = JOIN + b"".join(frames)
    async with running() as hub, raw(hub) as client:
        for start in range(0, len(stream), size):
            client.writer.write(stream[start : start + size])
            await client.writer.drain()
            await asyncio.sleep(0)
        assert await client.acknowledged(len(lengths)) == [str(number) for number in range(len(lengths))]


async def test_fragments_pings_and_whole_frames_stay_in_order() -> None:
    whole = json.dumps(said(2)).encode()
    middle = Frame(Opcode.TEXT, whole[:10], False).serialize(mask=True)
    end = Frame(Opcode.CONT, whole[10:]).serialize(mask=True)
    ping = Frame(Opcode.PING, b"are you there").serialize(mask=True)
    async with running() as hub, raw(hub) as client:
        client.writer.write(JOIN)
        client.writer.write(text(said(0)) + ping + text(said(1)) + middle + ping + end + text(said(3)))
        pongs = 0
        acks: list[str] = []
        while len(acks) < 4:
            first, payload = await client.frame()
            pongs += first == 0x8A and payload == b"are you there"
            if first == 0x81 and (frame := json.loads(payload))["type"] == "ack":
                acks.append(frame["id"])
        assert (pongs, acks) == (2, ["0", "1", "2", "3"])


@pytest.mark.parametrize(
    ("mistake", "code"),
    [
        (Frame(Opcode.TEXT, b"{}").serialize(mask=False), 1002),  # clients must mask
        (b"\xc1\x82\x00\x00\x00\x00{}", 1002),  # a compressed frame, and no compression was agreed
        (b"\x83\x80\x00\x00\x00\x00", 1002),  # no such opcode
        (b"\x81\xff" + (MAX_FRAME + 1).to_bytes(8, "big") + b"\x00\x00\x00\x00", 1009),
        (b"\x88\x82\x00\x00\x00\x00\x03\xe8", 1000),  # an ordinary goodbye
    ],
)
async def test_mistakes_end_the_connection_and_what_came_before_counts(mistake: bytes, code: int) -> None:
    async with running() as hub, joined(hub.url, "Watcher", "observer") as watcher, raw(hub) as client:
        client.writer.write(JOIN + text(said(0)) + mistake + text(said(1)))
        assert await client.closed_with() == code
        await watcher.until("presence", name="Raw", state="left")
        assert [frame["content"] for frame in watcher.messages()] == ["number 0"]


async def test_a_goodbye_is_answered_with_a_close() -> None:
    async with running() as hub, joined(hub.url, "Watcher", "observer") as watcher, raw(hub) as client:
        client.writer.write(JOIN + text(said(0)) + text({"type": "leave", "reason": "so long"}) + text(said(1)))
        assert await client.closed_with() == 1000
        left = await watcher.until("presence", name="Raw", state="left")
        assert left["text"] == "so long"
        assert [frame["content"] for frame in watcher.messages()] == ["number 0"]


async def test_readers_wait_while_the_log_has_no_room_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_log, "MOST_WAITING", 3)
    async with running() as hub, raw(hub) as client:
        largest = 0
        real = hub.hub._log.append

        def append(entry: Any) -> None:
            nonlocal largest
            real(entry)
            largest = max(largest, hub.hub._log._waiting)  # type: ignore[attr-defined]  # the embedded log's

        monkeypatch.setattr(hub.hub._log, "append", append)
        client.writer.write(JOIN + b"".join(text(said(number)) for number in range(500)))
        assert await client.acknowledged(500) == [str(number) for number in range(500)]
        assert largest <= 4
