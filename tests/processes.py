"""Palaver's programs as processes of their own, for tests that kill and stop them."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


class Program:
    """A running program; its output is read as it comes."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.output = ""
        self._grown = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self.process.stdout is not None
        while data := await self.process.stdout.read(65536):
            self.output += data.decode(errors="replace")
            async with self._grown:
                self._grown.notify_all()
        async with self._grown:
            self._grown.notify_all()

    async def until(self, pattern: str, seconds: float = 60) -> re.Match[str]:
        """The first place in the output that fits; an end without one fails."""
        async with asyncio.timeout(seconds), self._grown:
            while not (found := re.search(pattern, self.output)):
                assert not self._reading.done(), f"ended without {pattern!r}:\n{self.output}"
                await self._grown.wait()
            return found

    async def exit(self, seconds: float = 60) -> int:
        """Its exit code, once it has ended by itself."""
        async with asyncio.timeout(seconds):
            code = await self.process.wait()
            await self._reading
            return code

    def type(self, line: str) -> None:
        """Write a line to its stdin; it was started with `typed`."""
        assert self.process.stdin is not None
        self.process.stdin.write(line.encode() + b"\n")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)


@asynccontextmanager
async def program(
    *command: str,
    cwd: Path | None = None,
    stdin: bytes | None = None,
    typed: bool = False,
    env: Mapping[str, str] | None = None,
) -> AsyncIterator[Program]:
    """`python COMMAND…`, killed at the end if it still runs. Paths are relative to the project's root.

    Its stdin holds `stdin`, or with `typed` what `Program.type` writes.
    """
    script, *rest = command
    path = str(ROOT / script) if script.endswith(".py") else script
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        path,
        *rest,
        cwd=cwd or ROOT,
        stdin=asyncio.subprocess.DEVNULL if stdin is None and not typed else asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1", **(env or {})},
    )
    if stdin is not None and process.stdin is not None:
        process.stdin.write(stdin)
        process.stdin.close()
    running = Program(process)
    try:
        yield running
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
        await process.wait()
        await running._reading


@asynccontextmanager
async def hub_process(folder: Path, *flags: str, port: int = 0) -> AsyncIterator[tuple[str, Program]]:
    """`server.py` with its data and transcripts below `folder`; its URL and the program."""
    where = ("--data-dir", str(folder / "data"), "--transcripts", str(folder / "logs"))
    fast = ("--max-frame-rate", "0")
    async with program("server.py", "--port", str(port), *where, *fast, *flags) as running:
        url = (await running.until(r"ws://[\d.]+:\d+"))[0]
        yield url, running
