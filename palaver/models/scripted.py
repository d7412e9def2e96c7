"""A model that reads its lines: for demos without a model, for rehearsals, and as the one fake of the tests.

It tokenises nothing: a word counts as a token, and a line is said whole, whatever `max_tokens` allows.
"""

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from palaver.core.errors import ModelError
from palaver.models.model import Cancel, ChatMessage, LLMResponse, StopReason, Usage
from palaver.models.stopping import StopStrings, unless_pressed

PASS = "/pass"
"""A line that says nothing: the turn is passed."""

Line = str | Exception
"""What is said, or what goes wrong instead."""
Script = Callable[[Sequence[ChatMessage]], Line]


class ScriptedModel:
    """Says its lines one after another, then passes, or begins again with `cycle=True`.

    `lines` may be a function from the prompt to a line. `delay` seconds pass before each reply. With `hang=True`
    a reply never ends by itself once its line is said: it waits until it is cancelled.
    """

    def __init__(
        self,
        lines: Sequence[Line] | Script,
        *,
        name: str = "scripted",
        cycle: bool = False,
        delay: float = 0.0,
        hang: bool = False,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.name = name
        self.prompts: deque[list[ChatMessage]] = deque(maxlen=1000)
        """The prompts it was given, newest last."""
        self._lines = lines
        self._cycle = cycle
        self._delay = delay
        self._hang = hang
        self._sleep = sleep
        self._clock = clock
        self._said = 0

    @classmethod
    def from_file(cls, path: Path | str, *, cycle: bool = False, delay: float = 0.0) -> "ScriptedModel":
        r"""Read a script: a reply per line, blank lines skipped, `\n` for a new line, `/pass` to stay silent."""
        try:
            text = Path(path).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ModelError(f"cannot read the script {path}: {error}") from error
        lines = [line.strip().replace("\\n", "\n") for line in text.splitlines() if line.strip()]
        return cls(lines, name=Path(path).name, cycle=cycle, delay=delay)

    async def complete(
        self,
        messages: Sequence[ChatMessage],
        *,
        max_tokens: int = 100,
        temperature: float = 0.7,
        stop: Sequence[str] = (),
        seed: int | None = None,
        on_text: Callable[[str], None] | None = None,
        cancel: Cancel | None = None,
        cache_key: str = "",
    ) -> LLMResponse:
        """Say the next line, word by word to `on_text`; sampling settings do not change it."""
        self.prompts.append(list(messages))
        started = self._clock()
        said: list[str] = []
        line = self._next(messages)
        cutter = StopStrings(stop)
        await unless_pressed(cancel, self._say(line, cutter, said, on_text))
        words = len("".join(said).split())
        prompt = sum(len(message["content"].split()) for message in messages)
        failed = isinstance(line, Exception)
        return LLMResponse(
            content="".join(said),
            tokens_used=0 if failed else prompt + words,
            response_time=self._clock() - started,
            model_used=self.name,
            success=not failed,
            error=str(line) or type(line).__name__ if failed else None,
            stop_reason=self._stop_reason(line, cutter, cancel),
            usage=Usage() if failed else Usage(prompt_tokens=prompt, completion_tokens=words),
            provenance={"backend": "scripted"},
        )

    async def close(self) -> None:
        """Nothing to let go of."""

    def _next(self, messages: Sequence[ChatMessage]) -> Line:
        number, self._said = self._said, self._said + 1
        if callable(self._lines):
            return self._lines(messages)
        if self._cycle and self._lines:
            number %= len(self._lines)
        return self._lines[number] if number < len(self._lines) else PASS

    async def _say(
        self, line: Line, cutter: StopStrings, said: list[str], on_text: Callable[[str], None] | None
    ) -> None:
        if self._delay:
            await self._sleep(self._delay)
        pieces = [] if isinstance(line, Exception) or line == PASS else _words(line)
        for piece in [*map(cutter.feed, pieces), cutter.rest()]:
            if piece:
                said.append(piece)
                if on_text is not None:
                    on_text(piece)
        if self._hang:
            await asyncio.Event().wait()

    def _stop_reason(self, line: Line, cutter: StopStrings, cancel: Cancel | None) -> StopReason:
        if cancel is not None and cancel.is_set():
            return "cancelled"
        if isinstance(line, Exception):
            return "error"
        if line == PASS:
            return "pass"
        return "end" if cutter.found is None else "stop"


def _words(line: str) -> list[str]:
    """`line` in pieces that end before each space, as models stream."""
    first, *others = line.split(" ")
    return [first, *(f" {word}" for word in others)]
