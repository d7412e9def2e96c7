"""Bringing members up to date: those who join with a past, and those who did not read fast enough."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from palaver.core.errors import LogUnavailable
from palaver.core.message import Message, key_of
from palaver.core.protocol import encode
from palaver.core.state import RoomState
from palaver.hub.legacy import rendered
from palaver.hub.log import Archive
from palaver.hub.outbox import Outbox
from palaver.hub.session import HARD, SOFT, Session, wire

logger = logging.getLogger(__name__)

PAGE: Final = 500
PAGES: Final = 4
"""Pages of the archive that are kept for the next member that missed the same: those of a crowd do."""
PATIENCE: Final = 20
"""Sweeps without progress after which a member is cut. Counted in sweeps, not in seconds, so that a hub that was
itself stopped blames nobody."""


class Page(NamedTuple):
    """Messages of the archive, and their frames joined where all of them are for everybody (empty where not)."""

    messages: Sequence[Message]
    data: bytes


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
        self._pages: dict[int, asyncio.Task[Page]] = {}
        self.behind: set[Session] = set()

    def forget(self, session: Session) -> None:
        """It has left."""
        self.behind.discard(session)

    def sweep(self) -> list[tuple[Session, str]]:
        """To be called every 100 ms: goes on with those that read again; returns whom to cut, and why."""
        hopeless = []
        if not self.behind:
            self._pages.clear()
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

    def forget_text(self) -> None:
        """A message was redacted: nothing that may hold its old text is sent any more."""
        self._outbox.recent.forget()
        self._pages.clear()

    def _from_memory(self, session: Session) -> bool:
        """Send what memory holds; says whether it reaches back as far as the session needs."""
        self._send_recent(session)
        history = self._state.history
        if session.delivered < self._state.seq and (not history or history[0].seq > session.delivered + 1):
            return False
        self._send_each(session, [message for message in history if message.seq > session.delivered])
        if session.delivered >= self._state.seq and session.waiting <= SOFT:
            self._outbox.flush()
            session.behind = False
            self.behind.discard(session)
        else:
            self.behind.add(session)
        return True

    def _send_recent(self, session: Session) -> None:
        if self._sees_all(session):
            passes = self._outbox.recent.after(session.delivered, SOFT - session.waiting)
            if passes:
                session.write_parts([one.data for one in passes])
                session.delivered = passes[-1].last

    def _sees_all(self, session: Session) -> bool:
        """Whether this session is to get all that is for everybody, as it went over the wire."""
        return not session.legacy and not self._deaf(session)

    def _deaf(self, session: Session) -> list[list[int]]:
        record = self._state.records.get(key_of(session.name))
        return record.deaf if record is not None else []

    async def _from_archive(self, session: Session) -> None:
        try:
            while session.closed is None and session.waiting <= SOFT and not self._from_memory(session):
                page = await self._page_or_none(session.delivered)
                if not page.messages:
                    self._archive_ends(session)
                self._send_page(session, page)
            if session.behind:
                self.behind.add(session)
        finally:
            session.catching_up = False

    async def _page_or_none(self, after: int) -> Page:
        """An archive that cannot be read is one that has ended: the member goes on with what is in memory."""
        try:
            return await self._page(after)
        except LogUnavailable as error:
            logger.error("room %s: the archive cannot be read: %s", self._state.name, error)
            return Page([], b"")

    async def _page(self, after: int) -> Page:
        if after not in self._pages:
            if len(self._pages) >= PAGES:
                del self._pages[next(iter(self._pages))]
            self._pages[after] = asyncio.get_running_loop().create_task(self._read(after))
        page = self._pages[after]
        try:
            return await asyncio.shield(page)
        finally:
            if page.done() and (page.cancelled() or page.exception() or not page.result().messages):
                self._pages.pop(after, None)

    async def _read(self, after: int) -> Page:
        messages = await self._archive.messages(self._state.name, after, PAGE)
        whole = all(message.to is None for message in messages)
        return Page(messages, b"".join([wire(encode(message)) for message in messages]) if whole else b"")

    def _send_page(self, session: Session, page: Page) -> None:
        fits = session.waiting + len(page.data) <= SOFT
        begins = bool(page.messages) and page.messages[0].seq == session.delivered + 1
        if page.data and fits and begins and self._sees_all(session):
            session.write(page.data)
            session.delivered = page.messages[-1].seq
        else:
            self._send_each(session, page.messages)

    def _send_each(self, session: Session, messages: Iterable[Message]) -> None:
        """One message after the other, without those that are not for this session."""
        parts: list[bytes | memoryview] = []
        size = 0
        deaf = self._deaf(session)
        for message in messages:
            if session.waiting + size > SOFT:
                break
            if message.seq <= session.delivered:
                continue
            session.delivered = message.seq
            unheard = any(first <= message.seq and (not last or message.seq <= last) for first, last in deaf)
            data = _wire_for(session, message)
            if data is not None and message.is_for(session.name, session.role) and not unheard:
                parts.append(data)
                size += len(data)
        if parts:
            session.write_parts(parts)

    def _archive_ends(self, session: Session) -> None:
        """The archive lacks messages that the room had: say so, and go on with what is in memory."""
        first = self._state.history[0].seq if self._state.history else self._state.seq + 1
        logger.error("room %s: messages %d to %d are lost", self._state.name, session.delivered + 1, first - 1)
        session.delivered = max(session.delivered, first - 1)

    async def close(self) -> None:
        """Stop."""
        tasks = [*self._tasks, *self._pages.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _wire_for(session: Session, message: Message) -> bytes | None:
    body = rendered(message, session) if session.legacy else encode(message)
    return None if body is None else wire(body)
