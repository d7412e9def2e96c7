"""Large passes go to many members from one sheet of memory: the same bytes in the same order, whoever reads how."""

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import uvloop

from palaver.hub import sheet
from palaver.hub.outbox import Outbox
from palaver.hub.session import MESSAGE, NOTICE, Session
from tests.hub.test_outbox import Room, Wire
from tests.patience import within

LOOPS = pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
Loop = Callable[[], asyncio.AbstractEventLoop]
CROWD = sheet.MANY + 4


def run(loop: Loop, talk: Callable[[], Coroutine[None, None, None]]) -> None:
    """The talk on an event loop of this kind."""
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(talk())


class Reader:
    """The far end of a member's connection."""

    def __init__(self, session: Session, connection: socket.socket) -> None:
        self.session = session
        self._connection = connection

    async def read(self, size: int) -> bytes:
        """So many bytes."""
        loop, data = asyncio.get_running_loop(), b""
        async with asyncio.timeout(within(10)):
            while len(data) < size and (more := await loop.sock_recv(self._connection, 1 << 20)):
                data += more
        return data

    def gulp(self) -> bytes:
        """What is there, before the loop can do anything."""
        data = b""
        with contextlib.suppress(BlockingIOError):
            while more := self._connection.recv(1 << 20):
                data += more
        return data

    def hang_up(self) -> None:
        """Without a word."""
        self._connection.close()


@asynccontextmanager
async def crowd(outbox: Outbox, count: int = CROWD) -> AsyncIterator[list[Reader]]:
    """Members of the room on real connections."""
    loop = asyncio.get_running_loop()
    arrived: asyncio.Queue[Any] = asyncio.Queue()

    class Door(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            arrived.put_nowait(transport)

    server = await loop.create_server(Door, "127.0.0.1", 0)
    readers: list[Reader] = []
    try:
        for number in range(count):
            connection = socket.create_connection(server.sockets[0].getsockname())
            connection.setblocking(False)
            transport = await arrived.get()
            name = str(number)
            session = Session(
                ident=name, name=name, role="observer", room="main", transport=transport, view=MESSAGE | NOTICE
            )
            session.tune()
            session.behind = False
            outbox.add(session)
            readers.append(Reader(session, connection))
        yield readers
    finally:
        for reader in readers:
            reader.session.transport.abort()
            reader.hang_up()
        server.close()


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What each send from a sheet took, in bytes."""
    sent: list[int] = []
    real = sheet.Sheet.send

    def send(self: sheet.Sheet, descriptor: int) -> int:
        sent.append(real(self, descriptor))
        return sent[-1]

    monkeypatch.setattr(sheet.Sheet, "send", send)
    return sent


@LOOPS
def test_a_large_pass_is_the_same_for_all_and_comes_between_the_small_ones(loop: Loop, sheets: list[int]) -> None:
    async def talk() -> None:
        room = Room()
        expected = b""
        async with crowd(room.outbox) as readers:
            before = descriptors()
            for text in ("small", "x" * 20_000, "y", "z" * 30_000, "end"):
                room.say(text)
                room.outbox.flush()
                expected += room.outbox.recent.after(room.seq - 1, 1 << 20)[0].data
            assert descriptors() == before
            for reader in readers:
                assert await reader.read(len(expected)) == expected

    run(loop, talk)
    assert sheets.count(max(sheets)) >= CROWD


@LOOPS
def test_one_that_does_not_read_gets_the_rest_later_and_in_order(loop: Loop, sheets: list[int]) -> None:
    async def talk() -> None:
        room = Room()
        expected = b""
        async with crowd(room.outbox) as readers:
            late, *others = readers
            while not late.session.waiting:
                expected += await pass_on(room, others)
            got = late.gulp()  # the socket has room again, and bytes that wait: what comes now must not overtake them
            expected += await pass_on(room, others)
            assert not late.session.behind
            assert got + await late.read(len(expected) - len(got)) == expected

    run(loop, talk)
    assert 0 < min(sheets) < max(sheets)


async def pass_on(room: Room, readers: list[Reader]) -> bytes:
    """One large pass, read by these; its bytes."""
    said = room.say(f"{room.seq:10}" * 2_000)
    room.outbox.flush()
    data = room.outbox.recent.after(said.seq - 1, 1 << 20)[0].data
    for reader in readers:
        assert await reader.read(len(data)) == data
    return data


@LOOPS
def test_one_that_hung_up_harms_nobody(loop: Loop) -> None:
    async def talk() -> None:
        room = Room()
        async with crowd(room.outbox) as readers:
            readers[0].hang_up()
            readers[1].session.transport.abort()
            for _ in range(3):
                await pass_on(room, readers[2:])

    run(loop, talk)


@pytest.mark.parametrize("missing", ["memory", "the call"])
async def test_without_such_memory_it_is_written_as_ever(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(name: str, flags: int) -> int:
        raise OSError(24, "Too many open files")

    if missing == "memory":
        monkeypatch.setattr(os, "memfd_create", refuse)
    else:
        monkeypatch.delattr(os, "memfd_create")
    room = Room()
    async with crowd(room.outbox) as readers:
        await pass_on(room, readers)


async def test_few_members_and_small_passes_need_no_sheet(monkeypatch: pytest.MonkeyPatch) -> None:
    laid: list[int] = []
    monkeypatch.setattr(sheet.Sheet, "__init__", lambda self, data: laid.append(len(data)))
    room = Room()
    async with crowd(room.outbox, 3):
        room.say("x" * 20_000)
        room.outbox.flush()
    assert sheet.sheet_of(b"x" * 100, 1000) is None
    assert not laid


def test_behind_tls_nothing_is_put_into_the_socket_past_the_encryption() -> None:
    connection = socket.socket()
    for secured in (None, object()):
        wire = Wire()
        wire.get_extra_info = {"socket": connection, "sslcontext": secured}.get  # type: ignore[method-assign, assignment]
        session = Session(ident="", name="", role="observer", room="main", transport=wire, view=MESSAGE)
        session.tune()
        assert session.descriptor == (connection.fileno() if secured is None else -1)
    connection.close()
