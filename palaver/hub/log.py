"""The log of a hub: what orders everything, and the archive of what was published. Interfaces only."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from palaver.core.entry import Entry
from palaver.core.message import Message
from palaver.core.protocol import Streamed

Read = Callable[[str, int, int], Awaitable[Sequence[tuple[int, Entry]]]]
"""`Log.read`: a room's entries above a position, about so many."""


class Listener(Protocol):
    """What a room's host gets to hear from the log, in the event loop's thread."""

    def take(self, entries: Sequence[tuple[int, Entry]]) -> None:
        """Entries in order, each with its position, once they are durable."""
        ...

    def refused(self, entries: Sequence[Entry], reason: str) -> None:
        """Entries that could not be made durable, and why."""
        ...

    def heard(self, frame: Streamed) -> None:
        """Text that a member of another hub streams."""
        ...


class Log(Protocol):
    """An append-only sequence of entries for each room. Positions of a room grow; they need not be contiguous."""

    async def open(self) -> None:
        """Make it ready; raises `LogUnavailable`."""
        ...

    def append(self, entry: Entry) -> None:
        """Hand an entry over, without waiting. Its room's listener gets it when it is durable."""
        ...

    def has_room(self) -> bool:
        """Whether fewer entries wait than the log wants to hold."""
        ...

    async def room_made(self) -> None:
        """Return once fewer entries wait than the log wants to hold: what a reader awaits before it reads on."""
        ...

    def tail(self, room: str, after: int, listener: Listener) -> None:
        """From now on, pass on what becomes durable in `room` above a position, also what other hubs append."""
        ...

    def tell(self, frame: Streamed) -> None:
        """Pass streamed text on to the room's listeners on other hubs, at once or never; it is not kept."""
        ...

    def is_alive(self, hub: str) -> bool:
        """Whether another hub works on this log, as far as this one has heard."""
        ...

    def untail(self, room: str) -> None:
        """Stop passing it on."""
        ...

    async def read(self, room: str, after: int, limit: int = 10_000) -> Sequence[tuple[int, Entry]]:
        """Entries with a position above `after`, in order; at least one unless there is none."""
        ...

    async def rooms(self) -> list[str]:
        """Every room that ever had an entry."""
        ...

    async def snapshot(self, room: str) -> bytes | None:
        """The last state saved for `room`."""
        ...

    def save_snapshot(self, room: str, position: int, state: bytes) -> None:
        """Keep a state as it was at a position, so that a restart need not read what came before it."""
        ...

    async def close(self) -> None:
        """Make everything durable that was handed over, then let go."""
        ...


class Archive(Protocol):
    """Published messages by `seq`, for those who missed some. It can always be made again from the log."""

    def record(self, room: str, messages: Sequence[tuple[int, bytes]]) -> None:
        """Keep published messages (`seq` and JSON), in order. The same `seq` again replaces: it was redacted."""
        ...

    async def kept(self, room: str, after: int) -> int:
        """Up to which `seq` it has every message above `after` now, and can read it; it looks at all of them."""
        ...

    async def messages(self, room: str, after: int, limit: int) -> list[Message]:
        """Messages with a `seq` above `after`, in order, at most about `limit`."""
        ...
