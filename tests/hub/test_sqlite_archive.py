"""The archive of the embedded log: what is replayed over one that is there already."""

import asyncio
import time
from pathlib import Path

from palaver.hub.sqlite_log import SqliteLog


def line(seq: int, content: str = "word") -> tuple[int, bytes]:
    """A published message as the archive keeps it."""
    start = f'{{"type":"message","room":"main","seq":{seq},"id":"m{seq}","from":"Ada","role":"moderator",'
    return seq, f'{start}"content":"{content} {seq}","timestamp":"2026-01-01T00:00:00.000Z"}}'.encode()


async def contents(log: SqliteLog) -> list[str]:
    """Every message of the archive."""
    found: list[str] = []
    while page := await log.messages("main", len(found), 500):
        found += [message.content for message in page]
    return found


async def test_an_archive_that_is_there_already_is_replayed_over_by_the_block(tmp_path: Path) -> None:
    """A room without a usable snapshot replays its log: 10,000 messages over the old archive took minutes once."""
    log = SqliteLog(tmp_path)
    await log.open()
    for _ in range(2):
        started = time.perf_counter()
        for first in range(1, 10_001, 500):
            log.record("main", [line(seq) for seq in range(first, first + 500)])
            await asyncio.sleep(0)
        assert len(await contents(log)) == 10_000
        assert time.perf_counter() - started < 10
    await log.close()


async def test_a_replay_puts_redactions_in_place_and_fills_holes(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    await log.open()
    log.record("main", [line(seq) for seq in (1, 2, 5)])
    await log.messages("main", 0, 1)
    log.record("main", [line(6), line(2, "redacted"), line(3), line(4), line(7), line(6, "redacted")])
    expected = ["word 1", "redacted 2", "word 3", "word 4", "word 5", "redacted 6", "word 7"]
    assert await contents(log) == expected
    await log.close()
