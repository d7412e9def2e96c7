"""OpenAI's SDK on our pooled connections: a transport for the `httpx2` that it stands on."""

import functools
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import httpx2

from palaver.models import pool

if TYPE_CHECKING:
    import aiohttp


@functools.cache
def client() -> httpx2.AsyncClient:
    """The HTTP client of all of the SDK's streams. It has nothing of its own to close; errors are aiohttp's."""
    return httpx2.AsyncClient(transport=_Transport(), trust_env=False)


class _Transport(httpx2.AsyncBaseTransport):
    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request of the SDK, all of which are POST."""
        seconds = request.extensions["timeout"]["read"]
        body = await request.aread()
        response = await pool.post(str(request.url), body, request.headers, seconds=seconds, unpacked=False)
        return httpx2.Response(response.status, headers=response.raw_headers, stream=_Body(response), request=request)


class _Body(httpx2.AsyncByteStream):
    def __init__(self, response: "aiohttp.ClientResponse") -> None:
        self._response = response

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._response.content.iter_any():
            yield piece

    async def aclose(self) -> None:
        self._response.release()  # closes the connection where there is more to come
