"""Blocks of lines in the embedded log."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palaver.core.errors import LogUnavailable
from palaver.core.message import Message
from palaver.core.protocol import encode
from palaver.hub import blocks
from palaver.hub.blocks import Lines, joined, pieces, split
from palaver.hub.sqlite_log import SqliteLog
from tests.hub.taken import Taken, entry

numbers = st.lists(st.integers(1, 60), min_size=1, unique=True).map(sorted)


def lines_of(numbers: list[int]) -> Lines:
    return [(number, json.dumps({"content": f"{number} \n {{"}).encode()) for number in numbers]


@given(numbers=numbers)
def test_a_block_gives_back_the_lines_that_it_was_made_of(numbers: list[int]) -> None:
    lines = lines_of(numbers)
    assert split(joined(lines), numbers[0], numbers[-1]) == lines


def test_numbers_are_written_only_where_one_is_missing() -> None:
    assert joined([(7, b"{}"), (8, b"{}")]) == b"{}\n{}"
    assert joined([(7, b"{}"), (9, b"{}")]) == b"7 {}\n9 {}"


@pytest.mark.parametrize("block", [b"{}", b"{}\n{}\n{}", b"no", b"", b"7 {}\n{}"])
def test_a_block_that_is_not_what_its_row_says_is_damaged(block: bytes) -> None:
    with pytest.raises(ValueError, match=r"lines where those from 7 to 8 should be|invalid literal"):
        split(block, 7, 8)


@given(count=st.integers(1, 60), size=st.integers(0, 200))
def test_a_block_is_cut_between_lines_only(count: int, size: int) -> None:
    block = joined(lines_of(list(range(1, count + 1))))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "PIECE", size)
        assert b"\n".join(pieces(block)) == block
        assert all(json.loads(line) for piece in pieces(block) for line in bytes(piece).split(b"\n"))


async def test_entries_of_a_large_block_are_read_from_anywhere_and_one_that_is_damaged_is_named(tmp_path: Path) -> None:
    log, taken = SqliteLog(tmp_path), Taken()
    await log.open()
    log.tail("main", 0, taken)
    for number in range(1, 301):
        log.append(entry(number))
    await taken.until_answered(300)
    for after in (0, 1, 150, 299, 300):
        found = await log.read("main", after)
        assert [(position, one.id) for position, one in found] == [(n, str(n)) for n in range(after + 1, 301)]
        assert len(found) == 300 - after
    await log.close()
    with closing(sqlite3.connect(tmp_path / "palaver.sqlite3")) as database:
        ((first, last, block),) = database.execute("SELECT first, last, block FROM entries").fetchall()
        assert len(block) > 2 * blocks.PIECE
        lines = [line for _, line in split(block, first, last)]
        for wrong, told in (
            ([*lines[:249], b"{}", *lines[250:]], "entry 250 of room 'main' is damaged"),
            ([*lines, lines[0]], "block of entries of room 'main' that ends at 300 is damaged"),
            ([*lines[:249], b"", *lines[250:]], "entry 250 of room 'main' is damaged"),
            (lines[:-1], "block of entries of room 'main' that ends at 300 is damaged"),
        ):
            database.execute("UPDATE entries SET block = ?", (b"\n".join(wrong),))
            database.commit()
            log = SqliteLog(tmp_path)
            await log.open()
            with pytest.raises(LogUnavailable, match=told):
                list(await log.read("main", 0))
            await log.close()


async def test_blocks_with_a_number_in_each_line_are_read_as_they_were_written(tmp_path: Path) -> None:
    said = Message(room="main", seq=1, id="", sender="Ann", role="moderator", content="words", timestamp="")
    log, taken = SqliteLog(tmp_path), Taken()
    await log.open()
    log.tail("main", 0, taken)
    for number in range(3):
        log.append(entry(number))
    log.record("main", [(1, encode(said))])
    await taken.until_answered(3)
    await log.close()
    with closing(sqlite3.connect(tmp_path / "palaver.sqlite3")) as database:
        for table in ("entries", "messages"):
            for first, last, block in database.execute(f"SELECT first, last, block FROM {table}").fetchall():
                numbered = b"\n".join(b"%d %b" % line for line in split(block, first, last))
                database.execute(f"UPDATE {table} SET block = ? WHERE last = ?", (numbered, last))
        database.commit()
    log = SqliteLog(tmp_path)
    await log.open()
    assert [(position, one.id) for position, one in await log.read("main", 0)] == [(1, "0"), (2, "1"), (3, "2")]
    assert await log.messages("main", 0, 10) == [said]
    log.record("main", [(1, encode(said)), (2, encode(said))])
    assert [one.seq for one in await log.messages("main", 0, 10)] == [1, 1]
    await log.close()
