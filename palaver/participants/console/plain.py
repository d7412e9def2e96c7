"""The seat on a pipe or a dumb terminal: lines in, lines out, through aioconsole.

aioconsole leaves the standard streams non-blocking, and a plain `print` can then lose bytes: everything goes through
its writers, and the streams are made blocking again at the end. Where a stream is a file, it writes from threads, and
0.8.2 forgets what is written while such a thread flushes: there we write ourselves.
"""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Iterable
from types import TracebackType
from typing import Any, Final, Protocol, Self, TextIO

import aioconsole  # type: ignore[import-untyped]  # it ships no types
from aioconsole.stream import NonFileStreamReader, NonFileStreamWriter  # type: ignore[import-untyped]

from palaver.core.errors import PalaverError
from palaver.participants.console.lines import Line
from palaver.participants.console.paint import Paint
from palaver.participants.console.seat import Seat

PATIENCE: Final = 5.0
"""Seconds that a script waits for the hub to appear."""
HISTORY: Final = 2.0
"""Seconds that a script waits for what was said before."""
LONGEST: Final = 1 << 20
"""Bytes of one line that are kept: more than any hub takes."""
ANSWER: Final = 60.0
"""Seconds that a script waits for one answer."""


class _Writer(Protocol):
    def write(self, text: str) -> None: ...
    async def drain(self) -> None: ...


class _FileWriter:
    """Text on its way into a file that may block."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._turn = asyncio.Lock()

    def write(self, text: str) -> None:
        self._waiting.append(text)

    async def drain(self) -> None:
        async with self._turn:
            text = "".join(self._waiting)
            self._waiting.clear()
            if text:
                await asyncio.to_thread(self._put, text)

    def _put(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


class _Lines:
    """The lines of a pipe, however long: aioconsole 0.8.2 keeps all of an endless one, and fails at its end."""

    def __init__(self, stream: asyncio.StreamReader) -> None:
        self._stream = stream
        self._begun = b""

    async def readline(self) -> bytes:
        """The next line, the rest where it has no end, nothing where there is no more."""
        while b"\n" not in self._begun:
            if not (data := await self._stream.read(65536)):
                rest, self._begun = self._begun, b""
                return rest
            self._begun = self._begun[:LONGEST] + data
        line, end, self._begun = self._begun.partition(b"\n")
        return line + end


class PlainFront:
    """`script` makes it wait for each answer, skip `#` comments and count what was refused."""

    def __init__(self, paint: Paint, *, script: bool, lines: Iterable[str] | None = None) -> None:
        self.refused = 0
        self._paint = paint
        self._script = script
        self._lines = lines
        self._on_terminal = sys.stdout.isatty()
        self._pending: set[asyncio.Task[None]] = set()
        self._reader: Any = None
        self._out: _Writer = _FileWriter(sys.stdout)
        self._err: _Writer = _FileWriter(sys.stderr)

    async def __aenter__(self) -> Self:
        reader, out = await aioconsole.get_standard_streams()
        is_pipe = isinstance(reader, asyncio.StreamReader)
        self._reader = _Lines(reader) if is_pipe else NonFileStreamReader(sys.stdin.buffer)  # bytes, whatever they are
        if not isinstance(out, NonFileStreamWriter):
            self._out, (_, self._err) = out, await aioconsole.get_standard_streams(use_stderr=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError, PalaverError):
            await self.drained()
        for number in (0, 1, 2):
            with contextlib.suppress(OSError):
                os.set_blocking(number, True)

    # --- lines out ---------------------------------------------------------------------------------------------------

    def show(self, line: Line) -> None:
        """To stdout."""
        self._out.write(self._rendered(line))

    def refuse(self, line: Line) -> None:
        """To stderr."""
        self.refused += 1
        self._err.write(self._rendered(line))

    def _rendered(self, line: Line) -> str:
        width = None
        if self._on_terminal:
            with contextlib.suppress(OSError):
                width = os.get_terminal_size().columns
        return line.rendered(self._paint, width) + "\n"

    def refresh(self) -> None:
        """There is no status line here."""

    def clear(self) -> None:
        """Only a terminal can be cleared."""
        if self._on_terminal:
            self._out.write("\x1b[2J\x1b[H")

    async def drained(self) -> None:
        """Wait for whoever reads our output; raises `PalaverError` where it cannot be written, as on a full disk."""
        try:
            await self._out.drain()
            await self._err.drain()
        except ConnectionError:
            raise
        except OSError as error:
            raise PalaverError(f"the output cannot be written: {error.strerror or error}") from error

    # --- lines in ----------------------------------------------------------------------------------------------------

    async def attend(self, seat: Seat) -> None:
        """Do the lines of this seat; a script's one after the other."""
        if self._script:
            await self._seated(seat)
        asked = ""
        async for line in self._typed(seat):
            if self._script:
                await self._wait_for(seat, line)
            else:
                asked = self._take(seat, line, asked)
            if seat.leaving.is_set():
                break

    def _take(self, seat: Seat, line: str, asked: str) -> str:
        """Begin what was typed, or what it says yes to; gives back what is asked about now."""
        if asked and line.strip().lower() not in ("y", "yes"):
            self.show(Line("not done", "notice"))
            return ""
        if not asked and (question := seat.question(line)) is not None:
            self.show(Line(f"{question} [y/N]", "warning"))
            return line
        self._pending.add(task := asyncio.create_task(self._enter(seat, asked or line)))
        task.add_done_callback(self._pending.discard)
        return ""

    async def _seated(self, seat: Seat) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                await seat.seated.wait()
        except TimeoutError:
            why = seat.why_down or "it does not answer"
            raise PalaverError(f"no seat within {PATIENCE:g} s: {why}") from None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(HISTORY):
                await seat.caught_up.wait()

    async def _wait_for(self, seat: Seat, line: str) -> None:
        if line.lstrip().startswith("#"):
            return
        try:
            async with asyncio.timeout(ANSWER):
                await self._enter(seat, line)
        except TimeoutError:
            raise PalaverError(
                f"no answer to {line!r} within {ANSWER:g} s: {seat.why_down or 'the hub is silent'}"
            ) from None

    async def _enter(self, seat: Seat, line: str) -> None:
        await seat.enter(line)
        await self.drained()

    async def _typed(self, seat: Seat) -> AsyncIterator[str]:
        if self._lines is not None:
            for line in self._lines:
                yield line
            return
        while raw := await self._read(seat):
            yield raw.decode(errors="replace").removeprefix("\ufeff").rstrip("\r\n")

    async def _read(self, seat: Seat) -> bytes:
        """The next line; nothing at the end of the input, or when the seat is left meanwhile."""
        reading = asyncio.ensure_future(self._reader.readline())
        leaving = asyncio.ensure_future(seat.leaving.wait())
        try:
            await asyncio.wait([reading, leaving], return_when=asyncio.FIRST_COMPLETED)
            return bytes(reading.result()) if reading.done() else b""
        finally:
            reading.cancel()
            leaving.cancel()
