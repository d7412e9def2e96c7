"""The connection to a NATS server, or to one of a cluster: made again whenever it is lost, with all that must be there.

nats-py's own reconnecting is not used: it sends what was buffered before anybody can say what must come first.
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar

from palaver.core.errors import ConfigError, LogUnavailable
from palaver.hub.nats_access import Access, explain, words

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
ELECTION: Final = 60.0
"""Seconds that a hub which starts waits for a cluster to agree on who leads; it takes NATS 2 to 9."""
NOT_ENABLED: Final = (10035, 10039, 10076)
"""JetStream's codes for "there is none here", which 503 says as well as "there is none yet"."""


class NotReady(LogUnavailable):
    """A cluster without a leader, or with too few servers: it may be ready soon."""


class Broker:
    """One connection at a time. `on_up` makes ready what a new one needs, `on_down` hears that it is lost.

    `on_forbidden` hears what the server says where we may not publish or subscribe, once everything was ready.
    """

    def __init__(
        self,
        servers: Sequence[str],
        name: str,
        *,
        on_up: Callable[[], Awaitable[None]],
        on_down: Callable[[], None],
        on_forbidden: Callable[[str], None] = lambda text: None,
        access: Access | None = None,
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
        self._on_forbidden = on_forbidden
        self._access = access or Access()
        self._last = self._said = ""
        self._failure: Exception | None = None
        self._ended = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connect, and stay connected from then on.

        Raises `LogUnavailable` where the first attempt fails; a cluster that is not ready is waited for.
        """
        begun = time.monotonic()
        while not self.is_up:
            try:
                await self._connect()
            except NotReady as error:
                if time.monotonic() - begun > ELECTION:
                    raise LogUnavailable(f"{error}; waited {ELECTION:.0f} s") from error
                self._say(f"{error}; waiting for up to {ELECTION:.0f} s")
                await asyncio.sleep(RETRY)
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
            raise self._unanswered(error) from error
        finally:
            asking.cancel()
            ended.cancel()
            await asyncio.gather(asking, ended, return_exceptions=True)

    def _may_have_jetstream(self) -> bool:
        """Whether the server takes part in JetStream, or another of its cluster may."""
        return self.in_cluster() or bool(self.client._server_info.get("jetstream"))

    def _unanswered(self, error: Exception) -> LogUnavailable:
        """Whether it can be waited for, of an error that came instead of an answer."""
        from nats.js.errors import NoStreamResponseError, ServiceUnavailableError

        code = getattr(error, "err_code", None)
        if isinstance(error, ServiceUnavailableError) and (code in NOT_ENABLED or not self._may_have_jetstream()):
            return LogUnavailable(
                "log: no JetStream there: give nats-server a jetstream block, and this account a share"
            )
        if isinstance(error, TimeoutError):
            return NotReady("log: JetStream does not answer")
        if isinstance(error, ServiceUnavailableError | NoStreamResponseError):
            return NotReady("log: the servers have not agreed on who leads")
        return LogUnavailable(f"log: {words(error)}")

    def in_cluster(self) -> bool:
        """Whether the server that we are connected to is one of several."""
        return bool(self.client._server_info.get("cluster"))

    async def publish(self, subject: str, body: bytes, *, reply: str = "", headers: Mapping[str, str] = {}) -> None:
        """Send a message; where that cannot be, the connection is given up."""
        from nats.errors import Error

        try:
            await self.client.publish(subject, body, reply=reply, headers=dict(headers) or None)
        except (Error, OSError) as error:
            self.lose(words(error))

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
                    logger.info("log: connected to %s again", _plain(self._last))
                except LogUnavailable as error:
                    self._say(str(error))
                    await asyncio.sleep(RETRY)

    def _say(self, why: str) -> None:
        """Why there is no connection, once for as long as it stays the same."""
        if why != self._said:
            logger.warning("%s", why)
        self.why = self._said = why

    async def _connect(self) -> None:
        """To any of the servers; the one that we had last comes last."""
        failed: list[LogUnavailable] = []
        for server in sorted(random.sample(self.servers, len(self.servers)), key=lambda one: one == self._last):
            try:
                await self._connect_to(server)
                return
            except LogUnavailable as error:
                failed.append(error)
        if soon := [str(error) for error in failed if isinstance(error, NotReady)]:
            raise NotReady(min(soon))
        raise LogUnavailable("; ".join(sorted(map(str, failed))))

    async def _connect_to(self, server: str) -> None:
        self._last = server
        self.client = self._access.client(server)  # first: it says what to install
        from nats.errors import Error

        self._ended = asyncio.Event()
        self._failure = None
        try:
            async with asyncio.timeout(PATIENCE):
                await self.client.connect(server, **self._options(self._ended), **self._access.options(server))
            if not self.client.is_connected:
                raise ConnectionResetError
        except (Error, OSError, TimeoutError, ConfigError) as error:
            self._ended.set()
            await self._hang_up(self.client)
            told = explain(self._failure or error, self._access, server)
            raise LogUnavailable(f"no log at {_plain(server)}: {told}") from error
        try:
            self._watch_reading()
            self.jetstream = self.client.jetstream(timeout=PATIENCE)
            await self.ask(_as_coroutine(self._on_up()))
            await self.ask(self.client.flush())  # what we may not do has been said by then
        except BaseException as error:
            self._ended.set()  # by us: the reason is not that the server hung up
            self._on_down()
            await self._hang_up(self.client)
            if isinstance(error, LogUnavailable):
                raise type(error)(f"log at {_plain(server)}: {str(error).removeprefix('log: ')}") from error
            raise
        self.is_up, self._said = True, ""

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
            self._failure = error
            if ended is self._ended and "permissions violation" in str(error).lower():
                self._forbidden(words(error))

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

    def _forbidden(self, text: str) -> None:
        """We may not do something: a connection that cannot be made ready, else a matter of whoever tried."""
        told = f"{text}: give this hub's user the permissions of docs/scaling.md"
        if self.is_up:
            logger.error("log: %s", told)
            self._on_forbidden(text)
        else:
            self.lose(told)

    async def _hang_up(self, client: "Client") -> None:
        with contextlib.suppress(Exception):  # it is over, whatever it says
            async with asyncio.timeout(1):
                await client.close()

    @property
    def _where(self) -> str:
        return ", ".join(map(_plain, self.servers))


async def _as_coroutine(work: Awaitable[T]) -> T:
    return await work


def _plain(server: str) -> str:
    """A server, without passwords."""
    return server.rpartition("@")[2].rpartition("//")[2]
