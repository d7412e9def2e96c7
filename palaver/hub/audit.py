"""Who steered, when, from where, and what came of it: one JSON line for each command, written beside the loop."""

import asyncio
import hashlib
import logging
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import msgspec

from palaver.core.commands import parse, spec_of
from palaver.core.errors import CommandError, ConfigError
from palaver.core.message import timestamp
from palaver.core.protocol import Ack, Nack

logger = logging.getLogger(__name__)

MOST_WAITING: Final = 10_000
"""Lines that may wait for the disk; beyond, they are counted as lost and the count is written when there is room."""
LONGEST: Final = 2000
"""Characters of a command that are kept."""


class AuditLog:
    """Appends to a file that only its owner may read. Nobody waits for it, and a full disk stops no command."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._lines: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def open(self) -> None:
        """Begin writing; raises `ConfigError`."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.path.touch(mode=0o600)
            file = self.path.open("ab")
        except OSError as error:
            raise ConfigError(f"audit log {self.path}: {error.strerror}") from error
        self._thread = threading.Thread(target=self._write, args=(file,), name="audit", daemon=True)
        self._thread.start()

    def command(
        self,
        *,
        room: str,
        actor: str,
        role: str,
        session: str,
        address: str,
        text: str,
        names: Sequence[str],
        answer: Ack | Nack,
    ) -> None:
        """Note a command and its answer."""
        private = is_private(text)
        line: dict[str, Any] = {
            "time": timestamp(time.time()),
            "room": room,
            "actor": actor,
            "role": role,
            "session": hashed(session),
            "address": address,
            "command": told(text, names),
        }
        if isinstance(answer, Ack):
            line |= {"outcome": "ack", "text": answer.text, "changed": answer.changed}
        else:
            line |= {"outcome": "nack", "code": answer.code, "text": "" if private else answer.reason}
        self.note(line)

    def note(self, line: Mapping[str, Any]) -> None:
        """Write a line as soon as the disk takes it."""
        if self._lines.qsize() >= MOST_WAITING:
            self.lost += 1
            return
        lost, self.lost = self.lost, 0
        self._lines.put(msgspec.json.encode({**line, "lost": lost} if lost else line) + b"\n")

    def _write(self, file: BinaryIO) -> None:
        with file:
            while (line := self._lines.get()) is not None:
                try:
                    file.write(line)
                    if self._lines.empty():
                        file.flush()
                except OSError as error:
                    logger.error("audit log %s: a line is lost: %s", self.path, error)

    async def close(self) -> None:
        """Write what waits, and end."""
        if self._thread is not None:
            self._lines.put(None)
            await asyncio.to_thread(self._thread.join)
            self._thread = None


def hashed(session: str) -> str:
    """Tells sessions apart without letting anybody take one over."""
    return hashlib.sha256(session.encode(errors="surrogatepass")).hexdigest()[:16]


def is_private(text: str) -> bool:
    """Whether the command is a whisper."""
    try:
        return spec_of(text).verb == "w"
    except CommandError:
        return False


def told(text: str, names: Sequence[str]) -> str:
    """The command as it is kept: of a whisper the reader's name only."""
    if is_private(text):
        try:
            return f"/w {parse(text, names).values['name']} …"
        except CommandError:
            return "/w …"
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
