"""Transcripts as they grow: `ROOM.jsonl` for programs and `ROOM.md` for people, beside each other in one folder."""

import asyncio
import contextlib
import logging
import os
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Final

from palaver.core.errors import ProtocolError
from palaver.core.message import Message
from palaver.core.transcript import from_lines, markdown_of, to_line

logger = logging.getLogger(__name__)

PAGE: Final = 1000
TOGETHER: Final = 0.25
"""Seconds that lines wait for company. A crash loses none: what is missing is added when the room opens again."""
MOST_BYTES: Final = 512 * 1024
"""Of JSON lines that wait so."""
PATIENCE: Final = 0.5
"""Seconds that a room waits for its files when it is opened."""
GOODBYE: Final = 5.0
"""Seconds that a hub which stops waits for files that are still behind."""
AGAIN: Final = 30.0
"""Seconds after which a file that could not be written is brought up from the archive, if something is said then."""
Fetch = Callable[[int, int], Awaitable[list[Message]]]
"""Messages of a room above a `seq`, at most so many."""


class Transcripts:
    """Writes what is published; a file that cannot be written is reported, left whole, and tried again later.

    A message is put into words at once (0.4 us) and written by a thread: one that also did the words took three times
    as long for them, and Python's lock from the loop 700 times a second.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._broken: dict[str, float] = {}
        """Rooms whose files cannot be written, and since when."""
        self._fetch: dict[str, Fetch] = {}
        self._waiting: dict[str, tuple[list[bytes], list[str]]] = {}
        """By room, lines of JSON and of Markdown."""
        self._bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._held_back: dict[str, list[tuple[Message, bytes]]] = {}
        self._rewritten: dict[str, list[Message]] = {}
        self._opening: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="palaver-transcripts", daemon=True)
        self._thread.start()

    def path(self, room: str) -> Path:
        """The JSONL file of a room."""
        return self._folder / f"{room}.jsonl"

    async def open(self, room: str, fetch: Fetch) -> None:
        """Make the files agree with the archive: another conversation's are moved aside, what is missing is added.

        Where much is missing nobody waits for it: it goes on beside, and what is published meanwhile comes after it.
        Raises `LogUnavailable` where the archive cannot be read.
        """
        self._fetch[room] = fetch
        task = self._begin(room)
        done, _ = await asyncio.wait({task}, timeout=PATIENCE)
        if done:
            task.result()
        else:
            task.add_done_callback(lambda task: self._opened_late(room, task))

    def _begin(self, room: str) -> asyncio.Task[None]:
        self._held_back[room] = []
        task = asyncio.get_running_loop().create_task(self._open(room, self._fetch[room]))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return task

    def _try_again(self, room: str) -> None:
        """Bring the files of a room up that could not be written; what is said meanwhile comes after that."""
        if time.monotonic() - self._broken[room] >= AGAIN and room in self._fetch:
            del self._broken[room]
            self._begin(room).add_done_callback(lambda task: self._opened_late(room, task))

    def _opened_late(self, room: str, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._broken[room] = time.monotonic()
            logger.error("transcript %s cannot be continued, left as it is: %s", self.path(room), error)

    async def _open(self, room: str, fetch: Fetch) -> None:
        last = 0
        try:
            last = await self._bring_up(room, fetch)
        finally:
            held = self._held_back.pop(room)
            if held := [pair for pair in held if pair[0].seq > last]:
                self.write(room, held)
            for message in self._rewritten.pop(room, ()):
                self.rewrite(room, message)

    async def _bring_up(self, room: str, fetch: Fetch) -> int:
        """Add what the files lack; the last `seq` that they hold then."""
        first = await fetch(0, 1)
        last = await asyncio.to_thread(self._resume, room, first[0] if first else None)
        if last and not await fetch(last - 1, 1):
            kept = await asyncio.to_thread(self._move_aside, self.path(room))
            logger.error(
                "room %s: the log ends before message %d, which was said and is in %s: the log was cut or an older one "
                "put in its place; what it lacks is only there",
                *(room, last, kept),
            )
            last = 0
        while page := await fetch(last, PAGE):
            self._write(room, [(message, to_line(message)) for message in page])
            last = page[-1].seq
        return last

    def write(self, room: str, messages: Sequence[tuple[Message, bytes]]) -> None:
        """Append messages, in order, each with its JSON, together with what else comes within a moment."""
        if room in self._broken:
            self._try_again(room)
        if room in self._held_back:
            self._held_back[room].extend(messages)
        elif room not in self._broken:
            self._write(room, messages)

    def _write(self, room: str, messages: Sequence[tuple[Message, bytes]]) -> None:
        if not self._waiting:
            self._timer = asyncio.get_running_loop().call_later(TOGETHER, self._flush)
        if room not in self._waiting:
            self._waiting[room] = [], []
        lines, texts = self._waiting[room]
        lines += [line for _, line in messages]
        texts += [markdown_of(message) for message, _ in messages]
        self._bytes += sum([len(line) for _, line in messages])
        if self._bytes >= MOST_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._bytes = 0
        waiting, self._waiting = self._waiting, {}
        for room, (lines, texts) in waiting.items():
            self._jobs.put(partial(self._append, room, lines, texts))

    def rewrite(self, room: str, message: Message) -> None:
        """Replace a message: its old text must not stay."""
        if room in self._held_back:
            self._rewritten.setdefault(room, []).append(message)
            return
        self._flush()
        self._jobs.put(lambda: self._replace(room, message))

    async def settled(self) -> None:
        """Return when the files of all rooms agree with the archive, or after some seconds."""
        if self._opening:
            await asyncio.wait(self._opening, timeout=GOODBYE)

    async def close(self) -> None:
        """Write what is left."""
        for task in self._opening:
            task.cancel()
        await asyncio.gather(*self._opening, return_exceptions=True)
        self._flush()
        self._jobs.put(None)
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

    def _append(self, room: str, lines: list[bytes], texts: list[str]) -> None:
        if room in self._broken:
            return
        path = self.path(room)
        sizes: dict[Path, int] = {}
        try:
            for each, body in (path, b"\n".join(lines) + b"\n"), (path.with_suffix(".md"), "".join(texts).encode()):
                with each.open("ab") as file:
                    sizes[each] = file.tell()
                    file.write(body)
        except OSError as error:
            for each, size in sizes.items():  # both end with the same message, so both can go on from there
                with contextlib.suppress(OSError):
                    os.truncate(each, size)
            self._broken[room] = time.monotonic()
            told = "what it lacks is added once it can be"
            logger.error("transcript %s cannot be written, %s: %s", path, told, error)

    def _replace(self, room: str, message: Message) -> None:
        try:
            kept = [message if one.seq == message.seq else one for one in self._read(room)]
            self._write_anew(room, kept)
        except (OSError, ProtocolError) as error:
            logger.error("transcript %s: message %d was not redacted: %s", self.path(room), message.seq, error)

    def _write_anew(self, room: str, messages: Sequence[Message]) -> None:
        path = self.path(room)
        for suffix, text in (
            (".jsonl", b"".join(to_line(message) + b"\n" for message in messages)),
            (".md", "".join(markdown_of(message) for message in messages).encode()),
        ):
            new = path.with_suffix(suffix + ".tmp")
            new.write_bytes(text)
            new.replace(path.with_suffix(suffix))

    def _read(self, room: str) -> list[Message]:
        with self.path(room).open("rb") as file:
            return list(from_lines(file))

    def _resume(self, room: str, first: Message | None) -> int:
        """The last `seq` that the files hold of this conversation, 0 where they begin anew."""
        path = self.path(room)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists() or not path.stat().st_size:
                return 0
            held = self._read(room)
        except (OSError, ProtocolError) as error:
            logger.warning("transcript %s cannot be continued: %s", path, error)
            held = []
        if held and first is not None and (held[0].id, held[0].timestamp) == (first.id, first.timestamp):
            if not path.read_bytes().endswith(b"\n"):  # the last line was cut off
                self._write_anew(room, held)
            return held[-1].seq
        kept = self._move_aside(path)
        if held and first is None:
            logger.error("room %s: the log holds nothing of the %d messages in %s", room, len(held), kept)
        return 0

    def _move_aside(self, path: Path) -> Path:
        number = 1
        while (target := path.with_name(f"{path.stem}.{number}.jsonl")).exists():
            number += 1
        try:
            path.rename(target)
            if path.with_suffix(".md").exists():
                path.with_suffix(".md").rename(target.with_suffix(".md"))
            logger.info("transcript of an earlier conversation moved to %s", target)
        except OSError as error:
            logger.error("transcript %s cannot be moved aside: %s", path, error)
            return path
        return target
