"""A real terminal for tests: one tmux pane with a program in it."""

import asyncio
import itertools
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

ROOT = Path(__file__).parents[3]
SCREENS = Path(__file__).parent / "screens"
_numbers = itertools.count()


def needs_tmux() -> None:
    """Skip where tmux is missing; in CI that is an error."""
    if shutil.which("tmux") is None:
        if os.environ.get("CI"):
            pytest.fail("tmux is not installed")
        pytest.skip("tmux is not installed: apt-get install tmux")


class Pane:
    """A pane of `columns` by `rows` in which `arguments` run under this Python."""

    def __init__(self, arguments: list[str], *, columns: int = 80, rows: int = 24, **environment: str) -> None:
        needs_tmux()
        self._server = f"palaver-{os.getpid()}-{next(_numbers)}"
        self._size = columns, rows
        settings = {"TZ": "UTC", "TERM": "screen-256color", "LC_ALL": "C.UTF-8", "NO_COLOR": "", **environment}
        program = shlex.join([sys.executable, *arguments])
        self._shell = " ".join(["env", *(f"{name}={shlex.quote(value)}" for name, value in settings.items()), program])

    def __enter__(self) -> Self:
        columns, rows = self._size
        after = "echo exit=$?; stty -a | grep -o '.echo '; sleep 60"
        shell = f"trap : INT; cd {shlex.quote(str(ROOT))}; {self._shell}; {after}"
        start = ["start-server", ";", "set-option", "-g", "history-limit", "20000", ";", "new-session", "-d"]
        self._tmux("-f", "/dev/null", *start, "-x", str(columns), "-y", str(rows), "sh", "-c", shell)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            print(self.screen())
        self._tmux("kill-server")

    def keys(self, *keys: str) -> None:
        """Press these keys, by tmux's names."""
        self._tmux("send-keys", *keys)

    def type(self, text: str) -> None:
        """Type this text."""
        self._tmux("send-keys", "-l", "--", text)

    def paste(self, text: str) -> None:
        """Paste as a terminal does it, in brackets."""
        self._tmux("set-buffer", "--", text)
        self._tmux("paste-buffer", "-p")

    def resize(self, columns: int, rows: int) -> None:
        """Make the window another size."""
        self._tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self, *, all_of_it: bool = False, attributes: bool = False) -> str:
        """What stands in the pane, with `all_of_it` also what has scrolled away."""
        options = [*(["-S", "-"] if all_of_it else []), *(["-e"] if attributes else [])]
        text = self._tmux("capture-pane", "-p", *options)
        return "\n".join(row.rstrip() for row in text.rstrip().split("\n"))

    def title(self) -> str:
        """What the program has made of the pane's title."""
        return self._tmux("display-message", "-p", "#{pane_title}").strip()

    async def until(self, is_so: Callable[[str], bool], *, seconds: float = 20) -> str:
        """The screen, as soon as it is so."""
        screen = ""
        try:
            async with asyncio.timeout(seconds):
                while not is_so(screen := await asyncio.to_thread(self.screen)):  # noqa: ASYNC110  # it tells nobody
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AssertionError(f"not within {seconds} s; the screen is\n{screen}") from None
        return screen

    async def shows(self, *texts: str) -> str:
        """The screen, as soon as it shows all of these."""
        return await self.until(lambda screen: all(text in screen for text in texts))

    def _tmux(self, *arguments: str) -> str:
        done = subprocess.run(
            ["tmux", "-L", self._server, *arguments], capture_output=True, text=True, check=False, timeout=20
        )
        if done.returncode and arguments[0] != "kill-server":
            raise AssertionError(f"tmux {arguments}: {done.stderr}")
        return done.stdout


async def check_screen(pane: Pane, name: str) -> None:
    """Wait until the pane shows the screen that is kept as text; `KEEP_SCREENS=1` keeps what it shows.

    Seconds that have passed are written as 0.
    """
    kept = SCREENS / f"{name}.txt"
    if os.environ.get("KEEP_SCREENS"):
        await asyncio.sleep(1)
        kept.write_text(_timeless(pane.screen()), encoding="utf-8")
    text = kept.read_text(encoding="utf-8")
    await pane.until(lambda screen: _timeless(screen) == text)


def _timeless(screen: str) -> str:
    return re.sub(r"\d+ s\b", "0 s", screen) + "\n"
