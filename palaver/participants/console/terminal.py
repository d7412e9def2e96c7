"""The seat on a terminal: prompt_toolkit keeps the half-typed line, above it what is said, below it the status."""

import asyncio
import contextlib
import logging
import os
import sys
from collections import deque
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Final, Self

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app_session
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.layout import HSplit, Layout, VerticalAlign, Window
from prompt_toolkit.layout.controls import FormattedTextControl
from prompt_toolkit.layout.dimension import Dimension
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style

from palaver.participants.console.completion import choices
from palaver.participants.console.lines import Line
from palaver.participants.console.paint import Paint
from palaver.participants.console.seat import Seat
from palaver.participants.console.status import BAR, fit, live_rows, status_parts

PAUSE: Final = 0.03
"""Seconds between two writes, so that hundreds of messages a second repaint the prompt no more often than that."""
KEPT: Final = 300
"""Lines that are written anew when the terminal's size changes."""
PROMPT: Final = "> "

_STYLE: Final = Style.from_dict(
    {
        "status": "reverse",
        "status.paused": "bold bg:ansired fg:ansiwhite noreverse",
        "status.alert": "bold bg:ansiyellow fg:ansiblack noreverse",
        "live": "fg:ansibrightblack italic",
        "live.name": "bold",
        "prompt": "bold",
        "question": "bold fg:ansiyellow",
    }
)


class TerminalFront:
    """Entered once, it owns the terminal until it is left."""

    def __init__(self, paint: Paint) -> None:
        self._paint = paint
        self._seat: Seat | None = None
        self._asked: str | None = None
        self._lines: deque[Line] = deque(maxlen=KEPT)
        self._unwritten: list[str] = []
        self._write_due: asyncio.TimerHandle | None = None
        self._refresh_due: asyncio.TimerHandle | None = None
        self._written_at = 0.0
        self._pending: set[asyncio.Task[Any]] = set()
        self._stack = contextlib.ExitStack()
        self._output = get_app_session().output
        if isinstance(self._output, Vt100_Output):
            self._output.enable_cpr = False  # we draw under the text, wherever that ends, and need no position
        self._prompt = self._session()
        self._size = self._output.get_size()

    async def __aenter__(self) -> Self:
        self._stack.enter_context(get_app_session().input.raw_mode())  # also between two lines: nothing is echoed there
        self._stack.enter_context(patch_stdout(raw=True))
        self._stack.enter_context(_log_above_the_prompt())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in self._pending:
            task.cancel()
        self._write()
        self._stack.close()

    # --- lines in ----------------------------------------------------------------------------------------------------

    async def attend(self, seat: Seat) -> None:
        """Read lines until Ctrl-D, Ctrl-C, /quit or /switch; what is typed meanwhile never waits for the hub."""
        self._seat = seat
        reading = asyncio.create_task(self._read(seat))
        leaving = asyncio.create_task(seat.leaving.wait())
        try:
            done, _ = await asyncio.wait([reading, leaving], return_when=asyncio.FIRST_COMPLETED)
            if reading in done:
                reading.result()
        finally:
            for task in (reading, leaving):
                task.cancel()
            await asyncio.wait([reading, leaving])

    async def _read(self, seat: Seat) -> None:
        while not seat.leaving.is_set():
            try:
                typed = await self._prompt.prompt_async()
            except EOFError:
                return
            self._typed(seat, typed)
            await asyncio.sleep(0)

    def _typed(self, seat: Seat, typed: str) -> None:
        asked, self._asked = self._asked, None
        if asked is not None:
            if typed.strip().lower() in ("y", "yes"):
                self._start(seat.enter(asked))
            else:
                self.show(Line("not done", "notice"))
            return
        if typed.lstrip().startswith("/") and not typed.lstrip().startswith("//"):
            self.show(Line(PROMPT + typed.strip(), "echo"))
        if seat.question(typed) is not None:
            self._asked = typed
            return
        self._start(seat.enter(typed))

    def _start(self, work: Coroutine[Any, Any, Any]) -> None:
        self._pending.add(task := asyncio.create_task(work))
        task.add_done_callback(self._pending.discard)

    # --- lines out ---------------------------------------------------------------------------------------------------

    def show(self, line: Line) -> None:
        """Above the prompt, as soon as the last write is long enough ago."""
        self._lines.append(line)
        self._unwritten.append(self._rendered(line))
        if line.tone == "alarm":
            self._unwritten[-1] += "\a"
        if self._write_due is None:
            loop = asyncio.get_running_loop()
            wait = max(0.0, self._written_at + PAUSE - loop.time())
            self._write_due = loop.call_later(wait, self._write)

    def refuse(self, line: Line) -> None:
        """As any other line."""
        self.show(line)

    def refresh(self) -> None:
        """Draw the status and the live text anew, with the next write or soon."""
        if self._refresh_due is None:
            self._refresh_due = asyncio.get_running_loop().call_later(PAUSE, self._refreshed)

    def _refreshed(self) -> None:
        self._refresh_due = None
        self._prompt.app.invalidate()

    def clear(self) -> None:
        """Begin with an empty screen; the terminal's own scrollback stays."""
        self._lines.clear()
        self._unwritten.clear()
        self._prompt.app.renderer.clear()  # also between two prompts, where a typed /clear is carried out
        self.refresh()

    async def drained(self) -> None:
        """A terminal takes what it gets; give the keyboard its turn."""
        await asyncio.sleep(0)

    def _rendered(self, line: Line) -> str:
        return line.rendered(self._paint, self._output.get_size().columns)

    def _write(self) -> None:
        """One write for all that has gathered; nothing awaits between erasing the prompt and drawing it again."""
        if self._write_due is not None:
            self._write_due.cancel()
            self._write_due = None
        if not self._unwritten:
            return
        text = "\r\n".join(self._unwritten).replace("\r\n", "\n").replace("\n", "\r\n") + "\r\n"
        self._unwritten.clear()
        app = self._prompt.app
        if app.is_running:
            app.renderer.erase()
        self._output.enable_autowrap()
        self._output.write_raw(text)
        if app.is_running:  # drawn at once, in the same write: an invalidated prompt would be missing for a while
            app.renderer.render(app, app.layout)
        else:
            self._output.flush()
        self._written_at = asyncio.get_running_loop().time()

    def _resized(self, _: object) -> None:
        """A terminal of another width breaks old rows anywhere: write the last lines anew."""
        size = self._output.get_size()
        self._prompt.reserve_space_for_menu = max(1, min(8, size.rows - 3))
        if size == self._size:
            return
        narrower, self._size = size.columns != self._size.columns, size
        if narrower and self._lines:
            asyncio.get_running_loop().call_soon(self._rewrite)

    def _rewrite(self) -> None:
        self._prompt.app.renderer.clear()
        rows: list[str] = []
        for line in reversed(self._lines):
            rows[:0] = self._rendered(line).split("\n")
            if len(rows) >= self._size.rows:
                break
        self._unwritten[:] = rows[-self._size.rows :]
        self._write()

    # --- what is drawn around the line -------------------------------------------------------------------------------

    def _session(self) -> PromptSession[str]:
        session: PromptSession[str] = PromptSession(
            self._message,
            completer=_Completer(self),
            complete_while_typing=False,
            history=_History(self),
            key_bindings=self._keys(),
            style=_STYLE,
            color_depth=None if self._paint.colour else ColorDepth.DEPTH_1_BIT,
            erase_when_done=True,
            prompt_continuation=" " * len(PROMPT),
            refresh_interval=1.0,
            interrupt_exception=EOFError,
            output=self._output,
        )
        rows = HSplit(
            [
                Window(FormattedTextControl(self._live), height=self._live_height, dont_extend_height=True),
                session.layout.container,
                Window(FormattedTextControl(self._status), height=1, dont_extend_height=True, style="class:status"),
            ],
            align=VerticalAlign.TOP,
        )
        session.app.layout = Layout(rows, session.default_buffer)
        session.app.before_render += self._resized
        return session

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()

        @keys.add("c-p")
        @keys.add("f2")
        def _(event: KeyPressEvent) -> None:
            if self._seat is not None:
                self._start(self._seat.toggle_pause())

        return keys

    def _message(self) -> StyleAndTextTuples:
        question = self._seat.question(self._asked) if self._asked is not None and self._seat is not None else None
        if question is not None:
            return [("class:question", f"{question} [y/N] ")]
        return [("class:prompt", PROMPT)]

    def _live_rows(self) -> list[tuple[str, str]]:
        if self._seat is None:
            return []
        size = self._output.get_size()
        return live_rows(self._seat.view, size.columns, min(12, size.rows // 3))

    def _live_height(self) -> Dimension:
        return Dimension.exact(len(self._live_rows()))

    def _live(self) -> StyleAndTextTuples:
        shown: StyleAndTextTuples = []
        for name, row in self._live_rows():
            start = row.find(name) if name else 0
            shown.append(("class:live", row[:start]))
            shown.append(("class:live.name", row[start : start + len(name)]))
            shown.append(("class:live", row[start + len(name) :] + "\n"))
        return shown

    def _status(self) -> StyleAndTextTuples:
        if self._seat is None:
            return []
        parts = fit(status_parts(self._seat.view, self._seat.clock()), self._output.get_size().columns)
        shown: StyleAndTextTuples = [("class:status", " ")]
        for place, part in enumerate(parts):
            style = f"class:status,status.{part.style}" if part.style else "class:status"
            shown.append(("class:status", BAR if place else ""))
            shown.append((style, part.text))
        return shown

    @property
    def seat(self) -> Seat | None:
        """Whose line is being typed."""
        return self._seat

    @property
    def is_asking(self) -> bool:
        """Whether the line that is being typed answers a question."""
        return self._asked is not None


class _Completer(Completer):
    def __init__(self, front: TerminalFront) -> None:
        self._front = front

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        seat = self._front.seat
        if seat is None or self._front.is_asking:
            return
        for choice in choices(document.text_before_cursor, seat.view, seat.rooms):
            yield Completion(choice.text, -choice.behind, display_meta=choice.about)


class _History(InMemoryHistory):
    """Answers to questions are not worth repeating."""

    def __init__(self, front: TerminalFront) -> None:
        super().__init__()
        self._front = front

    def append_string(self, string: str) -> None:
        if not self._front.is_asking:
            super().append_string(string)


@contextlib.contextmanager
def _log_above_the_prompt() -> Iterator[None]:
    """Log handlers that hold the terminal write above the prompt as long as there is one."""
    moved = []
    for handler in logging.getLogger().handlers:
        if isinstance(handler, logging.StreamHandler) and handler.stream is sys.__stderr__ and os.isatty(2):
            moved.append(handler)
            handler.setStream(sys.stderr)
    try:
        yield
    finally:
        for handler in moved:
            handler.setStream(sys.__stderr__)
