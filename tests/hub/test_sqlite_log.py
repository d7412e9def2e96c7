"""The embedded log: one order whoever commits, nothing acknowledged that is not in the file."""

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from palaver.core.entry import Entry
from palaver.hub import sqlite_file, sqlite_log, sqlite_writer
from palaver.hub.sqlite_file import Fsync, SqliteFile
from palaver.hub.sqlite_log import SqliteLog
from tests.hub.taken import Taken, entry


@asynccontextmanager
async def opened(folder: Path | None, fsync: Fsync = "everysec") -> AsyncIterator[tuple[SqliteLog, Taken]]:
    log, taken = SqliteLog(folder, fsync=fsync), Taken()
    await log.open()
    log.tail("main", 0, taken)
    try:
        yield log, taken
    finally:
        await log.close()


def committers(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that commit, as they do."""
    names: list[str] = []
    real = SqliteFile.commit

    def commit(self: SqliteFile, jobs: list[sqlite_file.Job]) -> sqlite_file.Outcome:
        names.append(threading.current_thread().name)
        return real(self, jobs)

    monkeypatch.setattr(SqliteFile, "commit", commit)
    return names


async def test_the_loop_commits_by_itself_while_nothing_else_uses_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = committers(monkeypatch)
    async with opened(tmp_path) as (log, taken):
        for number in range(3):
            log.append(entry(number))
        assert not taken.ids
        await taken.until_answered(3)
        assert names == ["MainThread"]  # all of one pass in one commit
        with sqlite3.connect(tmp_path / "palaver.sqlite3") as other:  # durable once it came back
            assert other.execute("SELECT first, last FROM entries").fetchall() == [(1, 3)]
    other.close()


async def test_fsync_always_never_waits_for_the_disk_in_the_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = committers(monkeypatch)
    async with opened(tmp_path, "always") as (log, taken):
        log.append(entry(0))
        await taken.until_answered(1)
    assert set(names) == {"palaver-log"}


async def test_a_disk_that_was_slow_is_left_to_the_thread_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = committers(monkeypatch)
    monkeypatch.setattr(sqlite_log, "SLOW", 0.0)
    async with opened(tmp_path) as (log, taken):
        for number in range(2):
            log.append(entry(number))
            await taken.until_answered(number + 1)
    assert names[:2] == ["MainThread", "palaver-log"]


async def test_what_comes_while_the_thread_is_busy_stays_in_order(tmp_path: Path) -> None:
    """Questions, checkpoints and snapshots go to the thread; entries handed over before, meanwhile and after."""
    async with opened(tmp_path) as (log, taken):
        asked: list[asyncio.Task[Sequence[tuple[int, Entry]]]] = []
        for number in range(400):
            log.append(entry(number))
            if number % 20 == 0:
                asked.append(asyncio.create_task(log.read("main", 0)))
            if number % 50 == 0:
                log.save_snapshot("main", number, b"{}")
            if number % 3 == 0:
                await asyncio.sleep(0)
        await taken.until_answered(400)
        answers = await asyncio.gather(*asked)
    assert taken.ids == list(range(400))
    assert taken.positions == list(range(1, 401))
    assert all([int(one.id) for _, one in answer] == list(range(len(answer))) for answer in answers)


async def test_a_snapshot_is_never_ahead_of_the_archive(tmp_path: Path) -> None:
    """What was published before it is written with it: after a kill -9 nobody would make it again."""
    async with opened(tmp_path) as (log, _):
        log.record("main", [(1, b"{}")])
        log.save_snapshot("main", 1, b"{}")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with sqlite3.connect(tmp_path / "palaver.sqlite3") as other:
            assert other.execute("SELECT COUNT(*) FROM snapshots").fetchone() == (1,)
            assert other.execute("SELECT first, last FROM messages").fetchall() == [(1, 1)]
        other.close()


async def test_a_question_sees_all_that_was_handed_over_before(tmp_path: Path) -> None:
    async with opened(tmp_path) as (log, _):
        log.append(entry(0))
        assert [position for position, _ in await log.read("main", 0)] == [1]
        log.record("main", [(1, b'{"room":"main"}')])
        with pytest.raises(Exception, match="missing required field"):  # it was found, and is no message
            await log.messages("main", 0, 10)


def checkpoints(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the threads that move the write-ahead log into the file, as they do."""
    names: list[str] = []
    real = sqlite_file.move_wal

    def move(database: sqlite3.Connection) -> None:
        names.append(threading.current_thread().name)
        real(database)

    monkeypatch.setattr(sqlite_file, "move_wal", move)
    monkeypatch.setattr(sqlite_writer, "move_wal", move)
    return names


async def test_the_write_ahead_log_is_moved_beside_the_commits_and_begun_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite_writer, "CHECKPOINT", 256 * 1024)
    monkeypatch.setattr(sqlite_writer, "RESTART", 1024 * 1024)
    monkeypatch.setattr(sqlite_writer, "PERIOD", 0.01)
    names, number = checkpoints(monkeypatch), 0
    async with opened(tmp_path) as (log, taken):
        while names.count("palaver-log") < 8:  # begun anew eight times, each after having been moved most of the way
            log.append(entry(number, text="x" * 60_000))
            number += 1
            await taken.until_answered(number)
            await asyncio.sleep(0.001)
            assert number < 5000
        assert names.count("palaver-sync") >= 8
        assert names.index("palaver-sync") < names.index("palaver-log")
        assert (tmp_path / "palaver.sqlite3-wal").stat().st_size < number * 60_000 / 2
    assert taken.ids == list(range(number))


async def test_with_fsync_always_the_thread_moves_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_file, "CHECKPOINT", 256 * 1024)
    names = checkpoints(monkeypatch)
    async with opened(tmp_path, "always") as (log, taken):
        for number in range(20):
            log.append(entry(number, text="x" * 60_000))
            await taken.until_answered(number + 1)
    assert names
    assert set(names) == {"palaver-log"}


async def test_a_commit_that_fails_in_the_loop_is_refused_and_the_next_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SqliteFile._insert

    def full(self: SqliteFile, table: str, room: str, first: int, last: int, block: bytes) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    async with opened(tmp_path) as (log, taken):
        log.append(entry(0))
        await taken.until_answered(1)
        monkeypatch.setattr(SqliteFile, "_insert", full)
        log.append(entry(1))
        log.record("main", [(1, b"{}")])
        await taken.until_answered(2)
        monkeypatch.setattr(SqliteFile, "_insert", real)
        log.append(entry(2))
        await taken.until_answered(3)
    assert (taken.ids, taken.positions, taken.turned_away) == ([0, 2], [1, 2], [1])
