"""A TCP proxy between members and a hub that does on purpose what networks do: delay, cut, freeze, double, reorder.

It knows of websocket frames only where they end, so that a member's frame can be sent twice.
"""

import asyncio
import contextlib
import random
import socket
import struct
from collections.abc import Callable
from typing import Final, Self

CHUNK: Final = 65536
TEXT: Final = 0x81
RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER: closing sends a reset and drops whatever is on its way."""


class Wire:
    """One member's connection through the proxy; both of its ends are open until a fault or a peer closes them."""

    def __init__(self, dice: random.Random, doubles: float) -> None:
        self._dice, self._doubles = dice, doubles
        self.delay = 0.0
        """Seconds that each piece of either direction waits."""
        self.tearing = False
        """The next piece to the member is cut in the middle, and the connection with it."""
        self.doubled = 0
        self._deaf = False
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._member: asyncio.StreamWriter | None = None
        self._hub: asyncio.StreamWriter | None = None
        self._upgraded = False
        self._unsent = bytearray()

    @property
    def is_open(self) -> bool:
        """Whether the member's end is."""
        return self._member is not None and not self._member.is_closing()

    # --- faults --------------------------------------------------------------------------------------------------

    def freeze(self) -> None:
        """Half open: nothing is passed on any more, and nobody is told."""
        self._flowing.clear()

    def deafen(self) -> None:
        """The member hears nothing more; what it says still gets to the hub."""
        self._deaf = True

    def thaw(self) -> None:
        """Pass on what was kept, and what comes."""
        self._flowing.set()

    def cut(self, *, reset: bool) -> None:
        """End both ends, by RST or FIN, without a word of websocket."""
        self.cut_member(reset=reset)
        _end(self._hub, reset=reset)
        self._flowing.set()

    def cut_member(self, *, reset: bool) -> None:
        """End the member's end only: the hub still believes in the connection, and gets what is kept when it thaws."""
        _end(self._member, reset=reset)

    # --- passing on ----------------------------------------------------------------------------------------------

    async def run(self, member: tuple[asyncio.StreamReader, asyncio.StreamWriter], port: int) -> None:
        """Pass on until both directions have ended."""
        reader, self._member = member
        try:
            hub_reader, self._hub = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            _end(self._member, reset=True)
            return
        up = asyncio.create_task(self._pass_up(reader))
        down = asyncio.create_task(self._pass_down(hub_reader))
        try:
            await asyncio.gather(up, down)
        finally:
            for task in (up, down):
                task.cancel()
            await asyncio.gather(up, down, return_exceptions=True)
            self.cut(reset=True)

    async def _pass_up(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                self._unsent += data
                await self._wait()
                await self._write_frames()
        with contextlib.suppress(OSError):
            await self._flowing.wait()
            await self._write_frames()
        _end(self._hub, reset=False)

    async def _write_frames(self) -> None:
        assert self._hub is not None
        while size := self._next_unit():
            unit = bytes(self._unsent[:size])
            del self._unsent[:size]
            self._hub.write(unit)
            if unit[0] == TEXT and self._dice.random() < self._doubles:
                self._hub.write(unit)
                self.doubled += 1
        await self._hub.drain()

    def _next_unit(self) -> int:
        """Size of the whole handshake or frame that begins what is unsent; 0 while it is incomplete."""
        if not self._upgraded:
            size = self._unsent.find(b"\r\n\r\n") + 4
            self._upgraded = size > 3
            return size if self._upgraded else 0
        return frame_size(self._unsent)

    async def _pass_down(self, reader: asyncio.StreamReader) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(CHUNK):
                await self._wait()
                if self._deaf or self._member is None or self._member.is_closing():
                    continue  # the member is gone: the hub does not know it yet
                if self.tearing:
                    self._member.write(data[: self._dice.randrange(len(data))])
                    await self._member.drain()
                    self.cut(reset=self._dice.random() < 0.5)
                    return
                self._member.write(data)
                await self._member.drain()
        await self._flowing.wait()
        _end(self._member, reset=False)

    async def _wait(self) -> None:
        if self.delay:
            await asyncio.sleep(self.delay)
        await self._flowing.wait()


def frame_size(data: bytes | bytearray) -> int:
    """Size of the client's websocket frame at the start of `data` (RFC 6455, 5.2); 0 while it is incomplete."""
    if len(data) < 2:
        return 0
    size, head = data[1] & 0x7F, 6
    if size >= 126:
        width = 2 if size == 126 else 8
        if len(data) < 2 + width:
            return 0
        size, head = int.from_bytes(data[2 : 2 + width], "big"), head + width
    return head + size if len(data) >= head + size else 0


def _end(writer: asyncio.StreamWriter | None, *, reset: bool) -> None:
    if writer is None:
        return
    if reset:
        with contextlib.suppress(OSError):
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        writer.transport.abort()
    else:
        writer.close()


class FaultyProxy:
    """Listens on a free port of this machine. `port_of_hub` is asked anew for every connection, `doubles` is the share
    of the member's frames that are sent twice; with `frozen` nothing passes until it is healed."""

    def __init__(
        self, port_of_hub: Callable[[], int], dice: random.Random, *, doubles: float = 0.0, frozen: bool = False
    ) -> None:
        self._port_of_hub, self._dice, self._doubles, self._frozen = port_of_hub, dice, doubles, frozen
        self.taken = asyncio.Event()
        """Somebody has connected."""
        self._server: asyncio.Server | None = None
        self._running: set[asyncio.Task[None]] = set()
        self.wires: list[Wire] = []
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._take, "127.0.0.1", 0)
        self.url = f"ws://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        for wire in self.wires:
            wire.cut(reset=True)
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = Wire(self._dice, self._doubles)
        self.wires.append(wire)
        self.taken.set()
        if self._frozen:
            wire.freeze()
        task = asyncio.get_running_loop().create_task(wire.run((reader, writer), self._port_of_hub()))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    @property
    def newest(self) -> Wire | None:
        """The member's connection of now, where it has one."""
        return self.wires[-1] if self.wires and self.wires[-1].is_open else None

    @property
    def doubled(self) -> int:
        """Frames that were sent twice."""
        return sum(wire.doubled for wire in self.wires)

    def heal(self) -> None:
        """No more delays, nothing frozen, nothing doubled."""
        self._doubles, self._frozen = 0.0, False
        for wire in self.wires:
            wire.delay, wire.tearing = 0.0, False
            wire.thaw()
