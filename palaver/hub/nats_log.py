"""The log of several hubs, on NATS JetStream: one subject for each room, an ordered consumer for each open one.

A stream holds the entries, another the snapshots. What was published is kept by each hub for itself (a SQLite file):
it is made from the log, so it need not travel. A position is a message's number in the stream and the entry's place in
the message.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from palaver.core.entry import Entry, decode_entry
from palaver.core.errors import ConfigError, LogUnavailable, ProtocolError
from palaver.core.message import Message
from palaver.core.protocol import Streamed, decode_hub, encode
from palaver.hub.log import Listener
from palaver.hub.nats_access import Access
from palaver.hub.nats_archive import NatsArchive
from palaver.hub.nats_broker import Broker
from palaver.hub.nats_follower import Follower, Followers
from palaver.hub.nats_outgoing import Outgoing
from palaver.hub.nats_streams import NAME, Names, make_streams, parse, room_of
from palaver.hub.peers import LEASE, Peers

if TYPE_CHECKING:
    from nats.aio.msg import Msg

logger = logging.getLogger(__name__)

PLACES: Final = 1 << 16
"""Entries of one message that a position can tell apart."""
READ: Final = 60.0
"""Seconds that one reading of the log may take."""
GOODBYE: Final = 5.0
"""Seconds that closing waits for the last confirmations."""


class _Tail:
    """An open room: who listens, and up to where it has heard."""

    def __init__(self, after: int, listener: Listener) -> None:
        self.after = after
        self.listener = listener
        self.follower: Follower | None = None


class NatsLog:
    """`Log` and `Archive` of the hub called `hub`; `folder` is where it keeps its archive (`None`: in memory).

    `servers` are URLs separated by commas; the path of the first, `nats://host/NAME`, names the log (`palaver`
    without one), so that several logs can share a server. A log has at least `replicas` copies in a cluster; one that
    is not there is made, unless `make` is false.
    """

    def __init__(
        self,
        servers: str,
        *,
        hub: str,
        folder: Path | None = None,
        on_commit: Callable[[float, int], None] = lambda seconds, entries: None,
        lease: float = LEASE,
        replicas: int = 0,
        access: Access | None = None,
        make: bool = True,
    ) -> None:
        access = access or Access()
        access.check()
        urls, name = parse(servers)
        if not NAME.fullmatch(hub):
            raise ConfigError(f"hub name {hub!r} must be 1 to 64 letters, digits, - or _")
        self._folder, self._name, self._names = folder, name, Names(name)
        self._replicas, self._make = replicas, make
        self._broker = Broker(
            urls, hub, on_up=self._made_up, on_down=self._lost, on_forbidden=self._forbidden, access=access
        )
        self._followers = Followers(self._broker)
        self._outgoing = Outgoing(self._broker, self._names.entries, on_confirmed=on_commit, on_refused=self._refused)
        self._peers = Peers(self._broker, self._names.hubs, hub, lease)
        self._tails: dict[str, _Tail] = {}
        self._handed: dict[str, list[Entry]] = {}
        self._telling: list[Streamed] = []
        self._flushing = False
        self._can_follow = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._archive: NatsArchive
        self._identity = ""

    # --- its life ----------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Connect and make what is missing; raises `LogUnavailable`, also where another hub has our name."""
        self._loop = asyncio.get_running_loop()
        await self._broker.open()
        try:
            folder = None if self._folder is None else self._folder / f"{self._name}-{self._identity}"
            self._archive = NatsArchive(self._broker, self._followers, self._names, self.read, folder)
            await self._archive.open()
        except BaseException:
            await self._close_connection()
            raise

    async def close(self) -> None:
        """Wait for the last confirmations, then let go."""
        self._flush()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE if self._broker.is_up else 0.1):
                await self._outgoing.drained()
                await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._archive.close()
        await self._close_connection()

    async def _close_connection(self) -> None:
        self._quiet()
        await self._broker.close()

    async def _made_up(self) -> None:
        """A new connection: hear all that is to be heard, read what was missed, then send what is not confirmed."""
        await self._peers.open()
        self._check(*await make_streams(self._broker, self._names, self._replicas, make=self._make))
        await self._followers.open()
        await self._outgoing.open()
        await self._broker.subscribe(self._names.texts, self._hear_text)
        await self._broker.subscribe(self._names.elections, self._hear_election)
        self._can_follow = True  # rooms that are opened from here on follow by themselves
        followed = await asyncio.gather(*(self._follow(room, tail) for room, tail in self._tails.items()))
        for follower in followed:
            await follower.caught_up.wait()
        await self._outgoing.send_again()

    def _check(self, identity: str, last: int) -> None:
        """Rooms that we hold must be of this very log, and it must still have what we have heard of it."""
        known = max((tail.after // PLACES for tail in self._tails.values()), default=0)
        if self._identity not in ("", identity) or last < known:
            raise LogUnavailable("the server has another log than before: restart this hub, its rooms are of the old")
        self._identity = identity

    def _lost(self) -> None:
        """The connection is gone: what was handed over and not sent is refused, what was sent is kept."""
        self._quiet()
        for tail in self._tails.values():
            tail.follower = None

    def _quiet(self) -> None:
        self._can_follow = False
        self._followers.close()
        self._outgoing.close()
        self._peers.close()

    # --- entries in --------------------------------------------------------------------------------------------------

    def append(self, entry: Entry) -> None:
        """Hand an entry over; all of one pass of the loop travel together. Without a connection it is refused."""
        self._handed.setdefault(entry.room, []).append(entry)
        self._schedule()

    def tell(self, frame: Streamed) -> None:
        """Pass streamed text on, where there is anybody to hear it."""
        if self._peers.are_there():
            self._telling.append(frame)
            self._schedule()

    def _schedule(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        handed, self._handed = self._handed, {}
        telling, self._telling = self._telling, []
        for room, entries in handed.items():
            if self._broker.is_up:
                self._outgoing.put(room, entries)
            else:
                self._refused(room, entries, self._broker.why)
        if telling and self._broker.is_up:
            self._spawn(self._tell(telling))

    async def _tell(self, frames: Sequence[Streamed]) -> None:
        for frame in frames:
            await self._broker.publish(self._names.text(frame.room), encode(frame))

    def _refused(self, room: str, entries: list[Entry], reason: str) -> None:
        if (tail := self._tails.get(room)) is not None:
            tail.listener.refused(entries, reason)

    def has_room(self) -> bool:
        """Whether readers need not wait."""
        return self._outgoing.has_room()

    async def room_made(self) -> None:
        """Return at once unless too much waits for its confirmation."""
        await self._outgoing.room_made()

    # --- entries out -------------------------------------------------------------------------------------------------

    def tail(self, room: str, after: int, listener: Listener) -> None:
        """From now on, pass on what becomes durable in `room` above a position."""
        tail = self._tails[room] = _Tail(after, listener)
        if self._can_follow:
            self._spawn(self._follow_or_lose(room, tail))

    def untail(self, room: str) -> None:
        """Stop passing it on."""
        tail = self._tails.pop(room, None)
        if tail is not None and tail.follower is not None:
            self._followers.stop(tail.follower)

    async def _follow_or_lose(self, room: str, tail: _Tail) -> None:
        try:
            await self._follow(room, tail)
        except LogUnavailable as error:
            if self._can_follow:  # else the connection is lost already, and the next one follows all rooms
                self._broker.lose(str(error))

    async def _follow(self, room: str, tail: _Tail) -> Follower:
        def take(number: int, message: "Msg") -> None:
            entries = [(position, entry) for position, entry in _entries(number, message) if position > tail.after]
            if ident := (message.headers or {}).get("Nats-Msg-Id"):
                self._outgoing.seen(ident)
            if entries:
                tail.after = entries[-1][0]
                tail.listener.take(entries)

        first = max(1, tail.after // PLACES)
        follower = await self._followers.follow(self._names.log, self._names.entries(room), first, take)
        tail.follower = follower
        return follower

    async def read(self, room: str, after: int, limit: int = 10_000) -> list[tuple[int, Entry]]:
        """Entries above `after`, whole messages, in order."""
        found: list[tuple[int, Entry]] = []

        def take(number: int, message: "Msg") -> bool:
            found.extend((position, entry) for position, entry in _entries(number, message) if position > after)
            return len(found) < limit

        await self._followers.gather(self._names.log, self._names.entries(room), max(1, after // PLACES), take)
        return found

    async def rooms(self) -> list[str]:
        """Every room that ever had an entry."""
        info = await self._broker.ask(self._broker.jetstream.stream_info(self._names.log, self._names.all_entries))
        return sorted(room_of(subject.rpartition(".")[2]) for subject in info.state.subjects or {})

    # --- snapshots ---------------------------------------------------------------------------------------------------

    async def snapshot(self, room: str) -> bytes | None:
        """The latest state that any hub saved for `room`, or this one in its own archive."""
        return await self._archive.latest(room)

    def save_snapshot(self, room: str, position: int, state: bytes) -> None:
        """Keep a state, for every hub. Whoever comes last writes none that is older."""
        self._archive.keep(room, position, state)
        if self._broker.is_up:
            self._spawn(self._archive.share(room, position, state))

    # --- what was published ------------------------------------------------------------------------------------------

    def record(self, room: str, messages: Sequence[tuple[int, bytes]]) -> None:
        """Keep published messages in this hub's archive."""
        self._archive.record(room, messages)

    async def kept(self, room: str, after: int) -> int:
        """Up to which `seq` this hub's archive has every message above `after`."""
        return await self._archive.kept(room, after)

    async def messages(self, room: str, after: int, limit: int) -> list[Message]:
        """Published messages above `after`, in order."""
        return await self._archive.messages(room, after, limit)

    # --- other hubs --------------------------------------------------------------------------------------------------

    def is_alive(self, hub: str) -> bool:
        """Whether another hub was heard of within its lease."""
        return self._peers.is_alive(hub)

    async def _hear_election(self, message: "Msg") -> None:
        self._outgoing.led_anew()

    def _forbidden(self, text: str) -> None:
        self._outgoing.forbidden(text)

    async def _hear_text(self, message: "Msg") -> None:
        tail = self._tails.get(room_of(message.subject.rpartition(".")[2]))
        if tail is None:
            return
        with contextlib.suppress(ProtocolError):  # a newer hub's
            frame = decode_hub(message.data)
            if isinstance(frame, Streamed):
                tail.listener.heard(frame)

    def _spawn(self, work: Any) -> None:
        task: asyncio.Task[None] = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _entries(number: int, message: "Msg") -> list[tuple[int, Entry]]:
    """The entries of a message with their positions; what no hub of ours can have written is left out."""
    found = []
    for place, line in enumerate(message.data.split(b"\n")):
        try:
            found.append((number * PLACES + place, decode_entry(line)))
        except ProtocolError as error:
            logger.error("log: message %d of %s is left out: %s", number, message.subject, error)
    return found
