"""The connection to a NATS server: made again whenever it is lost, with all that must be there each time.

nats-py's own reconnecting is not used: it sends what was buffered before anybody can say what must come first.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from palaver.core.errors import LogUnavailable, MissingExtra

if TYPE_CHECKING:
    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.js import JetStreamContext

logger = logging.getLogger(__name__)

T = TypeVar("T")
PATIENCE: Final = 5.0
"""Seconds that a server may take to answer, or to let us in."""
PINGS: Final = 2
"""Seconds between two pings, and how many may be unanswered: a dead peer is noticed within about 6 s."""
RETRY: Final = 0.25
"""Seconds between two attempts to connect."""


class Broker:
    """One connection at a time. `on_up` makes ready what a new one needs, `on_down` hears that it is lost."""

    def __init__(
        self,
        servers: Sequence[str],
        name: str,
        *,
        on_up: Callable[[], Awaitable[None]],
        on_down: Callable[[], None],
    ) -> None:
        self.servers = servers
        self.is_up = False
        """Whether there is a connection with everything made ready."""
        self.why = "not connected yet"
        """Why there is none, in words."""
        self.client: Client
        self.jetstream: JetStreamContext
        self._name = name
        self._on_up = on_up
        self._on_down = on_down
        self._ended = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and stay connected from then on; raises `LogUnavailable` where the first attempt fails."""
        await self._connect()
        self._keeper = asyncio.get_running_loop().create_task(self._keep())

    async def close(self) -> None:
        """Disconnect."""
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.gather(self._keeper, return_exceptions=True)
        if self.is_up:
            self.is_up = False
            await self._hang_up(self.client)

    def lose(self, why: str) -> None:
        """Give up the connection as it is; another will be made."""
        self.why = why
        self._ended.set()

    async def ask(self, question: Coroutine[Any, Any, T]) -> T:
        """The answer of the server; raises `LogUnavailable` where there is none, or the connection ends."""
        from nats.errors import Error

        asking = asyncio.ensure_future(question)
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            await asyncio.wait((asking, ended), return_when=asyncio.FIRST_COMPLETED)
            if not asking.done():
                raise LogUnavailable(f"log: {self.why}")
            return asking.result()
        except (Error, OSError, TimeoutError) as error:
            raise LogUnavailable(f"log: {_words(error)}") from error
        finally:
            asking.cancel()
            ended.cancel()
            await asyncio.gather(asking, ended, return_exceptions=True)

    async def publish(self, subject: str, body: bytes, *, reply: str = "", headers: Mapping[str, str] = {}) -> None:
        """Send a message; where that cannot be, the connection is given up."""
        from nats.errors import Error

        try:
            await self.client.publish(subject, body, reply=reply, headers=dict(headers) or None)
        except (Error, OSError) as error:
            self.lose(_words(error))

    async def subscribe(self, subject: str, hear: "Callable[[Msg], Awaitable[None]]") -> "Subscription":
        """Hear what comes on a subject, for as long as this connection lasts."""
        return await self.ask(self.client.subscribe(subject, cb=hear))

    # --- connecting, again and again ---------------------------------------------------------------------------------

    async def _keep(self) -> None:
        while True:
            await self._ended.wait()
            self.is_up = False
            logger.warning("log: the connection to %s is lost: %s", self._where, self.why)
            self._on_down()
            await self._hang_up(self.client)
            while not self.is_up:
                try:
                    await self._connect()
                    logger.info("log: connected to %s again", self._where)
                except LogUnavailable as error:
                    self.why = str(error)
                    await asyncio.sleep(RETRY)

    async def _connect(self) -> None:
        try:
            from nats.aio.client import Client
            from nats.errors import Error
        except ImportError as error:
            raise MissingExtra("nats-py", "nats") from error

        self.client = Client()
        self._ended = asyncio.Event()
        try:
            async with asyncio.timeout(PATIENCE):
                await self.client.connect(list(self.servers), **self._options(self._ended))
            self._watch_reading()
            self.jetstream = self.client.jetstream(timeout=PATIENCE)
            await self.ask(_as_coroutine(self._on_up()))
        except (Error, OSError, TimeoutError, LogUnavailable) as error:
            await self._hang_up(self.client)
            raise LogUnavailable(f"no log at {self._where}: {_words(error)}") from error
        self.is_up = True

    def _watch_reading(self) -> None:
        """nats-py may fail as it ends a connection (under uvloop, with something unsent), and then tells nobody."""
        ended = self._ended

        def over(reading: "asyncio.Task[None]") -> None:
            failed = not reading.cancelled() and reading.exception()  # looked at, so that it is not printed
            if not ended.is_set() and ended is self._ended:
                self.why = f"the server hung up: {failed}" if failed else "the server hung up"
            ended.set()

        if (reading := self.client._reading_task) is not None:
            reading.add_done_callback(over)

    def _options(self, ended: asyncio.Event) -> dict[str, Any]:
        from nats.errors import StaleConnectionError, UnexpectedEOF

        async def closed() -> None:
            if not ended.is_set() and ended is self._ended:
                error = self.client.last_error
                silent = isinstance(error, StaleConnectionError) and not isinstance(error, UnexpectedEOF)
                self.why = "the server does not answer" if silent else "the server hung up"
            ended.set()

        async def failed(error: Exception) -> None:
            logger.debug("nats: %s", error)

        return {
            "name": f"palaver hub {self._name}",
            "allow_reconnect": False,
            "max_reconnect_attempts": 1,
            "reconnect_time_wait": 0.05,
            "connect_timeout": 2,
            "ping_interval": PINGS,
            "max_outstanding_pings": PINGS,
            "closed_cb": closed,
            "error_cb": failed,
        }

    async def _hang_up(self, client: "Client") -> None:
        with contextlib.suppress(Exception):  # it is over, whatever it says
            async with asyncio.timeout(1):
                await client.close()

    @property
    def _where(self) -> str:
        """The servers, without passwords."""
        return ", ".join(server.rpartition("@")[2].removeprefix("nats://") for server in self.servers)


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


def _words(error: BaseException) -> str:
    """What an error says; nats-py's sometimes say nothing."""
    return str(error).removeprefix("nats: ") or type(error).__name__
