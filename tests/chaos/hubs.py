"""Hubs as processes that are killed, stopped and started again, and what their log holds in the end."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final, Protocol

import msgspec

from palaver.core.message import Message
from palaver.core.state import RoomState
from palaver.core.transcript import from_lines
from palaver.hub.log import Log
from palaver.hub.replaying import replay
from palaver.hub.sqlite_log import SqliteLog
from tests.nats_server import NatsCluster, nats_cluster, nats_server
from tests.processes import Program, hub_process

ROOM: Final = "main"
FLAGS: Final = ("--hop-limit", "0", "--lease", "20", "--history", "5")
_decoder = msgspec.json.Decoder(Message)


class HubProcess:
    """`server.py`, in one life after the other; each may listen on another port."""

    def __init__(self, folder: Path, flags: tuple[str, ...]) -> None:
        self.folder, self._flags = folder, flags
        self.port = 0
        self.lives = 0
        self._program: Program | None = None
        self._life = AsyncExitStack()

    async def start(self) -> None:
        """Begin a life and wait until it listens."""
        url, self._program = await self._life.enter_async_context(hub_process(self.folder, *self._flags))
        self.port = int(url.rpartition(":")[2])
        self.lives += 1

    @property
    def url(self) -> str:
        """Where it listens, without a proxy between."""
        return f"ws://127.0.0.1:{self.port}"

    async def kill(self) -> None:
        """SIGKILL, in the midst of whatever it does."""
        self.signal(signal.SIGKILL)
        await self._life.aclose()

    async def stop(self) -> tuple[int, str]:
        """SIGTERM; its exit code and what it printed in this life."""
        assert self._program is not None
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        code = await self._program.exit(30)
        output = self._program.output
        await self._life.aclose()
        return code, output

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to a life that has not ended."""
        if self._program is not None and self._program.process.returncode is None:
            self._program.signal(number)

    def transcript(self) -> list[Message]:
        """What this hub's transcript holds."""
        path = self.folder / "logs" / f"{ROOM}.jsonl"
        return list(from_lines(path.read_bytes().splitlines())) if path.exists() else []


class Broker(Protocol):
    """What keeps the log that hubs share; `start` after each `kill`."""

    async def kill(self) -> None: ...

    async def start(self) -> None: ...


class OneOfThree:
    """A cluster of which one server after the other is killed."""

    def __init__(self, cluster: NatsCluster) -> None:
        self._cluster, self._number = cluster, 0

    async def kill(self) -> None:
        """The next one."""
        self._number = (self._number + 1) % 3
        await self._cluster.servers[self._number].kill()

    async def start(self) -> None:
        """The one that was killed; it may still have to catch up when the next is."""
        await self._cluster.start(self._number)


class Network:
    """The hubs of one run and the log that they share; `open_log` opens that log for reading, once they have ended."""

    def __init__(self, hubs: list[HubProcess], open_log: Callable[[], Log], broker: Broker | None = None) -> None:
        self.hubs, self._open_log, self.broker = hubs, open_log, broker

    async def truth(self) -> list[Message]:
        """What the log says was said, found by applying it from its beginning."""
        log = self._open_log()
        await log.open()
        try:
            said: dict[int, bytes] = {}
            async for _, published in replay(log.read, RoomState(name=ROOM)):
                said |= dict(published)
            return [_decoder.decode(line) for line in said.values()]
        finally:
            await log.close()


Networks = Callable[[Path, int], AbstractAsyncContextManager[Network]]
"""Gives so many hubs (not yet started) with their files below a folder."""


@asynccontextmanager
async def on_sqlite(folder: Path, hubs: int) -> AsyncIterator[Network]:
    """One hub on the embedded log."""
    assert hubs == 1, "the embedded log carries one hub"
    hub = HubProcess(folder, FLAGS)
    try:
        yield Network([hub], lambda: SqliteLog(folder / "data"))
    finally:
        await hub.kill()


@asynccontextmanager
async def on_nats(folder: Path, hubs: int) -> AsyncIterator[Network]:
    """Hubs that share a log on a nats-server of their own."""
    async with nats_server(folder / "nats") as server, _sharing(folder, hubs, "--log", server.url) as processes:
        yield Network(processes, lambda: server.log("reckoner"), server)


@asynccontextmanager
async def on_nats_cluster(folder: Path, hubs: int) -> AsyncIterator[Network]:
    """Hubs that share a log on three nats-servers."""
    async with (
        nats_cluster(folder / "nats") as cluster,
        _sharing(folder, hubs, "--log", cluster.url, "--log-replicas", "3") as processes,
    ):
        yield Network(processes, lambda: cluster.log("reckoner"), OneOfThree(cluster))


@asynccontextmanager
async def _sharing(folder: Path, hubs: int, *log: str) -> AsyncIterator[list[HubProcess]]:
    names = [f"hub{number}" for number in range(1, hubs + 1)]
    processes = [HubProcess(folder / name, (*FLAGS, *log, "--hub-name", name)) for name in names]
    try:
        yield processes
    finally:
        for process in processes:
            await process.kill()
