"""The hub: rooms by name, sessions in them, frames in from members. It knows no websocket."""

import asyncio
import logging
import math
import time
from collections.abc import Callable
from typing import Final

import msgspec

from palaver.core.entry import HubStarted, Joined
from palaver.core.errors import LogUnavailable, ProtocolError
from palaver.core.limits import Limits
from palaver.core.message import timestamp
from palaver.core.notices import nack
from palaver.core.protocol import (
    Close,
    Command,
    Delta,
    Error,
    Join,
    Leave,
    MemberFrame,
    Say,
    decode_member,
)
from palaver.core.state import RoomState, copy_of, decode_state
from palaver.hub.audit import AuditLog
from palaver.hub.clock import SteadyClock
from palaver.hub.host import Refused, RoomHost
from palaver.hub.legacy import decode_words
from palaver.hub.limits import BURST, PIECE, Bucket
from palaver.hub.log import Archive, Log
from palaver.hub.metrics import Metrics
from palaver.hub.replaying import replay
from palaver.hub.session import PING, Session
from palaver.hub.transcripts import Transcripts

logger = logging.getLogger(__name__)

SWEEP: Final = 0.1
"""Seconds between two looks at members that are behind."""
LOST_SWEEPS: Final = 10
"""Every so many sweeps (1 s), hubs that are not heard of any more are looked for."""
PING_SWEEPS: Final = 200
"""A member that was written nothing for so many sweeps (20 s) is pinged: proxies stay open, dead peers are noticed."""
EXPIRY_SWEEPS: Final = 5
"""Sweeps between two looks at tokens that end: a member stays half a second longer than its token at most."""
_OURS: Final = ("by", "command", "sent_as")
"""What says in `meta` that a moderator wrote a message in somebody's name; of a member it would be a claim."""


class Hub:
    """Rooms on one log. Nothing here waits for a member.

    `history` is how many past messages a newcomer gets, `max_rooms` how many rooms may be open. `clock` is the wall's:
    tokens end by it; rooms go by a `SteadyClock`.
    """

    def __init__(
        self,
        *,
        log: Log,
        archive: Archive,
        name: str = "hub",
        transcripts: Transcripts | None = None,
        metrics: Metrics | None = None,
        clock: Callable[[], float] = time.time,
        history: int = 50,
        max_rooms: int = 1000,
        limits: Limits | None = None,
        audit: AuditLog | None = None,
        defaults: Callable[[RoomState], None] = lambda state: None,
        seed: Callable[[], int] = lambda: time.time_ns(),
    ) -> None:
        self.name = name
        self.metrics = metrics or Metrics()
        self.limits = limits or Limits()
        self.rooms: dict[str, RoomHost] = {}
        self._log = log
        self.has_room = log.has_room
        """Whether the log has no more to do than it should."""
        self._archive = archive
        self._transcripts = transcripts
        self._clock = clock
        self._time = SteadyClock(clock)
        self._history = history
        self._max_rooms = max_rooms
        self._audit = audit
        self._defaults = defaults
        self._seed = seed
        self._opening: dict[str, asyncio.Task[RoomHost]] = {}
        self._sweeping: asyncio.Task[None] | None = None
        self._sweeps = 0
        self._expiring: set[Session] = set()

    async def open(self) -> None:
        """Open the log; raises `LogUnavailable`, or `ConfigError` for an audit log that cannot be written."""
        if self._audit is not None:
            self._audit.open()
        await self._log.open()
        self.metrics.waiting_bytes(self._waiting_bytes)
        self._sweeping = asyncio.get_running_loop().create_task(self._sweep_for_ever())

    async def close(self) -> None:
        """Keep a snapshot of every room and make the log durable."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            await asyncio.gather(self._sweeping, return_exceptions=True)
        for host in self.rooms.values():
            await host.close()
        if self._transcripts is not None:
            await self._transcripts.settled()
        await self._log.close()
        if self._transcripts is not None:
            await self._transcripts.close()
        if self._audit is not None:
            await self._audit.close()

    def _waiting_bytes(self) -> float:
        return sum(session.waiting for host in self.rooms.values() for session in host.outbox.sessions.values())

    # --- rooms ---------------------------------------------------------------------------------------------------

    async def room(self, name: str) -> RoomHost:
        """The room under that name, brought back from the log if need be; raises `Refused`."""
        if name in self.rooms:
            return self.rooms[name]
        if name not in self._opening:
            if len(self.rooms) + len(self._opening) >= self._max_rooms:
                raise Refused(Close.ACCESS_DENIED, f"this hub has {self._max_rooms} rooms open and opens no more")
            task = asyncio.get_running_loop().create_task(self._open_room(name))
            self._opening[name] = task
            task.add_done_callback(lambda _: self._opening.pop(name, None))
        return await asyncio.shield(self._opening[name])

    async def _open_room(self, name: str) -> RoomHost:
        try:
            return await self._opened(name)
        except LogUnavailable as error:
            logger.error("room %s cannot be opened: %s", name, error)
            raise LogUnavailable(f"room {name!r} cannot be opened at present; the hub's own log says why") from error

    async def _opened(self, name: str) -> RoomHost:
        state = await self._restored(name)
        host = RoomHost(
            state,
            hub=self.name,
            log=self._log,
            archive=self._archive,
            clock=self._time,
            metrics=self.metrics,
            transcripts=self._transcripts,
            on_cut=self._cut,
            audit=self._audit,
        )
        if self._transcripts is not None:
            await self._transcripts.open(name, lambda after, limit: self._archive.messages(name, after, limit))
        self._log.tail(name, state.applied, host)
        if any(member.hub == self.name for member in state.members.values()):
            self._log.append(host.entry(None, HubStarted(hub=self.name)))
        self.rooms[name] = host
        return host

    async def _restored(self, name: str) -> RoomState:
        """The room's state from its snapshot and what the log holds since; the archive is brought up to it.

        Raises `LogUnavailable` where that is less than was said: whoever heard the rest would not hear what follows.
        Messages that the archive has are not made again.
        """
        started = time.perf_counter()
        state = self._state_of(name, await self._log.snapshot(name))
        kept = await self._archive.kept(name, state.seq)
        replayed = 0
        async for entries, published in replay(self._log.read, state, kept=kept):
            self._archive.record(name, published)
            replayed += entries
        if state.seq < kept:
            raise LogUnavailable(
                f"its log makes {state.seq} messages under this version's rules, but message {kept} was said: "
                "start the version of Palaver that wrote it once more and stop it: this one goes on from there"
            )
        if replayed:
            logger.info("room %s: %d entries replayed in %.2f s", name, replayed, time.perf_counter() - started)
        return state

    def _state_of(self, name: str, saved: bytes | None) -> RoomState:
        """The state that a snapshot holds; one of another version is left aside, the log makes the room again."""
        if saved is not None:
            try:
                return decode_state(saved)
            except ValueError as error:
                logger.warning("room %s: the snapshot cannot be read, replaying the whole log: %s", name, error)
        state = RoomState(name=name)
        self._defaults(state)
        return state

    # --- members -------------------------------------------------------------------------------------------------

    async def join(self, session: Session, join: Join) -> RoomHost:
        """Seat a session; raises `Refused`."""
        host = await self.room(join.room)
        if self.limits.frames:
            session.pace = Bucket(self.limits.frames, BURST * self.limits.frames, time.monotonic())
        opening = None if host.state.opened else copy_of(host.state.floor)
        seed = self._seed() & (2**63 - 1)
        joined = Joined(
            hub=self.name,
            ready=join.ready,
            about=join.about,
            seed=seed,
            opening=opening,
            settings=join.settings,
        )
        await host.seat(session, joined, join.after, self._history)
        if session.expires < math.inf:
            self._expiring.add(session)
        self.metrics.connected.labels(session.role).inc()
        logger.info("%s joined %s as %s", session.name, session.room, session.role)
        return host

    def leave(self, host: RoomHost, session: Session, reason: str) -> None:
        """The connection of a seated session has ended."""
        self._expiring.discard(session)
        self.metrics.connected.labels(session.role).dec()
        host.unseat(session, reason)
        logger.info("%s left %s: %s", session.name, session.room, reason)

    def receive(self, host: RoomHost, session: Session, raw: bytes) -> Leave | None:
        """A frame from a member; bad ones are answered. A `leave` comes back: the connection is to be closed."""
        try:
            frame = decode_words(raw, session.name) if session.legacy else decode_member(raw)
        except ProtocolError as error:
            self.metrics.errors.inc()
            told = Error(room=session.room, timestamp=timestamp(host.now()), code="bad_frame", reason=str(error))
            if self._in_pace(host, session, None, len(raw)):
                host.outbox.reply(session, told)
            return None
        if session.pace is not None and not self._in_pace(host, session, frame, len(raw)):
            return None
        if isinstance(frame, Say):  # as nearly always
            claims = frame.meta is not None and not frame.meta.keys().isdisjoint(_OURS)
            host.receive(session, _without_ours(frame) if claims else frame)
        elif isinstance(frame, Delta):
            host.stream(session, frame)
        elif isinstance(frame, Leave):
            return frame
        else:
            host.receive(session, frame)
        return None

    def _in_pace(self, host: RoomHost, session: Session, frame: MemberFrame | None, size: int) -> bool:
        """Whether a frame may be taken; one that comes too fast is answered, and a flood ends the connection."""
        pace = session.pace
        if pace is None or isinstance(frame, Leave):
            return True
        cost = 1.0 + size // PIECE
        wait = pace.take(time.monotonic(), cost / 10 if isinstance(frame, Delta) else cost)
        if not wait:
            return True
        self.metrics.nack("rate_limited")
        if 0 < self.limits.refusals < pace.refused:
            self._cut(session, Close.FLOOD, f"more than {self.limits.frames:g} frames a second, again and again")
        elif isinstance(frame, Say | Command):
            reason = f"more than {self.limits.frames:g} frames a second"
            host.outbox.reply(session, nack(host.state, frame.id, "rate_limited", reason, wait, now=host.now()))
        elif not isinstance(frame, Delta):
            reason = f"more than {self.limits.frames:g} frames a second; come again in {wait:.2f} s"
            told = Error(room=session.room, timestamp=timestamp(host.now()), code="rate_limited", reason=reason)
            host.outbox.reply(session, told)
        return False

    async def flow(self) -> None:
        """Wait while the log has more to do than it should: what a reader awaits before it reads on."""
        await self._log.room_made()

    # --- sweeping ------------------------------------------------------------------------------------------------

    async def _sweep_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SWEEP)
            self._sweeps += 1
            if self._sweeps % EXPIRY_SWEEPS == 0:
                self._end_expired()
            for host in list(self.rooms.values()):
                for session, reason in host.catching_up.sweep():
                    self.metrics.slow.inc()
                    self._cut(session, Close.SLOW, reason)
                if self._sweeps % LOST_SWEEPS == 0:
                    host.look_for_lost()
                if self._sweeps % PING_SWEEPS == 0:
                    _ping(host)

    def _end_expired(self) -> None:
        """Send away whose tokens have come to their end: one look at all of them, no task for each."""
        now = self._clock()
        for session in [session for session in self._expiring if session.expires <= now]:
            self._expiring.discard(session)
            self._cut(session, Close.TOKEN_EXPIRED, "your token has expired: get a new one and join again")

    def _cut(self, session: Session, code: Close, reason: str) -> None:
        """End a connection: slow ones by reset; others are closed with this code, after all that was said to them."""
        logger.info("%s is cut from %s: %s", session.name, session.room, reason)
        if code is Close.SLOW:
            session.cut(code, reason)
        else:
            self.rooms[session.room].outbox.flush()
            session.end(code, reason)


def _ping(host: RoomHost) -> None:
    for session in host.outbox.sessions.values():
        if session.quiet_sweeps and not session.waiting:
            session.write(PING)
        session.quiet_sweeps = 1


def _without_ours(frame: Say) -> Say:
    meta = {key: value for key, value in (frame.meta or {}).items() if key not in _OURS}
    return msgspec.structs.replace(frame, meta=meta)
