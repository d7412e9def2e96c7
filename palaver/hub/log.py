"""The log of a hub: what orders everything, and the archive of what was published. Interfaces only."""

from collections.abc import Callable, Sequence
from typing import Protocol

from palaver.core.entry import Entry
from palaver.core.message import Message

Tail = Callable[[Sequence[tuple[int, Entry]]], None]
"""Gets entries in order, each with its position, in the event loop's thread, once they are durable."""

Refusal = Callable[[Sequence[Entry], str], None]
"""Gets entries that could not be made durable, and why."""


class Log(Protocol):
    """An append-only sequence of entries for each room. Positions of a room grow; they need not be contiguous."""

    async def open(self) -> None:
        """Make it ready; raises `LogUnavailable`."""
        ...

    def append(self, entry: Entry) -> None:
        """Hand an entry over, without waiting. It comes back through its room's tail when it is durable."""
        ...

    async def room_made(self) -> None:
        """Return once fewer entries wait than the log wants to hold: what a reader awaits before it reads on."""
        ...

    def tail(self, room: str, take: Tail, refused: Refusal) -> None:
        """From now on, pass on what becomes durable in `room`, also what other hubs append."""
        ...

    def untail(self, room: str) -> None:
        """Stop passing it on."""
        ...

    async def read(self, room: str, after: int, limit: int = 10_000) -> list[tuple[int, Entry]]:
        """Entries with a position above `after`, in order; at least one unless there is none."""
        ...

    async def rooms(self) -> list[str]:
        """Every room that ever had an entry."""
        ...

    async def snapshot(self, room: str) -> bytes | None:
        """The last state saved for `room`."""
        ...

    def save_snapshot(self, room: str, state: bytes) -> None:
        """Keep a state, so that a restart need not read what came before it."""
        ...

    async def close(self) -> None:
        """Make everything durable that was handed over, then let go."""
        ...


class Archive(Protocol):
    """Published messages by `seq`, for those who missed some. It can always be made again from the log."""

    def record(self, room: str, messages: Sequence[tuple[int, bytes]]) -> None:
        """Keep published messages (`seq` and JSON), in order. The same `seq` again replaces: it was redacted."""
        ...

    async def messages(self, room: str, after: int, limit: int) -> list[Message]:
        """Messages with a `seq` above `after`, in order, at most about `limit`."""
        ...
