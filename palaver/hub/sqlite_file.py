"""The SQLite file of the embedded log: blocks of entries and messages in, lines out. It knows no thread and no loop."""

import contextlib
import logging
import shlex
import sqlite3
import time
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable
from math import inf
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, Literal

from palaver.core.entry import Entry, encode_entries
from palaver.hub.blocks import Block, Lines, joined, split

logger = logging.getLogger(__name__)

# Not WITHOUT ROWID: then a quarter of each page would be a block's beginning, in inner pages of the tree too, and a
# commit cost nearly twice as much (34 KB: 390 us of processor time and 215, moving it into the file included).
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS rooms (id INTEGER PRIMARY KEY, name TEXT UNIQUE NOT NULL);
CREATE TABLE IF NOT EXISTS entries (
    room INTEGER NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL, block BLOB NOT NULL,
    PRIMARY KEY (room, last));
CREATE TABLE IF NOT EXISTS messages (
    room INTEGER NOT NULL, last INTEGER NOT NULL, first INTEGER NOT NULL, block BLOB NOT NULL,
    PRIMARY KEY (room, last));
CREATE TABLE IF NOT EXISTS snapshots (room INTEGER PRIMARY KEY, state BLOB NOT NULL);
"""

FILE: Final = "palaver.sqlite3"
"""The log's name in a data directory."""
CHECKPOINT: Final = 8 * 2**20
"""Bytes that the write-ahead log grows between two times that it is moved into the file: small and often, since moving
256 MiB at once took 158 ms."""
RESTART: Final = 8 * CHECKPOINT
"""Bytes of the write-ahead log above which it is begun anew, where it was moved beside the commits until then."""
Fsync = Literal["always", "everysec"]
"""When commits reach the disk itself: before they are acknowledged, or within a second. A killed process loses
nothing either way, a power cut at most that second. The words are Redis' (`appendfsync`)."""


class Job:
    """What is to be done with the file: entries, published messages and snapshots to write, or a question."""

    __slots__ = ("checkpoint", "entries", "published", "question", "reply", "size", "snapshots")

    def __init__(
        self,
        entries: list[Entry],
        published: dict[str, Lines],
        *,
        size: int = 0,
        snapshots: dict[str, bytes] | None = None,
        checkpoint: bool = False,
        question: Callable[[sqlite3.Connection], Any] | None = None,
        reply: Callable[[Any, Exception | None], None] | None = None,
    ) -> None:
        self.entries = entries
        self.size = size
        """Characters of text in the entries."""
        self.published = published
        self.snapshots = snapshots or {}
        self.checkpoint = checkpoint
        self.question = question
        self.reply = reply

    @property
    def writes(self) -> bool:
        """Whether there is anything to commit."""
        return bool(self.entries or self.published or self.snapshots)


class Outcome:
    """What became of the entries of one commit: by room, each with its position in the log if there is no error."""

    __slots__ = ("count", "error", "rooms", "seconds", "size")

    def __init__(self, jobs: list[Job], position: int) -> None:
        rooms: defaultdict[str, list[Entry]] = defaultdict(list)
        for job in jobs:
            for entry in job.entries:
                rooms[entry.room].append(entry)
        self.rooms: dict[str, list[tuple[int, Entry]]] = {}
        self.count, self.size = 0, sum([job.size for job in jobs])
        self.error = ""
        self.seconds = 0.0
        for room, entries in rooms.items():
            self.rooms[room] = list(enumerate(entries, position + self.count + 1))
            self.count += len(entries)


class SqliteFile:
    """`folder/palaver.sqlite3` (`None`: in memory). One at a time may use it; raises `sqlite3.Error` when opened."""

    def __init__(self, folder: Path | None, fsync: Fsync) -> None:
        path = ":memory:" if folder is None else str(folder / FILE)
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute(f"PRAGMA synchronous={'FULL' if fsync == 'always' else 'NORMAL'}")
        self._database.execute("PRAGMA wal_autocheckpoint=0")
        self._database.executescript(_SCHEMA)
        self._rooms: dict[str, int] = {name: ident for ident, name in self._database.execute("SELECT * FROM rooms")}
        last = self._database.execute("SELECT MAX(last) FROM entries").fetchone()[0]
        self._position = int(last or 0)
        self._last: dict[str, int] = {}
        self._unwritten: list[dict[str, Lines]] = []
        self.grown = 0
        """Bytes written since the write-ahead log was last begun anew."""
        self.most_grown = CHECKPOINT
        """Above so many a checkpoint is due here."""
        self._failing = ""

    def close(self) -> None:
        """Let go of the file; SQLite moves what is left of the write-ahead log into it."""
        self._database.close()

    # --- writing -------------------------------------------------------------------------------------------------

    def commit(self, jobs: list[Job]) -> Outcome:
        """Write all of it in one transaction. An error is part of the outcome: then nothing of it is durable."""
        outcome = Outcome(jobs, self._position)
        start, rooms = time.perf_counter(), len(self._rooms)
        try:
            self._database.execute("BEGIN")
            for room, positioned in outcome.rooms.items():
                block = encode_entries([entry for _, entry in positioned])
                self._insert("entries", room, positioned[0][0], positioned[-1][0], block)
            for published in [*self._unwritten, *(job.published for job in jobs)]:
                self._write_published(published)
            for job in jobs:
                for room, state in job.snapshots.items():
                    self._write_snapshot(room, state)
            self._database.execute("COMMIT")
            self._position += outcome.count
            self._unwritten = []
            if self._failing:
                self._failing = ""
                logger.info("log: written again")
        except Exception as error:  # whatever it was: nothing is durable, and who waits must be told
            self._complain(error)
            outcome.error = str(error)
            self._roll_back(rooms)
            self._unwritten += [job.published for job in jobs if job.published]
        outcome.seconds = time.perf_counter() - start
        return outcome

    def _complain(self, error: Exception) -> None:
        """Say it once for as long as it lasts; a disk's troubles need no traceback."""
        if str(error) != self._failing:
            self._failing = str(error)
            trace = None if isinstance(error, sqlite3.Error) else error
            logger.error("log: cannot be written, messages are refused until it can: %s", error, exc_info=trace)

    def _roll_back(self, rooms: int) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._database.execute("ROLLBACK")
        self._rooms = dict(list(self._rooms.items())[:rooms])  # the later ones were made by what was taken back
        self._last = {}

    def _write_published(self, published: dict[str, Lines]) -> None:
        for room, lines in published.items():
            last, first = self._last_published(room), lines[0][0]
            if first > last and [seq for seq, _ in lines] == list(range(first, first + len(lines))):  # as nearly always
                self._last[room] = lines[-1][0]
                self._insert("messages", room, first, self._last[room], joined(lines))
                continue
            fresh: dict[int, bytes] = {}
            again: dict[int, bytes] = {}
            for seq, line in lines:
                (fresh if seq > last else again)[seq] = line
            self._merge(room, sorted(again.items()))
            if fresh:
                self._last[room] = max(fresh)
                self._insert("messages", room, min(fresh), self._last[room], joined(sorted(fresh.items())))

    def _last_published(self, room: str) -> int:
        if room not in self._last:
            query = "SELECT MAX(last) FROM messages WHERE room = ?"
            self._last[room] = int(self._database.execute(query, (self._room_id(room),)).fetchone()[0] or 0)
        return self._last[room]

    def _merge(self, room: str, lines: Lines) -> None:
        """Put lines into the blocks that hold their numbers: after a redaction, or when the log is replayed."""
        ident = self._room_id(room)
        while lines:
            row = self._database.execute(
                "SELECT last, first, block FROM messages WHERE room = ? AND last >= ? ORDER BY last LIMIT 1",
                (ident, lines[0][0]),
            ).fetchone()
            if row is None:
                return
            last, first, block = row
            count = bisect_right(lines, last, key=itemgetter(0))
            new, lines = lines[:count], lines[count:]
            if len(new) == last - first + 1 and joined(new) == block:  # a replay: all is as it was
                continue
            merged = sorted({**_whole(block, first, last), **dict(new)}.items())
            if (mended := joined(merged)) != block:
                self._database.execute(
                    "UPDATE messages SET first = ?, block = ? WHERE room = ? AND last = ?",
                    (merged[0][0], mended, ident, last),
                )

    def _insert(self, table: str, room: str, first: int, last: int, block: bytes) -> None:
        self.grown += len(block)
        self._database.execute(
            f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?, ?)", (self._room_id(room), last, first, block)
        )

    def _write_snapshot(self, room: str, state: bytes) -> None:
        self.grown += len(state)
        self._database.execute("INSERT OR REPLACE INTO snapshots VALUES (?, ?)", (self._room_id(room), state))

    def _room_id(self, room: str) -> int:
        if room not in self._rooms:
            cursor = self._database.execute("INSERT INTO rooms (name) VALUES (?)", (room,))
            self._rooms[room] = int(cursor.lastrowid or 0)
        return self._rooms[room]

    # --- the write-ahead log -------------------------------------------------------------------------------------

    @property
    def needs_checkpoint(self) -> bool:
        """Whether the write-ahead log has grown so much that `checkpoint` is due."""
        return self.grown >= self.most_grown

    def checkpoint(self) -> None:
        """Move the write-ahead log into the file; the next commit begins it anew. It syncs: this takes milliseconds."""
        self.grown = 0
        move_wal(self._database)

    # --- reading -------------------------------------------------------------------------------------------------

    def answer(self, job: Job) -> None:
        """Answer a question."""
        if job.question is None or job.reply is None:
            return
        try:
            value = job.question(self._database)
        except Exception as error:  # whoever asks must hear it, and the thread must live
            job.reply(None, error)
        else:
            job.reply(value, None)


def mending(file: Path) -> str:
    """What can be done about a damaged file that nothing else holds. Debian builds sqlite3 without `.recover`."""
    name = shlex.quote(str(file))
    saved = f"sqlite3 {name} .recover | sqlite3 {name}.saved"
    whole = f"save what is whole of it with sqlite.org's program (not every system's can): {saved}"
    return f"restore it from a backup, or {whole}, and put that in its place"


def move_wal(database: sqlite3.Connection) -> None:
    """Move what can be moved of the write-ahead log into the file; commits on other connections go on meanwhile."""
    try:
        database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except sqlite3.Error as error:  # the log is as durable as before, only longer
        logger.error("log: the write-ahead log cannot be moved into the file: %s", error)


def _whole(block: bytes, first: int, last: int) -> dict[int, bytes]:
    """The lines of a block that is about to be written anew; a damaged one is replaced by what the log says."""
    try:
        return dict(split(block, first, last))
    except ValueError:
        logger.error("log: a damaged block of messages is made again from the log")
        return {}


def blocks_after(
    database: sqlite3.Connection, table: str, room: str, after: int, limit: int, most: float = inf
) -> list[Block]:
    """Blocks of a room that end above `after`, until there are `limit` lines in them, or `most` bytes."""
    rows = database.execute(
        f"SELECT first, last, block FROM {table} JOIN rooms ON rooms.id = {table}.room "
        "WHERE rooms.name = ? AND last > ? ORDER BY last",
        (room, after),
    )
    found: list[Block] = []
    for first, last, block in rows:
        found.append((first, last, block))
        limit -= last - max(first - 1, after)
        most -= len(block)
        if limit <= 0 or most <= 0:
            break
    rows.close()
    return found


def lines_after(database: sqlite3.Connection, table: str, room: str, after: int, limit: int) -> Lines:
    """The lines above `after` that are in these."""
    found: Lines = []
    for first, last, block in blocks_after(database, table, room, after, limit):
        try:
            lines = split(block, first, last)
        except ValueError:
            raise ValueError(f"the block of {table} of room {room!r} that ends at {last} is damaged") from None
        found += lines if first > after else [line for line in lines if line[0] > after]
    return found
