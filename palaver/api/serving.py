"""HTTP listeners in the hub's event loop: uvicorn without its signals, closed before the hub is."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from palaver.api.routes.about import METRICS_TYPE
from palaver.api.service import Service
from palaver.core.errors import ConfigError

logger = logging.getLogger(__name__)

BACKLOG = 2048
"""Callers that may wait to be taken; uvicorn's own number."""
GOODBYE = 5
"""Seconds that requests have to end when the server stops."""


class _Listener(uvicorn.Server):
    """A server that leaves the process's signals alone."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def bound(host: str, port: int) -> socket.socket:
    """A listening address, which takes callers from now on; port 0 takes a free one. Raises `ConfigError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(BACKLOG)  # now: who reads the address must not come before uvicorn listens
    except OSError as error:
        listener.close()
        raise ConfigError(f"cannot listen on {host}:{port}: {error.strerror or error}") from error
    return listener


def url_of(listener: socket.socket, scheme: str = "http") -> str:
    """Where a bound socket listens."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


@contextlib.asynccontextmanager
async def listening(
    app: FastAPI, listener: socket.socket, *, access_log: bool = False, tls: tuple[str, str] | None = None
) -> AsyncIterator[None]:
    """An application that answers on a bound socket until the block is left; `tls` is certificate and key."""
    config = uvicorn.Config(
        app,
        lifespan="off",
        log_config=None,
        access_log=access_log,
        server_header=False,
        timeout_graceful_shutdown=GOODBYE,
        ws="none",
        ssl_certfile=tls[0] if tls else None,
        ssl_keyfile=tls[1] if tls else None,
    )
    server = _Listener(config)
    running = asyncio.create_task(server.serve(sockets=[listener]), name="http")
    try:
        yield
    finally:
        server.should_exit = True
        await running


def metrics_app(service: Service) -> FastAPI:
    """An application with nothing but `GET /metrics`."""
    from fastapi.responses import PlainTextResponse

    app = FastAPI(title="Palaver metrics", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/metrics")
    async def metrics() -> PlainTextResponse:
        return PlainTextResponse(service.metrics.text(), media_type=METRICS_TYPE)

    return app


async def stopped() -> None:
    """Return when the process is asked to stop (SIGINT, SIGTERM)."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    try:
        await asked.wait()
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
