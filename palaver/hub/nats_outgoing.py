"""Entries on their way into JetStream: blocks that are kept until the server has confirmed them.

All entries of a room that are handed over in one pass of the event loop travel as one message. What was sent and not
confirmed when a connection broke has an unknown fate: it is sent again, in its order and under its `Nats-Msg-Id`, once
the room's log has been read to its end, and answered only then.
"""

import asyncio
import json
import logging
import secrets
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from palaver.core.entry import Entry, encode_entry
from palaver.hub.nats_broker import Broker

if TYPE_CHECKING:
    from nats.aio.msg import Msg

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 2048
"""Entries handed over but not confirmed, above which readers are asked to wait."""
MOST_BYTES: Final = 512 * 1024
"""The same in bytes; no block is larger unless a single entry is (a server takes 1 MiB)."""
HEADERS: Final = 1024
"""Bytes of a message that are not the block."""
NOBODY: Final = "no server keeps this log at present"
UNCONFIRMED: Final = 10.0
"""Seconds without a confirmation after which a connection is given up."""


class Block:
    """Entries of one room, as one message."""

    __slots__ = ("body", "entries", "number", "room", "sent_at")

    def __init__(self, number: int, room: str, entries: list[Entry], body: bytes) -> None:
        self.number = number
        self.room = room
        self.entries = entries
        self.body = body
        self.sent_at = time.monotonic()


class Outgoing:
    """Blocks not yet confirmed, oldest first. `on_confirmed` gets seconds and entries, `on_refused` entries and why."""

    def __init__(
        self,
        broker: Broker,
        subject: Callable[[str], str],
        *,
        on_confirmed: Callable[[float, int], None],
        on_refused: Callable[[str, list[Entry], str], None],
    ) -> None:
        self._broker = broker
        self._subject = subject
        self._on_confirmed = on_confirmed
        self._on_refused = on_refused
        self._life = secrets.token_hex(6)
        self._count = 0
        self._inbox = ""
        self._blocks: dict[int, Block] = {}
        self._to_send: asyncio.Queue[Block] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._waiting = self._bytes = 0
        self._room = asyncio.Event()
        self._room.set()
        self._empty = asyncio.Event()
        self._empty.set()

    def put(self, room: str, entries: Sequence[Entry]) -> None:
        """Send these, in one block or, where they are many, in several."""
        start, size = 0, 0
        lines = [encode_entry(entry) for entry in entries]
        for place, line in enumerate(lines):
            if size and size + len(line) > MOST_BYTES:
                self._put(room, list(entries[start:place]), b"\n".join(lines[start:place]))
                start, size = place, 0
            size += len(line) + 1
        self._put(room, list(entries[start:]), b"\n".join(lines[start:]))

    def _put(self, room: str, entries: list[Entry], body: bytes) -> None:
        self._count += 1
        block = self._blocks[self._count] = Block(self._count, room, entries, body)
        self._empty.clear()
        self._waiting += len(entries)
        self._bytes += len(body)
        if self._waiting >= MOST_WAITING or self._bytes >= MOST_BYTES:
            self._room.clear()
        self._to_send.put_nowait(block)

    def has_room(self) -> bool:
        """Whether no more waits than should."""
        return self._room.is_set()

    async def room_made(self) -> None:
        """Return at once unless too much waits."""
        if not self._room.is_set():
            await self._room.wait()

    async def drained(self) -> None:
        """Return once everything is confirmed or refused."""
        await self._empty.wait()

    # --- one connection after the other ------------------------------------------------------------------------------

    async def open(self) -> None:
        """A new connection: hear its confirmations."""
        self._inbox = f"_INBOX.palaver.{secrets.token_hex(8)}"
        await self._broker.subscribe(f"{self._inbox}.*", self._hear)

    async def send_again(self) -> None:
        """Send all that is not confirmed, in order, and go on with what comes."""
        self._to_send = asyncio.Queue()
        for block in self._blocks.values():
            self._to_send.put_nowait(block)
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._send()), loop.create_task(self._look_after())]

    def close(self) -> None:
        """The connection has ended."""
        for task in self._tasks:
            task.cancel()
        self._tasks = []

    async def _send(self) -> None:
        while True:
            block = await self._to_send.get()
            if len(block.body) + HEADERS > self._broker.client.max_payload:
                self._refuse(block, f"{len(block.body)} bytes are more than the server takes in one message")
            elif block.number in self._blocks:
                block.sent_at = time.monotonic()
                await self._broker.publish(
                    self._subject(block.room),
                    block.body,
                    reply=f"{self._inbox}.{block.number}",
                    headers={"Nats-Msg-Id": f"{self._life}.{block.number}"},
                )

    async def _look_after(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            oldest = next(iter(self._blocks.values()), None)
            if oldest is not None and time.monotonic() - oldest.sent_at > UNCONFIRMED:
                self._broker.lose(f"nothing was confirmed for {UNCONFIRMED:.0f} s")

    # --- what became of them -----------------------------------------------------------------------------------------

    async def _hear(self, message: "Msg") -> None:
        block = self._blocks.get(int(message.subject.rpartition(".")[2]))
        if block is None:
            return
        if (message.headers or {}).get("Status") == "503":
            self._refuse(block, NOBODY)
            self._broker.lose(NOBODY)  # what went before has an unknown fate: it is sent again before anything else is
            return
        answer = json.loads(message.data)
        error = answer.get("error")
        if error is None:
            self._confirm(block)
        elif "duplicate" in str(error.get("description")):
            logger.info("log: %s is being written: it will be asked for again", block.number)
        else:
            self._refuse(block, str(error.get("description") or error))

    def forbidden(self, text: str) -> None:
        """The server says (nats-py: in small letters) that we may not publish somewhere."""
        for block in list(self._blocks.values()):
            if f'"{self._subject(block.room).lower()}"' in text.lower():
                self._refuse(block, text)

    def led_anew(self) -> None:
        """A cluster has another leader: what the last one had not confirmed has an unknown fate."""
        if self._blocks:
            self._broker.lose("another server leads the log now")

    def seen(self, ident: str) -> None:
        """A block has come back from the log: it is there, whatever became of its confirmation."""
        life, _, number = ident.partition(".")
        if life == self._life and (block := self._blocks.get(int(number))) is not None:
            self._confirm(block)

    def _confirm(self, block: Block) -> None:
        self._forget(block)
        self._on_confirmed(time.monotonic() - block.sent_at, len(block.entries))

    def _refuse(self, block: Block, reason: str) -> None:
        self._forget(block)
        logger.error("log: %d entries of room %s were refused: %s", len(block.entries), block.room, reason)
        self._on_refused(block.room, block.entries, reason)

    def _forget(self, block: Block) -> None:
        del self._blocks[block.number]
        self._waiting -= len(block.entries)
        self._bytes -= len(block.body)
        if self._waiting < MOST_WAITING // 2 and self._bytes < MOST_BYTES // 2:
            self._room.set()
        if not self._blocks:
            self._empty.set()
