"""Processes that belong together: started, watched and stopped as one, each with a log file of its own."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from palaver.core.errors import PalaverError

GRACE: Final = 5.0
"""Seconds that a process may take to stop when asked to."""
_PR_SET_PDEATHSIG: Final = 1


class ProcessFailed(PalaverError):
    """A process of the crew ended when it should not, or never became ready."""


@dataclass(slots=True)
class Process:
    """One of the crew. `log` is where its output goes."""

    name: str
    process: asyncio.subprocess.Process
    log: Path

    def last_words(self, lines: int = 12) -> str:
        """The end of its output."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
        return ""


class Crew:
    """`async with Crew(folder) as crew`: whatever was started is stopped at the end."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[Process] = []
        self._logs: list[IO[bytes]] = []

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, name: str, command: Sequence[str], *, env: Mapping[str, str] | None = None) -> Process:
        """Start `command` with its output in `folder/NAME.log`; it ends when this process does."""
        log = self._folder / f"{name.replace(' ', '-').lower()}.log"
        output = log.open("wb")
        self._logs.append(output)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(env or {})},
            start_new_session=True,
            preexec_fn=_die_with_parent if sys.platform == "linux" else None,
        )
        started = Process(name, process, log)
        self._processes.append(started)
        return started

    def check(self) -> None:
        """Raises `ProcessFailed` with the last words of one that has ended badly."""
        for one in self._processes:
            if one.process.returncode not in (None, 0):
                raise ProcessFailed(f"{one.name} ended with {one.process.returncode}:\n{one.last_words()}")

    async def until_logged(self, one: Process, text: str, seconds: float) -> str:
        """The first line of its output that holds `text`; raises `ProcessFailed`."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    for line in one.log.read_text(encoding="utf-8", errors="replace").splitlines():
                        if text in line:
                            return line
                    self.check()
                    await asyncio.sleep(0.05)  # a file tells nobody that it has grown
        except TimeoutError:
            reason = f"{one.name} was not ready within {seconds:.0f} s (no {text!r}):\n{one.last_words()}"
            raise ProcessFailed(reason) from None

    async def stop(self) -> None:
        """Ask all to stop; kill those that take longer than 5 s."""
        running = [one.process for one in reversed(self._processes) if one.process.returncode is None]
        for process in running:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
        await asyncio.gather(*map(_ended, running))
        self._processes.clear()
        for output in self._logs:
            output.close()
        self._logs.clear()


async def _ended(process: asyncio.subprocess.Process) -> None:
    try:
        async with asyncio.timeout(GRACE):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _die_with_parent() -> None:
    """Linux: have the kernel stop this process when the one that started it dies, however it dies."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
