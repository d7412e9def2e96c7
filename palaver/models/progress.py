"""A progress bar on standard error: one line that is written over on a terminal, one line at the end elsewhere."""

import sys
import time
from collections.abc import Callable
from typing import TextIO

_REDRAW_SECONDS = 0.1
_WIDTH = 24


class Progress:
    """`with Progress(total) as bar:` and `bar.step(ok)` for each thing done."""

    def __init__(
        self,
        total: int,
        label: str = "prompts",
        *,
        file: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._total = total
        self._label = label
        self._file = sys.stderr if file is None else file
        self._clock = clock
        self._started = self._drawn = clock()
        self._done = self._failed = 0

    def step(self, ok: bool = True) -> None:
        """One more is done."""
        self._done += 1
        self._failed += not ok
        if self._file.isatty() and self._clock() - self._drawn >= _REDRAW_SECONDS:
            self._drawn = self._clock()
            self._file.write(f"\r{self.line()}\x1b[K")
            self._file.flush()

    def line(self) -> str:
        """What is shown."""
        seconds = max(self._clock() - self._started, 1e-9)
        filled = _WIDTH * self._done // max(1, self._total)
        bar = "#" * filled + "-" * (_WIDTH - filled)
        failed = f", {self._failed} failed" if self._failed else ""
        return f"{self._label} [{bar}] {self._done}/{self._total}, {self._done / seconds:.1f}/s{failed}"

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exc: object) -> None:
        ending = f"\r{self.line()}\x1b[K\n" if self._file.isatty() else f"{self.line()}\n"
        self._file.write(ending)
        self._file.flush()
