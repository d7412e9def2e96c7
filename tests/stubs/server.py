"""A small real HTTP/1.1 server in a thread of its own: the ground that the stubs stand on.

It keeps every request, can be told to fail, wait or hang, and says when a client hung up before its answer.
Being a thread, it serves blocking and asynchronous tests alike.
"""

import argparse
import asyncio
import json
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Self

WAIT_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it arrived; header names are lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    connection: int
    """Number of the connection that carried it: equal numbers mean a reused connection."""
    arrived: float = field(default_factory=time.monotonic)

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that goes wrong on purpose; status 0 hangs up without a word."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Any = None


class Answer:
    """The way back to one client: one whole JSON document, or lines as they come."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    def whole(self, status: int, document: Any, headers: Mapping[str, str] | None = None) -> None:
        """Send `document` as JSON (a str goes out as it is)."""
        text = document if isinstance(document, str) else json.dumps(document)
        body = text.encode()
        fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        self._transport.write(_head(status, fields) + body)

    def begin(self, content_type: str) -> None:
        """Start an answer of unknown length."""
        self._transport.write(_head(200, {"content-type": content_type, "transfer-encoding": "chunked"}))

    def piece(self, text: str) -> None:
        """Send one piece of it."""
        body = text.encode()
        self._transport.write(b"%x\r\n%s\r\n" % (len(body), body))

    def end(self) -> None:
        """End it."""
        self._transport.write(b"0\r\n\r\n")

    def hang_up(self) -> None:
        """Close the connection at once, whatever was promised."""
        self._transport.abort()


def _head(status: int, fields: Mapping[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{k}: {v}" for k, v in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


class StubServer:
    """`with StubServer() as stub:` listens on 127.0.0.1 at a free port until the block ends."""

    def __init__(self, *, latency: float = 0.0, hang: bool = False, port: int = 0) -> None:
        self.latency = latency
        """Seconds before an answer begins."""
        self.hang = hang
        """Never answer, until the client hangs up."""
        self.requests: list[Request] = []
        self.hung_up: list[Request] = []
        """Requests whose client closed the connection before its answer was whole."""
        self.keep_requests = True
        self.tls: ssl.SSLContext | None = None
        """When set before it begins, it speaks TLS."""
        self._port = port
        self._failures: deque[Failure] = deque()
        self._failure_for: Callable[[Request], Failure | None] = lambda request: None
        self._changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._serve, name=type(self).__name__, daemon=True)
        self._started = threading.Event()

    # What a test says

    def fail(
        self,
        status: int,
        times: int = 1,
        *,
        retry_after: str | None = None,
        headers: Mapping[str, str] | None = None,
        body: Any = None,
    ) -> None:
        """The next `times` POST requests get `status` (0: the connection is cut)."""
        fields = {**(headers or {}), **({"retry-after": retry_after} if retry_after is not None else {})}
        self._failures.extend(Failure(status, fields, body) for _ in range(times))

    def fail_when(self, rule: Callable[[Request], Failure | None]) -> None:
        """Every request for which `rule` gives a failure gets that."""
        self._failure_for = rule

    def wait_for_requests(self, count: int = 1) -> None:
        """Block until that many requests have arrived."""
        self._wait(lambda: len(self.requests) >= count, f"{count} requests")

    def wait_for_hang_up(self, count: int = 1) -> None:
        """Block until that many clients have hung up in the middle of their answer."""
        self._wait(lambda: len(self.hung_up) >= count, f"{count} clients that hung up")

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        with self._changed:
            if not self._changed.wait_for(condition, WAIT_SECONDS):
                raise AssertionError(f"{type(self).__name__} waited {WAIT_SECONDS:.0f} s in vain for {what}")

    @property
    def posts(self) -> Sequence[Any]:
        """The JSON bodies of all POST requests, in order."""
        return [request.json for request in self.requests if request.method == "POST"]

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`, without a slash at its end."""
        return f"http{'s' if self.tls else ''}://127.0.0.1:{self._port}"

    # What a stub says

    async def answer(self, request: Request, answer: Answer) -> None:
        """Answer one request; overridden by each stub."""
        answer.whole(404, {"error": f"no such path: {request.method} {request.path}"})

    def failure_body(self, failure: Failure) -> Any:
        """The error document of this protocol."""
        return failure.body if failure.body is not None else {"error": f"scripted failure {failure.status}"}

    # The machinery

    async def respond(self, request: Request, answer: Answer) -> None:
        """Wait, fail or answer, as told."""
        if self.hang:
            await asyncio.Event().wait()
        if self.latency:
            await asyncio.sleep(self.latency)
        failure = self._failure_for(request)
        if failure is None and request.method == "POST" and self._failures:
            failure = self._failures.popleft()
        if failure is None:
            await self.answer(request, answer)
        elif failure.status == 0:
            answer.hang_up()
        else:
            answer.whole(failure.status, self.failure_body(failure), failure.headers)

    def note(self, kept: list[Request], request: Request) -> None:
        """Remember `request` and wake whoever waits for it."""
        if not self.keep_requests:
            return
        with self._changed:
            kept.append(request)
            self._changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        if not self._started.wait(WAIT_SECONDS):
            raise RuntimeError("the stub server did not start")
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_SECONDS)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        connections: set[_Connection] = set()
        server = self._loop.run_until_complete(
            self._loop.create_server(
                lambda: _Connection(self, connections), "127.0.0.1", self._port, backlog=1024, ssl=self.tls
            )
        )
        self._port = server.sockets[0].getsockname()[1]
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for connection in list(connections):
                connection.close()
            pending = asyncio.all_tasks(self._loop)
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            self._loop.run_until_complete(asyncio.sleep(0))
            self._loop.close()


class _Connection(asyncio.Protocol):
    """One client: parses requests and answers them one after another."""

    _count = 0

    def __init__(self, server: StubServer, connections: set["_Connection"]) -> None:
        _Connection._count += 1
        self._number = _Connection._count
        self._server = server
        self._connections = connections
        self._received = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._current: Request | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._connections.add(self)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if self._task is None:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        if self._task is not None:
            self._task.cancel()
            if self._current is not None:
                self._server.note(self._server.hung_up, self._current)

    def close(self) -> None:
        """Let go without calling it a client's hanging up."""
        self._current = None
        self._transport.abort()

    def _next(self) -> None:
        request = self._parse()
        if request is not None:
            self._server.note(self._server.requests, request)
            self._current = request
            self._task = asyncio.get_running_loop().create_task(self._answer(request))

    async def _answer(self, request: Request) -> None:
        await self._server.respond(request, Answer(self._transport))
        self._task = self._current = None
        self._next()

    def _parse(self) -> Request | None:
        end = self._received.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        size = end + 4 + int(headers.get("content-length", "0"))
        if len(self._received) < size:
            return None
        body = bytes(self._received[end + 4 : size])
        del self._received[:size]
        method, path, _ = first.split(" ", 2)
        return Request(method, path, headers, body, self._number)


def serve_from_command_line(make: Callable[[argparse.Namespace], StubServer], description: str) -> None:
    """Run a stub as a process: print its URL on the first line, serve until standard input ends or a signal comes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--reply", action="append", help="a scripted reply (may be given again)")
    with make(parser.parse_args()) as stub:
        stub.keep_requests = False
        print(stub.url, flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return
