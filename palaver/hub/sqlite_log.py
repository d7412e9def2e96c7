"""The embedded log: one SQLite file, group commit.

All of one pass of the event loop goes into one commit, which writes one row a room: a block of entries. So the cost
of a durable commit is shared by whatever is in flight (measured: 109,000 messages/s against 4,700 with a commit each).

A commit into the operating system takes some 20 us, less than handing it to a thread and back; and a thread that
wants Python's lock while the loop is busy waits 5 ms for it, several times a commit. So the loop commits by itself
while nothing else uses the file; what may take long (questions, checkpoints, fsync, a disk that was slow just now)
goes to the writer's thread, and what comes meanwhile goes after it.
"""

import asyncio
import contextlib
import fcntl
import logging
import queue
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from palaver.core.entry import Entry
from palaver.core.errors import LogUnavailable
from palaver.core.message import Message
from palaver.core.protocol import Say, Streamed
from palaver.hub.blocks import Lines
from palaver.hub.log import Listener
from palaver.hub.sqlite_entries import Entries
from palaver.hub.sqlite_file import FILE, RESTART, Fsync, Job, Outcome, SqliteFile, blocks_after, lines_after, mending
from palaver.hub.sqlite_writer import Syncer, Writer

logger = logging.getLogger(__name__)

T = TypeVar("T")
MOST_WAITING: Final = 2048
"""Entries handed over but not yet durable, above which readers are asked to wait. What is let in at once comes out at
once, to every member: with 8,192 one pass held more than a member may have waiting, all were set aside, and a hub that
was offered 48,000 messages a second for 3 s did not recover."""
MOST_SIZE: Final = 512 * 1024
"""The same in characters of text."""
IDLE_FLUSH: Final = 0.5
"""Seconds that published messages may wait for a commit: one block for many. A crash loses none, they are made again
from the log."""
MOST_PUBLISHED: Final = 256 * 1024
"""Bytes of published messages that may wait so."""
SLOW: Final = 0.1
"""Seconds of a commit after which the loop leaves the next ones to the thread, for `SLOW_FOR` seconds."""
SLOW_FOR: Final = 5.0

MOST_READ: Final = 16 * 1024 * 1024
"""Bytes of entries above which an answer ends, however few they are."""

_message_decoder = msgspec.json.Decoder(Message)


class SqliteLog:
    """`Log` and `Archive` in `folder/palaver.sqlite3` (`None`: in memory). `on_commit` gets seconds and entries.

    `copied` says that all of it can be made again from a log elsewhere.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        fsync: Fsync = "everysec",
        on_commit: Callable[[float, int], None] = lambda seconds, entries: None,
        copied: bool = False,
    ) -> None:
        self._folder = folder
        self._copied = copied
        self._fsync: Fsync = fsync
        self._on_commit = on_commit
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._busy = 0
        """Jobs that the thread has not dealt with yet; while there are any, the file is its own."""
        self._slow_until = 0.0
        self._handed: list[Entry] = []
        self._published: dict[str, Lines] = {}
        self._snapshots: dict[str, bytes] = {}
        self._flushing = False
        self._waiting = 0
        self._waiting_size = self._under_way = 0
        """Characters of text not yet durable, and how many of them were handed on to be committed."""
        self._unrecorded = 0
        self._recording_due = False
        self._recording: asyncio.TimerHandle | None = None
        self._room_made: asyncio.Event = asyncio.Event()
        self._room_made.set()
        self._tails: dict[str, Listener] = {}
        self._file: SqliteFile | None = None
        self._writer: Writer | None = None
        self._syncer: Syncer | None = None
        self._lock: Any = None

    async def open(self) -> None:
        """Open the file and start the writer; raises `LogUnavailable` where that cannot be."""
        self._loop = asyncio.get_running_loop()
        self._lock = self._lock_folder()
        try:
            self._file = SqliteFile(self._folder, self._fsync)
        except sqlite3.Error as error:
            if self._lock is not None:
                self._lock.close()
            raise LogUnavailable(f"log in {self._folder}: {self._told(error)}") from error
        self._writer = Writer(self._file, self._jobs, self._done)
        self._writer.start()
        if self._folder is not None and self._fsync == "everysec":
            self._file.most_grown = 2 * RESTART  # the syncer moves it, unless it cannot
            self._syncer = Syncer(self._folder, self._file, self._on_long_wal)

    def _on_long_wal(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(lambda: self._hand(Job([], {}, checkpoint=True)))

    def _lock_folder(self) -> Any:
        if self._folder is None:
            return None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = (self._folder / "lock").open("a")
        except OSError as error:
            raise LogUnavailable(f"data directory {self._folder} cannot be written: {error.strerror}") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            lock.close()
            raise LogUnavailable(f"another hub uses {self._folder}: stop it, or choose another --data-dir") from error
        return lock

    def append(self, entry: Entry) -> None:
        """Hand an entry over; all of one pass of the loop are committed together."""
        self._handed.append(entry)
        self._waiting += 1
        if isinstance(frame := entry.frame, Say):
            self._waiting_size += len(frame.content)
        if self._waiting >= MOST_WAITING or self._waiting_size >= MOST_SIZE:
            self._room_made.clear()
        if not self._flushing:
            self._schedule()

    def record(self, room: str, messages: Sequence[tuple[int, bytes]]) -> None:
        """Keep published messages; they are written together after half a second, or before anybody asks for them."""
        if not messages:
            return
        self._published.setdefault(room, []).extend(messages)
        self._unrecorded += sum([len(body) for _, body in messages])
        if self._unrecorded >= MOST_PUBLISHED:
            self._record_now()
        elif self._recording is None:
            self._recording = self._loop.call_later(IDLE_FLUSH, self._record_now)

    def _record_now(self) -> None:
        self._recording_due = True
        self._schedule()

    def save_snapshot(self, room: str, position: int, state: bytes) -> None:
        """Keep a state; written together with what was handed over and published before."""
        self._snapshots[room] = state
        self._recording_due = True
        self._schedule()

    def _schedule(self) -> None:
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Commit what has gathered. Only the loop itself calls this: whoever hands over is never inside a commit."""
        self._flushing = False
        job = self._gathered(published=self._recording_due)
        if not job.writes:
            return
        if self._file is None or self._busy or self._fsync == "always" or self._loop.time() < self._slow_until:
            self._hand(job)
            return
        outcome = self._file.commit([job])
        if outcome.seconds > SLOW:
            self._slow_until = self._loop.time() + SLOW_FOR
        if self._file.needs_checkpoint:
            self._hand(Job([], {}))
        self._pass_on(outcome)

    def _gathered(self, *, published: bool) -> Job:
        job = Job(self._handed, {}, size=self._waiting_size - self._under_way, snapshots=self._snapshots)
        self._handed, self._under_way, self._snapshots = [], self._waiting_size, {}
        if published:
            job.published, self._published, self._unrecorded, self._recording_due = self._published, {}, 0, False
            if self._recording is not None:
                self._recording.cancel()
                self._recording = None
        return job

    def _hand(self, job: Job) -> None:
        """Leave a job to the thread."""
        self._busy += 1
        self._jobs.put(job)

    def has_room(self) -> bool:
        """Whether readers need not wait."""
        return self._room_made.is_set()

    async def room_made(self) -> None:
        """Return at once unless too much waits for its commit."""
        if not self._room_made.is_set():
            await self._room_made.wait()

    def tail(self, room: str, after: int, listener: Listener) -> None:
        """From now on, pass on what becomes durable in `room`; nobody else can have written since it was read."""
        self._tails[room] = listener

    def tell(self, frame: Streamed) -> None:
        """There is no other hub."""

    def is_alive(self, hub: str) -> bool:
        """No other hub has this file."""
        return False

    def untail(self, room: str) -> None:
        """Stop passing it on."""
        self._tails.pop(room, None)

    def _done(self, outcome: Outcome | None, jobs: int) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self._loop.call_soon_threadsafe(self._dealt_with, outcome, jobs)

    def _dealt_with(self, outcome: Outcome | None, jobs: int) -> None:
        self._busy -= jobs
        if outcome is not None:
            self._pass_on(outcome)

    def _pass_on(self, outcome: Outcome) -> None:
        self._waiting -= outcome.count
        self._waiting_size -= outcome.size
        self._under_way -= outcome.size
        if outcome.count:
            if self._syncer is not None:
                self._syncer.mark()
            self._on_commit(outcome.seconds, outcome.count)
        for room, positioned in outcome.rooms.items():
            listener = self._tails.get(room)
            if listener is None:
                continue
            if outcome.error:
                listener.refused([entry for _, entry in positioned], outcome.error)
            else:
                listener.take(positioned)
        if self._waiting < MOST_WAITING // 2 and self._waiting_size < MOST_SIZE // 2:
            self._room_made.set()

    async def read(self, room: str, after: int, limit: int = 10_000) -> Sequence[tuple[int, Entry]]:
        """Entries above `after`, whole blocks, in order; each is decoded when it is looked at."""
        found = await self._ask(lambda database: blocks_after(database, "entries", room, after, limit, MOST_READ))
        return Entries(room, after, found, self._told)

    async def kept(self, room: str, after: int) -> int:
        """Up to which `seq` every message above `after` is there and can be read."""

        def work(database: sqlite3.Connection) -> int:
            last = after
            while blocks := blocks_after(database, "messages", room, last, 10_000, MOST_READ):
                for block in blocks:
                    if block[0] > last + 1 or not _is_whole(*block):
                        return last
                    last = block[1]
            return last

        return await self._ask(work)

    async def messages(self, room: str, after: int, limit: int) -> list[Message]:
        """Published messages above `after`, whole blocks, in order; sees all that was recorded before the call."""

        def work(database: sqlite3.Connection) -> list[Message]:
            found: dict[int, bytes] = dict(lines_after(database, "messages", room, after, limit))
            try:
                return [_message_decoder.decode(line) for line in found.values()]
            except ValueError as error:
                raise ValueError(f"a block of messages of room {room!r} above {after} is damaged: {error}") from error

        return await self._ask(work)

    async def rooms(self) -> list[str]:
        """Every room of this file."""
        return await self._ask(
            lambda database: [row[0] for row in database.execute("SELECT name FROM rooms ORDER BY id")]
        )

    async def snapshot(self, room: str) -> bytes | None:
        """The last state saved for `room`."""

        def work(database: sqlite3.Connection) -> bytes | None:
            row = database.execute(
                "SELECT state FROM snapshots JOIN rooms ON rooms.id = snapshots.room WHERE name = ?", (room,)
            ).fetchone()
            return row[0] if row else None

        return await self._ask(work)

    async def _ask(self, work: Callable[[sqlite3.Connection], T]) -> T:
        answer: asyncio.Future[T] = self._loop.create_future()

        def reply(value: T | None, error: Exception | None) -> None:
            def settle() -> None:
                if answer.done():
                    return
                if error is not None:
                    answer.set_exception(LogUnavailable(f"log: {self._told(error)}"))
                else:
                    answer.set_result(value)  # type: ignore[arg-type]  # value is T where there is no error

            self._loop.call_soon_threadsafe(settle)

        self._hand(self._gathered(published=True))
        self._hand(Job([], {}, question=lambda database: work(database), reply=reply))
        return await answer

    def _told(self, error: Exception) -> str:
        """What is wrong, and for a damaged file what to do."""
        if isinstance(error, sqlite3.OperationalError) or self._folder is None:
            return str(error)
        file = self._folder / FILE
        if self._copied:
            mend = f"delete {self._folder}: all of it is made again from the log that the hubs share"
        elif "block of messages" in str(error):
            mend = f"""sqlite3 {file} "DELETE FROM messages; DELETE FROM snapshots" has them made again from the log"""
        else:
            mend = mending(file)
        return f"{error}. {file} is damaged: stop the hub, then {mend}"

    async def close(self) -> None:
        """Commit what was handed over, then close the file."""
        if self._writer is not None:
            self._hand(self._gathered(published=True))
            self._jobs.put(None)
            await asyncio.to_thread(self._writer.join)
            self._writer = self._file = None
        if self._syncer is not None:
            await asyncio.to_thread(self._syncer.close)
            self._syncer = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None


def _is_whole(first: int, last: int, block: bytes) -> bool:
    """Whether a block holds the messages that its row says."""
    try:
        found = _message_decoder.decode_lines(block)
    except ValueError:
        return False
    return [message.seq for message in found] == list(range(first, last + 1))
