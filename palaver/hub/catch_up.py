"""Bringing members up to date: those who join with a past, and those who did not read fast enough."""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from palaver.core.message import Message, key_of
from palaver.core.protocol import encode
from palaver.core.state import RoomState
from palaver.hub.legacy import rendered
from palaver.hub.log import Archive
from palaver.hub.outbox import Outbox
from palaver.hub.session import HARD, SOFT, Session, wire

logger = logging.getLogger(__name__)

PAGE: Final = 500
KEPT: Final = 512
"""Encoded messages that are kept for the next member that missed them."""
PATIENCE: Final = 20
"""Sweeps without progress after which a member is cut. Counted in sweeps, not in seconds, so that a hub that was
itself stopped blames nobody."""


class CatchUp:
    """The members of one room that are behind, and what they have missed.

    A member that is behind gets no common frames. When it reads again it is sent what it has missed, from memory
    where that reaches, else page by page from the archive, never more at once than it may have waiting.
    """

    def __init__(self, state: RoomState, archive: Archive, outbox: Outbox) -> None:
        self._state = state
        self._archive = archive
        self._outbox = outbox
        self._tasks: set[asyncio.Task[None]] = set()
        self._encoded: dict[int, tuple[Message, bytes]] = {}
        self.behind: set[Session] = set()

    def forget(self, session: Session) -> None:
        """It has left."""
        self.behind.discard(session)

    def sweep(self) -> list[tuple[Session, str]]:
        """To be called every 100 ms: goes on with those that read again; returns whom to cut, and why."""
        hopeless = []
        for session in list(self.behind):
            waiting = session.waiting
            if waiting <= SOFT // 4:
                session.stuck_sweeps = 0
                self.start(session)
                continue
            session.stuck_sweeps = session.stuck_sweeps + 1 if waiting >= session.stuck_size else 0
            session.stuck_size = waiting
            if session.stuck_sweeps >= PATIENCE or waiting > HARD:
                hopeless.append((session, f"did not read: {waiting} bytes waited"))
        return hopeless

    def start(self, session: Session) -> None:
        """Send a session what it has missed, from memory where that reaches, else from the archive."""
        if self._from_memory(session) or session.catching_up:
            return
        session.catching_up = True
        task = asyncio.get_running_loop().create_task(self._from_archive(session))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _from_memory(self, session: Session) -> bool:
        history = self._state.history
        if session.delivered < self._state.seq and (not history or history[0].seq > session.delivered + 1):
            return False
        missed = [message for message in history if message.seq > session.delivered]
        self._send_missed(session, missed)
        if session.delivered >= self._state.seq and session.waiting <= SOFT:
            self._outbox.flush()
            session.behind = False
            self.behind.discard(session)
        else:
            self.behind.add(session)
        return True

    async def _from_archive(self, session: Session) -> None:
        try:
            while session.closed is None and session.waiting <= SOFT and not self._from_memory(session):
                page = await self._archive.messages(self._state.name, session.delivered, PAGE)
                if not page:
                    logger.error(
                        "room %s: the archive ends at %d of %d", self._state.name, session.delivered, self._state.seq
                    )
                    session.delivered = max(
                        session.delivered, self._state.history[0].seq - 1 if self._state.history else 0
                    )
                self._send_missed(session, page)
            if session.behind:
                self.behind.add(session)
        finally:
            session.catching_up = False

    def _send_missed(self, session: Session, messages: Iterable[Message]) -> None:
        parts: list[bytes] = []
        size = 0
        record = self._state.records.get(key_of(session.name))
        deaf = record.deaf if record is not None else []
        for message in messages:
            if session.waiting + size > SOFT:
                break
            session.delivered = message.seq
            unheard = any(first <= message.seq and (not last or message.seq <= last) for first, last in deaf)
            data = self._wire_for(session, message)
            if data is not None and message.is_for(session.name, session.role) and not unheard:
                parts.append(data)
                size += len(data)
        if parts:
            session.write(b"".join(parts))

    def _wire_for(self, session: Session, message: Message) -> bytes | None:
        """The frame of a message; encoded once for all who missed it together."""
        if session.legacy:
            body = rendered(message, session)
            return None if body is None else wire(body)
        held = self._encoded.get(message.seq)
        if held is None or held[0] is not message:
            if len(self._encoded) >= KEPT:
                self._encoded.clear()
            held = self._encoded[message.seq] = (message, wire(encode(message)))
        return held[1]

    def _archive_ends(self, session: Session) -> None:
        """The archive lacks messages that the room had: say so, and go on with what is in memory."""
        first = self._state.history[0].seq if self._state.history else self._state.seq + 1
        logger.error("room %s: messages %d to %d are lost", self._state.name, session.delivered + 1, first - 1)
        session.delivered = max(session.delivered, first - 1)

    async def close(self) -> None:
        """Stop."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
