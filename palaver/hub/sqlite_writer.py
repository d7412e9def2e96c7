"""The thread behind the embedded log: the only one who touches the SQLite file. Jobs in, outcomes out."""

import contextlib
import logging
import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

from palaver.core.entry import Entry, encode_entry

logger = logging.getLogger(__name__)

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS rooms (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    room INTEGER NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL, block BLOB NOT NULL,
    PRIMARY KEY (room, last)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS messages (
    room INTEGER NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL, block BLOB NOT NULL,
    PRIMARY KEY (room, last)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS snapshots (room INTEGER PRIMARY KEY, state BLOB NOT NULL);
"""


CHECKPOINT: Final = 2000
"""Pages (4 KiB) of the write-ahead log above which the writer moves them into the file, between two commits: small
and often, since moving 256 MiB at once took 158 ms."""
Fsync = Literal["always", "everysec"]
"""When commits reach the disk itself: before they are acknowledged, or within a second. A killed process loses
nothing either way, a power cut at most that second. The words are Redis' (`appendfsync`)."""


class Job:
    """What the loop hands to the writer: entries and published messages, a snapshot, or a question."""

    __slots__ = ("entries", "published", "question", "reply", "snapshot")

    def __init__(
        self,
        entries: list[Entry],
        published: dict[str, list[tuple[int, bytes]]],
        *,
        snapshot: tuple[str, bytes] | None = None,
        question: Callable[[sqlite3.Connection], Any] | None = None,
        reply: Callable[[Any, Exception | None], None] | None = None,
    ) -> None:
        self.entries = entries
        self.published = published
        self.snapshot = snapshot
        self.question = question
        self.reply = reply


class Outcome:
    """What became of the entries of one commit."""

    __slots__ = ("entries", "error", "positions", "seconds")

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.positions: list[int] = []
        self.error = ""
        self.seconds = 0.0

    def by_room(self) -> dict[str, list[tuple[int, Entry]]]:
        """Entries by room, each with its position (0 where the commit failed)."""
        rooms: dict[str, list[tuple[int, Entry]]] = {}
        positions = self.positions or [0] * len(self.entries)
        for position, entry in zip(positions, self.entries, strict=True):
            rooms.setdefault(entry.room, []).append((position, entry))
        return rooms


class Writer(threading.Thread):
    """The only one who touches the file. Jobs in, outcomes out."""

    def __init__(
        self,
        folder: Path | None,
        jobs: "queue.SimpleQueue[Job | None]",
        done: Callable[[list[Outcome]], None],
        fsync: Fsync,
    ) -> None:
        super().__init__(name="palaver-log", daemon=True)
        self._jobs, self._done = jobs, done
        path = ":memory:" if folder is None else str(folder / "palaver.sqlite3")
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(f"PRAGMA synchronous={'FULL' if fsync == 'always' else 'NORMAL'}")
        self._database.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT}")
        self._database.executescript(_SCHEMA)
        self._rooms: dict[str, int] = {name: ident for ident, name in self._database.execute("SELECT * FROM rooms")}
        last = self._database.execute("SELECT MAX(last) FROM entries").fetchone()[0]
        self._position = int(last or 0)
        self._last: dict[str, int] = {}
        self._unwritten: list[dict[str, list[tuple[int, bytes]]]] = []

    def run(self) -> None:
        running = True
        while running:
            jobs = [self._jobs.get()]
            while not self._jobs.empty():
                jobs.append(self._jobs.get())
            if None in jobs:
                running = False
            work = [job for job in jobs if job is not None]
            self._commit(work)
            for job in work:
                if job.question is not None and job.reply is not None:
                    self._answer(job.question, job.reply)
        self._database.close()

    def _commit(self, jobs: list[Job]) -> None:
        writing = [job for job in jobs if job.entries or job.published or job.snapshot]
        if not writing:
            return
        outcome = Outcome([entry for job in writing for entry in job.entries])
        start, before = time.perf_counter(), self._position
        try:
            self._database.execute("BEGIN")
            outcome.positions = self._write_entries(outcome.entries)
            for published in [*self._unwritten, *(job.published for job in writing)]:
                self._write_published(published)
            for job in writing:
                if job.snapshot is not None:
                    self._write_snapshot(*job.snapshot)
            self._database.execute("COMMIT")
            self._unwritten = []
        except Exception as error:  # whatever it was: nothing is durable, and who waits must be told
            logger.error("log: commit of %d entries failed", len(outcome.entries), exc_info=error)
            outcome.error, outcome.positions, self._position = str(error), [], before
            with contextlib.suppress(sqlite3.Error):
                self._database.execute("ROLLBACK")
            self._rooms = {name: ident for ident, name in self._database.execute("SELECT * FROM rooms")}
            self._last = {}
            self._unwritten += [job.published for job in writing if job.published]
        outcome.seconds = time.perf_counter() - start
        self._done([outcome])

    def _write_entries(self, entries: list[Entry]) -> list[int]:
        positions = list(range(self._position + 1, self._position + 1 + len(entries)))
        blocks: dict[str, list[tuple[int, bytes]]] = {}
        for position, entry in zip(positions, entries, strict=True):
            blocks.setdefault(entry.room, []).append((position, encode_entry(entry)))
        for room, lines in blocks.items():
            self._insert("entries", room, lines)
        self._position += len(entries)
        return positions

    def _write_published(self, published: dict[str, list[tuple[int, bytes]]]) -> None:
        for room, lines in published.items():
            fresh: list[tuple[int, bytes]] = []
            last = self._last_published(room)
            for seq, line in lines:
                if seq > last:
                    fresh.append((seq, line))
                    last = seq
                else:
                    fresh = self._flush(room, fresh)
                    self._replace(room, seq, line)
            self._flush(room, fresh)
            self._last[room] = last

    def _flush(self, room: str, fresh: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        if fresh:
            self._insert("messages", room, fresh)
        return []

    def _last_published(self, room: str) -> int:
        if room not in self._last:
            query = "SELECT MAX(last) FROM messages WHERE room = ?"
            self._last[room] = int(self._database.execute(query, (self._room_id(room),)).fetchone()[0] or 0)
        return self._last[room]

    def _replace(self, room: str, seq: int, line: bytes) -> None:
        """Put a new line in the place of an old one: after a redaction, or when the log is replayed."""
        ident = self._room_id(room)
        row = self._database.execute(
            "SELECT last, first, block FROM messages WHERE room = ? AND last >= ? ORDER BY last LIMIT 1", (ident, seq)
        ).fetchone()
        if row is None or row[1] > seq:
            return
        found = dict(_split(row[2]))
        found[seq] = line
        self._database.execute(
            "UPDATE messages SET block = ? WHERE room = ? AND last = ?", (_join(sorted(found.items())), ident, row[0])
        )

    def _insert(self, table: str, room: str, lines: list[tuple[int, bytes]]) -> None:
        self._database.execute(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?)",
            (self._room_id(room), lines[-1][0], lines[0][0], _join(lines)),
        )

    def _write_snapshot(self, room: str, state: bytes) -> None:
        self._database.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?)", (self._room_id(room), state))

    def _room_id(self, room: str) -> int:
        if room not in self._rooms:
            cursor = self._database.execute("INSERT INTO rooms (name) VALUES (?)", (room,))
            self._rooms[room] = int(cursor.lastrowid or 0)
        return self._rooms[room]

    def _answer(
        self, question: Callable[[sqlite3.Connection], Any], reply: Callable[[Any, Exception | None], None]
    ) -> None:
        try:
            value = question(self._database)
        except (sqlite3.Error, ValueError) as error:
            reply(None, error)
        else:
            reply(value, None)


def _join(lines: list[tuple[int, bytes]]) -> bytes:
    return b"\n".join(b"%d %b" % line for line in lines)


def _split(block: bytes) -> list[tuple[int, bytes]]:
    return [(int(number), text) for number, _, text in (line.partition(b" ") for line in block.split(b"\n"))]


def lines_after(database: sqlite3.Connection, table: str, room: str, after: int, limit: int) -> list[tuple[int, bytes]]:
    rows = database.execute(
        f"SELECT block FROM {table} JOIN rooms ON rooms.id = {table}.room "
        "WHERE rooms.name = ? AND last > ? ORDER BY last",
        (room, after),
    )
    found: list[tuple[int, bytes]] = []
    for (block,) in rows:
        found += [line for line in _split(block) if line[0] > after]
        if len(found) >= limit:
            break
    rows.close()
    return found


class Syncer:
    """Brings what was committed to the disk once a second, in a thread beside the writer's.

    An fsync took 3.8 ms when measured: 300 times the commit itself, so nobody waits for it.
    """

    def __init__(self, folder: Path) -> None:
        self._wal = folder / "palaver.sqlite3-wal"
        self._dirty = threading.Event()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="palaver-sync", daemon=True)
        self._thread.start()

    def mark(self) -> None:
        """Something was committed."""
        self._dirty.set()

    def _run(self) -> None:
        while not self._closing.wait(1.0):
            if self._dirty.is_set():
                self._dirty.clear()
                self._sync()

    def _sync(self) -> None:
        try:
            with self._wal.open("rb") as file:
                os.fdatasync(file.fileno())
        except OSError as error:
            logger.error("log: cannot be synced: %s", error)

    def close(self) -> None:
        """Stop."""
        self._closing.set()
        self._thread.join()
