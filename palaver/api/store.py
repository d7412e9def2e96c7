"""Conversations in SQLite beside the hub's log, so that they outlive the process: records, and what goes on from them.

It knows no HTTP and no hub.
"""

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from palaver.api.plan import Status
from palaver.core.errors import LogUnavailable

T = TypeVar("T")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS conversations (
    number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, status TEXT NOT NULL, created REAL NOT NULL, ended REAL,
    request TEXT NOT NULL, error TEXT, reasoning TEXT NOT NULL, turn_count INTEGER NOT NULL, results TEXT NOT NULL,
    statistics TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unfinished (
    id TEXT PRIMARY KEY, asked TEXT NOT NULL, progress TEXT, attempts INTEGER NOT NULL DEFAULT 0)
"""
_SAVE: Final = """
INSERT INTO conversations (id, status, created, ended, request, error, reasoning, turn_count, results, statistics)
VALUES (:id, :status, :created, :ended, :request, :error, :reasoning, :turn_count, :results,
    :statistics)
ON CONFLICT (id) DO UPDATE SET status = excluded.status, ended = excluded.ended, error = excluded.error,
    reasoning = excluded.reasoning, turn_count = excluded.turn_count, results = excluded.results,
    statistics = excluded.statistics
"""
INTERRUPTED: Final = "the server was stopped while the conversation ran"
ATTEMPTS: Final = 3
"""So often a conversation is taken up in the same turn: one that ends the server each time must not do so for ever."""


@dataclass(frozen=True, slots=True)
class Record:
    """One conversation as it stands. Times are seconds since the epoch; `request` is what was asked for."""

    id: str
    status: Status
    created: float
    request: Mapping[str, Any]
    ended: float | None = None
    error: str | None = None
    reasoning: str = ""
    turn_count: int = 0
    results: Mapping[str, Any] = field(default_factory=dict)
    statistics: Mapping[str, Any] = field(default_factory=dict)

    def changed(self, **fields: Any) -> "Record":
        """With these fields instead."""
        return replace(self, **fields)


@dataclass(frozen=True, slots=True)
class Unfinished:
    """A conversation that ran when the last process ended."""

    record: Record
    asked: str
    """What was asked for, in full, as JSON."""
    progress: str | None
    """How far it had come, as JSON."""


class Store:
    """Records in `folder/conversations.sqlite3` (`None`: in memory). One thread holds the file; callers await.

    What was kept survives a killed process; with `durable` a power cut too. All but `open` raise `LogUnavailable`.
    """

    def __init__(self, folder: Path | None, *, durable: bool = False) -> None:
        self._folder = folder
        self._durable = durable
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="palaver-conversations")
        self._database: sqlite3.Connection | None = None

    async def open(self, now: float) -> list[Unfinished]:
        """Open the file; returns what was running when the last process ended and can go on, oldest first.

        What cannot has failed from now on. Raises `LogUnavailable`.
        """
        return await self._ask(self._open, now)

    def _open(self, now: float) -> list[Unfinished]:
        if self._folder is not None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = ":memory:" if self._folder is None else str(self._folder / "conversations.sqlite3")
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute(f"PRAGMA synchronous = {'FULL' if self._durable else 'NORMAL'}")
        self._database.executescript(_SCHEMA)
        self._database.execute("UPDATE unfinished SET attempts = attempts + 1")
        self._database.execute(
            "UPDATE conversations SET status = 'failed', error = ?, ended = ? WHERE status = 'running'"
            " AND id NOT IN (SELECT id FROM unfinished WHERE attempts <= ?)",
            (INTERRUPTED, now, ATTEMPTS),
        )
        self._database.execute("DELETE FROM unfinished WHERE attempts > ?", (ATTEMPTS,))
        asked = {ident: rest for ident, *rest in self._database.execute("SELECT id, asked, progress FROM unfinished")}
        running = self._select("WHERE status = 'running' ORDER BY number", ())
        return [Unfinished(record, *asked[record.id]) for record in running]

    async def begin(self, record: Record, asked: str) -> None:
        """Keep the record of a conversation that begins, and what was asked for, so that it can be taken up again."""
        await self._ask(self._begin, record, asked)

    async def keep(self, ident: str, progress: str) -> None:
        """Keep how far a conversation has come."""
        await self._ask(self._keep, ident, progress)

    async def save(self, record: Record) -> None:
        """Keep the record of a conversation that is over; it is not taken up again."""
        await self._ask(self._save, record)

    async def get(self, ident: str) -> Record | None:
        """The record under that id."""
        found = await self._ask(self._select, "WHERE id = ?", (ident,))
        return found[0] if found else None

    async def latest(self, *, limit: int, offset: int, status: Status | None = None) -> list[Record]:
        """Records, newest first."""
        where, values = ("WHERE status = ? ", (status,)) if status else ("", ())
        return await self._ask(self._select, f"{where}ORDER BY number DESC LIMIT ? OFFSET ?", (*values, limit, offset))

    async def close(self) -> None:
        """Let go of the file."""
        if self._database is not None:
            await self._ask(self._database.close)
            self._database = None
        self._thread.shutdown()

    async def _ask(self, work: Callable[..., T], *values: Any) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work, *values)
        except (OSError, sqlite3.Error) as error:
            raise LogUnavailable(f"conversations in {self._folder or 'memory'}: {error}") from error

    def _begin(self, record: Record, asked: str) -> None:
        assert self._database is not None
        with self._transaction():
            self._database.execute("INSERT INTO unfinished (id, asked) VALUES (?, ?)", (record.id, asked))
            self._write(record)

    def _keep(self, ident: str, progress: str) -> None:
        assert self._database is not None
        self._database.execute("UPDATE unfinished SET progress = ?, attempts = 0 WHERE id = ?", (progress, ident))

    def _save(self, record: Record) -> None:
        assert self._database is not None
        with self._transaction():
            self._database.execute("DELETE FROM unfinished WHERE id = ?", (record.id,))
            self._write(record)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        assert self._database is not None
        self._database.execute("BEGIN")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:  # a full disk has ended it already
                self._database.execute("ROLLBACK")
            raise

    def _write(self, record: Record) -> None:
        assert self._database is not None
        row = {name: getattr(record, name) for name in Record.__slots__}
        for name in ("request", "results", "statistics"):
            row[name] = json.dumps(dict(row[name]), default=str)
        self._database.execute(_SAVE, row)

    def _select(self, rest: str, values: tuple[Any, ...]) -> list[Record]:
        assert self._database is not None
        found = self._database.execute(f"SELECT {', '.join(Record.__slots__)} FROM conversations {rest}", values)
        return [_record(row) for row in found]


def _record(row: tuple[Any, ...]) -> Record:
    fields = dict(zip(Record.__slots__, row, strict=True))
    for name in ("request", "results", "statistics"):
        fields[name] = json.loads(fields[name])
    return Record(**fields)
