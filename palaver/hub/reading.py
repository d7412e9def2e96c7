"""The embedded log read by another process than its hub's: nothing is locked, nothing is changed."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

import msgspec

from palaver.core.entry import Entry, decode_entry
from palaver.core.errors import LogUnavailable, ProtocolError
from palaver.core.message import Message
from palaver.hub.sqlite_file import FILE, lines_after, mending

T = TypeVar("T")


class LogFile:
    """The log in a data directory, whether its hub runs or not. Raises `LogUnavailable` where there is none."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        if not self.path.is_file():
            raise LogUnavailable(f"{folder} holds no log of a hub: no {self.path.name} there")

    def rooms(self) -> list[str]:
        """Every room of this file, oldest first."""
        with self._database() as database:
            return [row[0] for row in database.execute("SELECT name FROM rooms ORDER BY id")]

    def entries(self, room: str) -> list[Entry]:
        """All of a room's log, in order; raises `ProtocolError` that names the entry that cannot be read."""
        return self._all("entries", room, decode_entry)

    def messages(self, room: str) -> list[Message]:
        """All that was published in a room, in order."""
        decoder = msgspec.json.Decoder(Message)
        return self._all("messages", room, decoder.decode)

    def _all(self, table: str, room: str, decode: Callable[[bytes], T]) -> list[T]:
        found: list[T] = []
        with self._database() as database:
            for position, line in lines_after(database, table, room, 0, 2**62):
                try:
                    found.append(decode(line))
                except (ProtocolError, msgspec.DecodeError) as error:
                    raise ProtocolError(f"{self.path}, {table} of room {room!r}, number {position}: {error}") from error
        return found

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self.path.resolve().as_uri()}?mode=ro", uri=True)) as database:
                yield database
        except (sqlite3.Error, ValueError) as error:
            is_damage = type(error) is sqlite3.DatabaseError  # and not a disk or a lock
            more = f"; {mending(self.path)}" if is_damage else ""
            raise LogUnavailable(f"{self.path} cannot be read: {error}{more}") from error
