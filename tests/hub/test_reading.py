"""The log read by another process than its hub's."""

import sqlite3
from pathlib import Path

import pytest

from palaver.core.entry import Joined
from palaver.core.errors import LogUnavailable, ProtocolError
from palaver.core.protocol import Say
from palaver.hub.reading import LogFile
from tests.hubs import joined, running


async def test_a_log_can_be_read_while_its_hub_writes_it(tmp_path: Path) -> None:
    async with running(tmp_path) as hub:
        async with joined(hub.url, "Ada", role="moderator") as ada:
            await ada.say("hello")
            log = LogFile(tmp_path)
            kinds = [type(entry.frame) for entry in log.entries("main")]
        assert kinds == [Joined, Say]
        assert log.rooms() == ["main"]
    assert [message.content for message in log.messages("main")] == ["hello"]


def test_a_folder_without_a_log_is_told(tmp_path: Path) -> None:
    with pytest.raises(LogUnavailable, match="holds no log of a hub"):
        LogFile(tmp_path)


async def test_a_broken_entry_is_named_and_a_broken_file_too(tmp_path: Path) -> None:
    async with running(tmp_path) as hub, joined(hub.url, "Ada", role="moderator") as ada:
        await ada.say("hello")
    with sqlite3.connect(tmp_path / "palaver.sqlite3") as database:
        database.execute("UPDATE entries SET block = ?", (b'1 {"no":"entry"}',))
    with pytest.raises(ProtocolError, match="entries of room 'main', number 1: log entry cannot be read"):
        LogFile(tmp_path).entries("main")
    (tmp_path / "palaver.sqlite3").write_bytes(b"garbage " * 1000)
    with pytest.raises(LogUnavailable, match=r"cannot be read: .*; restore it from a backup, or save"):
        LogFile(tmp_path).rooms()
