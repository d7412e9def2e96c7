"""HTTP connections, pooled per event loop and closed with it.

On aiohttp, where a short answer takes 0.16 ms of processor time; on httpx2, which OpenAI's SDK brings along, it takes
0.70 (`palaver.models.sdk_wire` lets the SDK use these connections too).
"""

import asyncio
import functools
import io
import re
import time
from collections.abc import AsyncGenerator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.request import getproxies, proxy_bypass

from palaver.core.errors import MissingExtra

if TYPE_CHECKING:
    import ssl

    import aiohttp
    import yarl

_CONNECT_SECONDS: Final = 10.0
_IDLE_SECONDS: Final = 30.0
_LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_FRESH_SECONDS = 1.0
"""An endpoint does not close a connection that was used so lately."""
_SENT_AT_ONCE: Final = 2**16
"""So many bytes are handed to the kernel without waiting for it."""
_SLOWEST_BYTES_A_SECOND = 2**14


class _Pool:
    """The connections of one loop. There is no limit to them: who asks knows how much may be asked at once."""

    def __init__(self) -> None:
        try:
            import aiohttp
        except ImportError as error:
            raise MissingExtra("aiohttp", "openai") from error
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS)
        self.session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
        self._proxies = getproxies()
        self._proxy_for: dict[tuple[str, str], str | None] = {}
        self._keeper = self._keep()
        self._used = time.monotonic()

    async def open(self) -> None:
        """Have the running loop close the pool when it ends (`loop.shutdown_asyncgens`)."""
        await anext(self._keeper)

    async def refresh(self) -> None:
        """Let the loop look, after a while, whether endpoints have closed what is kept: it may have been busy."""
        now = time.monotonic()
        if now - self._used > _FRESH_SECONDS:
            await asyncio.sleep(0)  # the loop sees an end
            await asyncio.sleep(0)  # the connection hears of it
        self._used = now

    def proxy(self, url: "yarl.URL") -> str | None:
        """The environment's proxy for `url`: for the world outside, not for an engine on this machine."""
        scheme, host = url.scheme, url.host or ""
        if (scheme, host) not in self._proxy_for:
            inside = host in _LOCAL or proxy_bypass(host)
            found = None if inside else self._proxies.get(scheme) or self._proxies.get("all")
            self._proxy_for[scheme, host] = found
        proxy = self._proxy_for[scheme, host]
        if proxy is not None and not proxy.startswith(("http://", "https://")):
            import aiohttp

            raise aiohttp.ClientError(f"the environment's {scheme}_proxy is not of the form http://host:port")
        return proxy

    async def _keep(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            _pools.pop(asyncio.get_running_loop(), None)
            await self.session.close()


_pools: dict[asyncio.AbstractEventLoop, _Pool] = {}


async def _pool() -> _Pool:
    """The running loop's pool."""
    loop = asyncio.get_running_loop()
    pool = _pools.get(loop)
    if pool is None:
        await _sweep()
        pool = _pools[loop] = _Pool()
        await pool.open()
    return pool


async def _sweep() -> None:
    """Let go of what loops left behind that were closed without ending their generators."""
    for loop in [each for each in _pools if each.is_closed()]:
        left = _pools.pop(loop, None)
        if left is not None:
            await left.session.close()


async def post(
    url: str, body: bytes, headers: Mapping[str, str], *, seconds: float, unpacked: bool = True
) -> "aiohttp.ClientResponse":
    """The answer to a POST, from its head on. Leaving its `async with` gives the connection back, or closes it.

    Raises `aiohttp.ClientError` where there is none, also after a silence of `seconds`. Names in `headers` are lower
    case; a user in `url` takes the place of `authorization`. `unpacked` is false where the reader unpacks the body.
    """
    pool = await _pool()
    await pool.refresh()
    target = address(url)
    if target.user is not None:
        headers = {name: value for name, value in headers.items() if name != "authorization"}
    long = len(body) > _SENT_AT_ONCE
    asked = pool.session.post(
        target,
        data=io.BytesIO(body) if long else body,  # aiohttp warns of long bytes: it would write them in one go
        headers=headers,
        timeout=_timeout(seconds),
        proxy=pool.proxy(target),
        ssl=_ssl_context() if target.scheme == "https" else True,
        auto_decompress=unpacked,
    )
    if not long:
        return await asked
    import aiohttp

    try:  # aiohttp waits for ever for an endpoint that does not take what is sent to it
        async with asyncio.timeout(2 * seconds + len(body) / _SLOWEST_BYTES_A_SECOND):
            return await asked
    except TimeoutError as error:
        raise aiohttp.SocketTimeoutError(str(error)) from error


def without_user(url: str) -> str:
    """An address as it may be shown: a user and a password in it are left out."""
    return re.sub(r"//[^/@]*@", "//", url)


@functools.lru_cache
def address(url: str) -> "yarl.URL":
    """An address, read once; raises `aiohttp.InvalidURL`."""
    import aiohttp
    import yarl

    try:
        return yarl.URL(url)
    except ValueError as error:
        raise aiohttp.InvalidURL(url, str(error)) from error


@functools.lru_cache
def _timeout(seconds: float) -> "aiohttp.ClientTimeout":
    """So long may an endpoint be silent, and at most ten seconds to connect."""
    import aiohttp

    return aiohttp.ClientTimeout(connect=min(seconds, _CONNECT_SECONDS), sock_read=seconds)


@functools.cache
def _ssl_context() -> "ssl.SSLContext":
    """As the SDK checks certificates: SSL_CERT_FILE, SSL_CERT_DIR, else the system's."""
    import aiohttp
    import httpx2

    try:
        context = httpx2.create_ssl_context()
    except OSError as error:
        raise aiohttp.ClientError(f"SSL_CERT_FILE or SSL_CERT_DIR cannot be read: {error.strerror}") from error
    context.set_alpn_protocols(["http/1.1"])
    return context
