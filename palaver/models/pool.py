"""HTTP connections, pooled per event loop and closed with it.

A pool is a stack of clients that carry one request at a time: httpcore looks at every connection of a client before
and after each request, which at 100 connections costs more than the request itself.
"""

import asyncio
import contextlib
import functools
import time
import weakref
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING

from palaver.core.errors import MissingExtra

if TYPE_CHECKING:
    import ssl

    import httpx2

_CONNECT_SECONDS = 10.0
_IDLE_SECONDS = 30.0
_LOCAL = ("all://127.0.0.1", "all://localhost", "all://[::1]")


class _Pool:
    """The clients of one loop that carry nothing at present, the one used last on the right."""

    def __init__(self) -> None:
        self._idle: deque[tuple[httpx2.AsyncClient, float]] = deque()
        self._keeper = self._keep()
        self._open = True

    async def open(self) -> None:
        """Have the running loop close the pool when it ends (`loop.shutdown_asyncgens`)."""
        await anext(self._keeper)

    async def close(self) -> None:
        await self._keeper.aclose()

    def take(self) -> "httpx2.AsyncClient":
        return self._idle.pop()[0] if self._idle else _new_client()

    async def give_back(self, client: "httpx2.AsyncClient") -> None:
        """Keep a client for the next request, and let go of one that none has needed for a while."""
        if not self._open:
            await client.aclose()
            return
        now = time.monotonic()
        self._idle.append((client, now))
        if now - self._idle[0][1] > _IDLE_SECONDS:
            unused, _ = self._idle.popleft()
            await unused.aclose()

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._open = False
            while self._idle:
                client, _ = self._idle.pop()
                await client.aclose()


_pools: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _Pool]" = weakref.WeakKeyDictionary()


@contextlib.asynccontextmanager
async def http_client() -> AsyncIterator["httpx2.AsyncClient"]:
    """Lend a client of the running loop's pool for the length of one request."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        pool = _pools[loop] = _Pool()
        await pool.open()
    client = pool.take()
    try:
        yield client
    finally:
        await pool.give_back(client)


async def close_pool() -> None:
    """Close the running loop's connections now instead of with the loop; the next request opens new ones."""
    pool = _pools.pop(asyncio.get_running_loop(), None)
    if pool is not None:
        await pool.close()


def timeout(seconds: float) -> "httpx2.Timeout":
    """So long may an endpoint be silent, and at most ten seconds to connect."""
    import httpx2

    return httpx2.Timeout(seconds, connect=min(seconds, _CONNECT_SECONDS))


@functools.cache
def _ssl_context() -> "ssl.SSLContext":
    import httpx2

    return httpx2.create_ssl_context()


def _new_client() -> "httpx2.AsyncClient":
    try:
        import httpx2
    except ImportError as error:
        raise MissingExtra("httpx2", "openai") from error
    return httpx2.AsyncClient(
        verify=_ssl_context(),
        limits=httpx2.Limits(max_connections=None, max_keepalive_connections=None, keepalive_expiry=_IDLE_SECONDS),
        follow_redirects=True,
        # A proxy from the environment is for the world outside, not for an engine on this machine.
        mounts=dict.fromkeys(_LOCAL),
    )
