"""Recorded conversations as the commands name them: a data directory, one of its rooms, or a file."""

import argparse
import asyncio
import os
import re
import stat
import sys
import tempfile
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import msgspec

from palaver.core.entry import Entry, Joined, decode_entry
from palaver.core.errors import ConfigError, PalaverError, ProtocolError
from palaver.core.message import Message
from palaver.core.protocol import Say
from palaver.core.transcript import from_lines
from palaver.hub.reading import LogFile
from palaver.hub.sqlite_file import FILE
from palaver.replay.forking import said_in

PLACES_HELP: Final = "a hub's data directory (DIR, or DIR:ROOM), a log that hubs share (nats://host:port)"
LOG_HELP: Final = f"{PLACES_HELP}, or a file that `palaver export` wrote (.jsonl)"

_ROOM: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Recording:
    """What there is of one room."""

    room: str
    messages: list[Message]
    entries: list[Entry] = field(default_factory=list)
    """The hub's log of it; empty where only what was said is known."""
    folder: Path | None = None
    """The data directory it lies in."""


def add_room_flag(flags: argparse.ArgumentParser) -> None:
    """`--room`."""
    flags.add_argument("--room", metavar="ROOM", help="which room of the data directory (None: its only one, or main)")


def read(log: str, room: str | None = None) -> Recording:
    """The conversation that `log` names; raises `PalaverError` that says what is wrong and, of a file, where."""
    if log.startswith(("nats://", "tls://")):
        return _of_hubs(log, room)
    path = Path(log)
    if not path.exists() and ":" in log and Path(log.rpartition(":")[0]).is_dir():
        folder, _, named = log.rpartition(":")
        return _of_folder(Path(folder), room or named)
    if path.is_dir():
        return _of_folder(path, room)
    return _of_file(path)


def _of_folder(folder: Path, wanted: str | None) -> Recording:
    copies = [] if (folder / FILE).exists() else [path.parent for path in folder.glob(f"*/{FILE}")]
    if copies:
        told = "name that log (nats://host:port), or for what was said"
        raise ConfigError(f"{folder} is of a hub on a shared log: {told} {' or '.join(map(str, copies))}")
    log = LogFile(folder)
    room = _room_of(log.rooms(), wanted, str(folder))
    entries, messages = log.entries(room), log.messages(room)
    if _is_behind(messages, entries):
        messages += said_in(entries)[len(messages) :]
    return Recording(room, messages, entries, folder)


def _of_hubs(servers: str, wanted: str | None) -> Recording:
    """A room of a log that several hubs share, whether they run or not; in a loop of its own, for callers have one."""
    from palaver.cli.shared_log import rooms_and_entries

    reading = rooms_and_entries(servers, lambda rooms: _room_of(rooms, wanted, servers))
    with ThreadPoolExecutor(1) as thread:
        room, entries = thread.submit(asyncio.run, reading).result()
    return Recording(room, said_in(entries), entries)


def _room_of(rooms: Sequence[str], wanted: str | None, place: str) -> str:
    room = wanted or (rooms[0] if len(rooms) == 1 else "main")
    if room not in rooms:
        raise ConfigError(f"{place} holds no room {room!r}; it holds: {', '.join(rooms) or 'none'}")
    return room


def _is_behind(messages: Sequence[Message], entries: Sequence[Entry]) -> bool:
    """Whether the log may hold more than the archive: a hub writes that half a second later, and may be killed."""
    opening = next((entry.frame for entry in entries if isinstance(entry.frame, Joined)), None)
    last = next((entry.frame.id for entry in reversed(entries) if isinstance(entry.frame, Say)), "")
    return opening is not None and opening.opening is not None and last not in {one.id for one in messages[-50:]}


def _of_file(path: Path) -> Recording:
    lines = read_lines(path)
    first = next((line for line in lines if line.strip()), "")
    try:
        if '"frame":' in first:
            return _of_entries(lines, path)
        messages = list(from_lines(lines))
    except ProtocolError as error:
        raise ProtocolError(f"{path}: {error}; `palaver import` reads other forms") from error
    for message in messages:
        _check_stamp(message, path)
    return Recording(messages[0].room if messages else path.stem, messages)


def _of_entries(lines: Iterable[str], path: Path) -> Recording:
    entries = []
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                entries.append(decode_entry(line.encode("utf-8", "surrogateescape")))
            except ProtocolError as error:
                raise ProtocolError(f"line {number}: {error}") from error
    return Recording(entries[0].room, [], entries)


def _check_stamp(message: Message, path: Path) -> None:
    try:
        datetime.fromisoformat(message.timestamp)
    except ValueError as error:
        raise ProtocolError(f"{path}: message {message.seq}: timestamp {message.timestamp!r} is no time") from error


def room_called(text: str) -> str:
    """A room's name, checked; raises `ConfigError`."""
    if not _ROOM.fullmatch(text):
        raise ConfigError(f"--room {text!r} must be 1 to 64 letters, digits, dots, dashes or underscores")
    return text


def read_lines(path: Path) -> list[str]:
    """The lines of a text file; raises `ConfigError`."""
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeError) as error:
        raise ConfigError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error


def write(path: Path | None, body: bytes, *, private: bool = False) -> None:
    """Put a whole file in its place at once, or send it to standard output where there is no path."""
    if path is None:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
        return
    if path.exists() and not path.is_file():  # a pipe or a device is written, never replaced
        _write_into(path, body)
        return
    new = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        new = Path(name)
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        new.chmod(0o600 if private else _mode(path))
        new.replace(path)
    except OSError as error:
        if new is not None:
            new.unlink(missing_ok=True)
        raise PalaverError(f"{path} cannot be written: {error.strerror or error}") from error


def _write_into(path: Path, body: bytes) -> None:
    try:
        with path.open("wb") as file:
            file.write(body)
    except OSError as error:
        raise PalaverError(f"{path} cannot be written: {error.strerror or error}") from error


def _mode(path: Path) -> int:
    """As an ordinary new file has it, or as the one that is replaced."""
    if path.exists():
        return stat.S_IMODE(path.stat().st_mode)
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def as_json(value: object) -> bytes:
    """JSON for people, with a line for each pair."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
