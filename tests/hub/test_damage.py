"""Broken files and disks: what is whole comes back, and what is not is said, with what to do about it."""

import asyncio
import os
import random
import shutil
import signal
import sqlite3
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from palaver.core.errors import LogUnavailable
from palaver.core.transcript import from_lines
from palaver.hub.sqlite_log import SqliteLog
from tests.hubs import joined, running, stranger
from tests.nats_server import NatsServer
from tests.processes import hub_process, program

FILE = "palaver.sqlite3"
SAID = 40


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a hub left when it was stopped, after so many messages."""
    folder = tmp_path_factory.mktemp("stopped")
    asyncio.run(_talk(folder))
    return folder


async def _talk(folder: Path) -> None:
    async with running(folder / "data", transcripts=folder / "logs") as hub, joined(hub.url, "Ann") as ann:
        for number in range(SAID):
            await ann.say(f"word {number} {'x' * 300}")


def copied(folder: Path, to: Path) -> Path:
    """A copy of the whole folder, to be broken."""
    shutil.copytree(folder, to, dirs_exist_ok=True)
    return to / "data" / FILE


def sql(file: Path, *commands: str) -> None:
    """Change the database behind the hub's back."""
    with sqlite3.connect(file) as database:
        for command in commands:
            database.execute(command)
    database.close()


def garbage(file: Path, at: float, size: int = 6000) -> None:
    """Write noise over a part of a file."""
    with file.open("r+b") as opened:
        opened.seek(int(file.stat().st_size * at))
        opened.write(random.Random(1).randbytes(size))


@pytest.mark.system
@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda file: garbage(file, 0.0), "file is not a database"),
        (lambda file: os.truncate(file, file.stat().st_size // 2), "malformed"),
    ],
)
async def test_a_file_that_is_no_database_is_named_with_what_to_do(
    damage: Callable[[Path], None], said: str, stopped: Path, tmp_path: Path
) -> None:
    file = copied(stopped, tmp_path)
    damage(file)
    where = ("--data-dir", str(file.parent), "--transcripts", str(tmp_path / "logs"))
    async with program("server.py", "--port", "0", *where) as hub:
        assert await hub.exit() == 2
    assert said in hub.output
    assert f"{file} is damaged: stop the hub, then restore it from a backup" in hub.output
    assert "Traceback" not in hub.output


@pytest.mark.parametrize(
    ("block", "said"),
    [
        ("6E6F", "block of entries of room 'main' that ends at 7 is damaged"),
        ("37207B7D", "entry 7 of room 'main' is damaged"),
        ("3720FF80", "entry 7 of room 'main' is damaged"),
        ("7B7D", "entry 7 of room 'main' is damaged"),
        ("7B7D0A7B7D", "block of entries of room 'main' that ends at 7 is damaged"),
    ],
)
async def test_a_room_with_a_damaged_block_is_refused_and_the_hub_says_why(
    block: str, said: str, stopped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Other rooms go on; the member is told to come back, and nothing of the hub's files."""
    file = copied(stopped, tmp_path)
    sql(file, "DELETE FROM snapshots", f"UPDATE entries SET block = X'{block}' WHERE last = 7")
    async with running(file.parent, transcripts=tmp_path / "logs") as hub:
        for _ in range(2):
            async with stranger(hub.url) as one:
                await one.send({"type": "join", "name": "Ann", "role": "moderator"})
                assert (await one.until("error"))["reason"].startswith("room 'main' cannot be opened at present")
        async with joined(hub.url, "Ann", room="other") as ann:
            assert (await ann.say("still here"))["seq"] == 1
    assert said in caplog.text
    assert str(file) in caplog.text


@pytest.mark.parametrize("block", ["39207B7D", "6E6F"])
async def test_a_damaged_archive_is_made_again_as_the_hub_says(
    block: str, stopped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = copied(stopped, tmp_path)
    sql(file, f"UPDATE messages SET block = X'{block}'")
    async with running(file.parent, transcripts=tmp_path / "logs") as hub, stranger(hub.url) as one:
        await one.send({"type": "join", "name": "Ann", "role": "moderator"})
        assert (await one.until("error"))["code"] == "log_unavailable"
    assert "DELETE FROM messages; DELETE FROM snapshots" in caplog.text
    sql(file, "DELETE FROM messages", "DELETE FROM snapshots")
    async with running(file.parent) as hub, joined(hub.url, "Late", "observer", after=0) as late:
        assert [(await late.until("message"))["seq"] for _ in range(SAID)] == list(range(1, SAID + 1))


async def test_a_replay_mends_a_damaged_archive_by_itself(stopped: Path, tmp_path: Path) -> None:
    """It must not keep the log from being written either."""
    file = copied(stopped, tmp_path)
    sql(file, "UPDATE messages SET block = X'6E6F'", "DELETE FROM snapshots")
    async with running(file.parent) as hub, joined(hub.url, "Ann", after=0) as ann:
        assert [(await ann.until("message"))["seq"] for _ in range(SAID)] == list(range(1, SAID + 1))
        assert (await ann.say("and on"))["seq"] == SAID + 1


async def test_a_log_of_other_rules_that_makes_less_than_was_said_is_refused(
    stopped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that these rules refuse stands for it: `seq` would begin again below what members have heard."""
    file = copied(stopped, tmp_path)
    word = f"word 6 {'x' * 300}"
    sql(
        file,
        "DELETE FROM snapshots",
        f"UPDATE entries SET block = CAST(replace(CAST(block AS TEXT), '{word}', '') AS BLOB)",
    )
    async with running(file.parent, transcripts=tmp_path / "logs") as hub, stranger(hub.url) as one:
        await one.send({"type": "join", "name": "Ann", "role": "moderator"})
        assert (await one.until("error"))["code"] == "log_unavailable"
    assert f"its log makes {SAID - 1} messages under this version's rules, but message {SAID} was said" in caplog.text
    assert len((tmp_path / "logs/main.jsonl").read_bytes().splitlines()) == SAID


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE messages SET block = CAST(replace(block, 'word', '\\q') AS BLOB) WHERE first = 1",
        "UPDATE messages SET block = CAST(replace(block, '\"seq\":2,', '\"seq\":9,') AS BLOB) WHERE first = 1",
        "DELETE FROM messages WHERE first = (SELECT max(first) FROM messages)",
        "DELETE FROM messages WHERE first = 1",
        "UPDATE messages SET block = block",
    ],
)
async def test_a_replay_makes_again_what_the_archive_lacks_and_leaves_the_rest(
    damage: str, stopped: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = copied(stopped, tmp_path)
    sql(file, damage, "DELETE FROM snapshots")
    made: list[int] = []
    record = SqliteLog.record

    def noted(self: SqliteLog, room: str, messages: Sequence[tuple[int, bytes]]) -> None:
        made.extend(seq for seq, _ in messages)
        record(self, room, messages)

    monkeypatch.setattr(SqliteLog, "record", noted)
    async with running(file.parent) as hub, joined(hub.url, "Ann", after=0) as ann:
        assert bool(made) is (damage != "UPDATE messages SET block = block")
        found = [await ann.until("message") for _ in range(SAID)]
    assert [message["seq"] for message in found] == list(range(1, SAID + 1))
    assert [message["content"] for message in found] == [f"word {number} {'x' * 300}" for number in range(SAID)]


async def test_a_member_goes_on_from_memory_where_the_archive_cannot_be_read(
    stopped: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = copied(stopped, tmp_path)
    async with running(file.parent, history=5) as hub, joined(hub.url, "Ann") as ann:
        for number in range(300):  # more than memory holds
            await ann.say(f"more {number}")
    sql(file, "UPDATE messages SET block = X'6E6F'")
    async with running(file.parent) as hub, joined(hub.url, "Late", "observer", after=0) as late:
        first = (await late.until("message"))["seq"]
        assert 1 < first < SAID + 300
        async with joined(hub.url, "Ann") as ann:
            await ann.say("and on")
        await late.until("message", content="and on")
        seqs = [message["seq"] for message in late.messages()]
        assert seqs == list(range(first, SAID + 302))
    assert f"messages 1 to {first - 1} are lost" in caplog.text


@pytest.mark.system
@pytest.mark.parametrize("damage", ["cut", "garbage", "gone"])
async def test_a_cut_write_ahead_log_costs_only_its_end_and_the_loss_is_said(damage: str, tmp_path: Path) -> None:
    """What is whole comes back with gap-free numbers; the transcript, which holds more, is kept and named."""
    async with hub_process(tmp_path) as (url, hub):
        async with joined(url, "Ann") as ann:
            for number in range(SAID):
                await ann.say(f"word {number} {'x' * 300}")
            await _written(tmp_path / "logs" / "main.jsonl", SAID)
        hub.signal(signal.SIGKILL)
        await hub.exit()
    wal = tmp_path / "data" / f"{FILE}-wal"
    if damage == "cut":
        os.truncate(wal, wal.stat().st_size // 2)
    elif damage == "garbage":
        garbage(wal, 0.5)
    else:
        wal.unlink()
    async with hub_process(tmp_path) as (url, hub), joined(url, "Late", "observer", after=0) as late:
        whole = late.seen[0]["seq"]
        assert whole == 0 if damage == "gone" else 0 < whole < SAID
        assert [(await late.until("message"))["seq"] for _ in range(whole)] == list(range(1, whole + 1))
        async with joined(url, "Ann") as ann:
            assert (await ann.say("and on"))["seq"] == whole + 1
        told = "holds nothing of" if damage == "gone" else f"the log ends before message {SAID}"
        await hub.until(f"ERROR .*{told}.*main.1.jsonl", 10)
        assert "Traceback" not in hub.output
        hub.signal(signal.SIGTERM)
        assert await hub.exit() == 0
    kept = from_lines((tmp_path / "logs" / "main.1.jsonl").read_bytes().splitlines())
    assert [message.seq for message in kept] == list(range(1, SAID + 1))
    anew = from_lines((tmp_path / "logs" / "main.jsonl").read_bytes().splitlines())
    assert [message.seq for message in anew] == list(range(1, whole + 2))


async def _written(path: Path, lines: int) -> None:
    def lacks() -> bool:
        return not path.exists() or path.read_bytes().count(b"\n") < lines

    async with asyncio.timeout(10):
        while await asyncio.to_thread(lacks):  # noqa: ASYNC110  # the file is another process's
            await asyncio.sleep(0.02)


@pytest.mark.system
async def test_a_hub_whose_own_archive_is_damaged_makes_it_again_from_the_shared_log(
    nats: NatsServer, tmp_path: Path
) -> None:
    """As it says itself: the file may be deleted."""
    flags = ("--log", nats.url, "--hub-name", "one")
    async with hub_process(tmp_path, *flags) as (url, hub):
        async with joined(url, "Ann") as ann:
            for number in range(SAID):
                await ann.say(f"word {number}")
        hub.signal(signal.SIGTERM)
        assert await hub.exit() == 0
    (file,) = (tmp_path / "data").glob(f"*/{FILE}")
    garbage(file, 0.0)
    where = ("--data-dir", str(tmp_path / "data"), "--transcripts", str(tmp_path / "logs"))
    async with program("server.py", "--port", "0", *where, *flags) as broken:
        assert await broken.exit() == 2
    assert f"delete {file.parent}: all of it is made again" in broken.output
    shutil.rmtree(file.parent)
    async with hub_process(tmp_path, *flags) as (url, _), joined(url, "Late", "observer", after=0) as late:
        assert [(await late.until("message"))["seq"] for _ in range(SAID)] == list(range(1, SAID + 1))


async def test_a_log_that_could_not_be_opened_is_not_kept_locked(stopped: Path, tmp_path: Path) -> None:
    file = copied(stopped, tmp_path)
    garbage(file, 0.0)
    for _ in range(2):
        with pytest.raises(LogUnavailable, match="file is not a database"):
            await SqliteLog(file.parent).open()


def mounted(*arguments: str) -> bool:
    """Mount something, where that is allowed."""
    return not subprocess.run(["mount", *arguments], capture_output=True).returncode


def unmount(folder: Path) -> None:
    """Let go of it, whoever still uses it."""
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.system
async def test_a_disk_that_is_really_full_is_said_once_and_a_read_only_one_too(tmp_path: Path) -> None:
    """A2.12: nothing acknowledged is lost, the hub goes on when there is room again; no traceback."""
    if os.geteuid() or not mounted("-t", "tmpfs", "-o", "size=600k", "tmpfs", str(tmp_path)):
        pytest.skip("mounting needs root: run the tests as root to see a disk that is really full")
    try:
        async with hub_process(tmp_path) as (url, hub), joined(url, "Ann") as ann:
            answers = [await ann.say(f"{number} {'x' * 4000}") for number in range(100)]
            refused = {answer["code"] for answer in answers if answer["type"] == "nack"}
            assert refused == {"unavailable"}
            assert hub.output.count("cannot be written, messages are refused") == 1
            assert mounted("-o", "remount,size=20m", str(tmp_path))
            last = (await ann.say("after"))["seq"]
            assert last == sum(answer["type"] == "ack" for answer in answers) + 1
            async with joined(url, "Late", "observer", after=0) as late:
                assert [(await late.until("message"))["seq"] for _ in range(last)] == list(range(1, last + 1))
            hub.signal(signal.SIGTERM)
            assert await hub.exit() == 0
            assert "Traceback" not in hub.output
        assert mounted("-o", "remount,ro", str(tmp_path))
        async with program("server.py", "--port", "0", "--data-dir", str(tmp_path / "data")) as hub:
            assert await hub.exit() == 2
        assert "Read-only file system" in hub.output
    finally:
        unmount(tmp_path)
