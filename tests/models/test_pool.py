"""The pooled connections, against real servers: certificates, proxies, addresses, and endpoints that go away."""

import asyncio
import base64
import gzip
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from palaver.models import ollama, pool
from palaver.models.model import ChatMessage, LLMResponse
from palaver.models.ollama import OllamaModel
from palaver.models.openai_api import OpenAIModel
from palaver.models.retry import ONCE
from tests.security.certificates import certificate
from tests.stubs import OllamaStub, OpenAIStub

PROMPT: list[ChatMessage] = [{"role": "user", "content": "Hello"}]
ANSWER = {"choices": [{"message": {"content": "Hello."}, "finish_reason": "stop"}], "model": "m"}
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
CHUNKS = [{"index": 0, "delta": {"content": "Hello."}}], [{"index": 0, "delta": {}, "finish_reason": "stop"}]
STREAM = "".join(f"data: {json.dumps({**CHUNK, 'choices': choices})}\n\n" for choices in CHUNKS) + "data: [DONE]\n\n"

Speak = Callable[[str, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.fixture(autouse=True)
def nothing_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(params=["whole", "streamed"])
def stream(request: pytest.FixtureRequest) -> bool:
    """Both roads: aiohttp itself, and OpenAI's SDK on it."""
    return bool(request.param == "streamed")


@asynccontextmanager
async def server(speak: Speak, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A server that reads a request's head and lets `speak` go on; gives its port."""
    talks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talk = asyncio.current_task()
        assert talk is not None
        talks.add(talk)
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                await speak(head, reader, writer)
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        for talk in talks:
            talk.cancel()
        await asyncio.gather(*talks)


def answer(body: bytes, *fields: str) -> bytes:
    """A whole answer."""
    head = "\r\n".join(["HTTP/1.1 200 OK", f"Content-Length: {len(body)}", *fields])
    return f"{head}\r\n\r\n".encode() + body


async def read_body(head: str, reader: asyncio.StreamReader) -> bytes:
    size = next(line for line in head.lower().split("\r\n") if line.startswith("content-length:"))
    return await reader.readexactly(int(size.partition(":")[2]))


async def say_hello(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """What a model's endpoint does."""
    streamed = json.loads(await read_body(head, reader)).get("stream")
    writer.write(answer(STREAM.encode() if streamed else json.dumps(ANSWER).encode()))


async def ask(url: str, stream: bool = False, **settings: float) -> LLMResponse:
    """One attempt at a model behind `url`."""
    model = OpenAIModel("m", base_url=url, api_key="sk-x", retry=ONCE, **settings)  # type: ignore[arg-type]
    return await model.complete(PROMPT, on_text=(lambda piece: None) if stream else None)


def tls(folder: Path, host: str = "") -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the certificate to trust."""
    pair = certificate(folder, host=host)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    return context, pair.certificate


async def test_a_certificate_is_taken_only_where_somebody_vouches_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    context, trusted = tls(tmp_path)
    pool._ssl_context.cache_clear()
    async with server(say_hello, context) as port:
        refused = await ask(f"https://localhost:{port}/v1", stream)
        monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
        pool._ssl_context.cache_clear()
        taken = await ask(f"https://localhost:{port}/v1", stream)
    pool._ssl_context.cache_clear()
    assert not refused.success
    assert "certificate" in (refused.error or "").lower()
    assert (taken.content, taken.success) == ("Hello.", True)


async def test_certificates_that_cannot_be_read_are_named(monkeypatch: pytest.MonkeyPatch, stream: bool) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/no/such/file.pem")
    pool._ssl_context.cache_clear()
    reply = await ask("https://localhost:1/v1", stream)
    pool._ssl_context.cache_clear()
    assert not reply.success
    assert "SSL_CERT_FILE" in (reply.error or "") and "No such file" in (reply.error or "")


async def test_an_endpoint_without_tls_is_called_by_http(stream: bool) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    listening = await asyncio.start_server(refuse, "127.0.0.1", 0)
    async with listening:
        reply = await ask(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1", stream)
    assert not reply.success
    assert "is reached by http://" in (reply.error or "")


async def test_an_address_that_sends_to_itself_is_told(stream: bool) -> None:
    async def send_back(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(head, reader)
        writer.write(b"HTTP/1.1 307 Again\r\nLocation: /v1/chat/completions\r\nContent-Length: 0\r\n\r\n")

    async with server(send_back) as port:
        reply = await ask(f"http://127.0.0.1:{port}/v1", stream)
    assert "from address to address" in (reply.error or "")


async def test_the_environments_proxy_is_asked_for_the_world_outside(
    monkeypatch: pytest.MonkeyPatch, stream: bool
) -> None:
    heads: list[str] = []

    async def relay(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        await say_hello(head, reader, writer)

    async with server(relay) as port:
        monkeypatch.setenv("http_proxy", f"http://me:secret@127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "inside.example")
        assert (await ask("http://models.example/v1", stream)).content == "Hello."
        reply = await ask("http://inside.example:1/v1", stream)
    assert "cannot connect to http://inside.example:1/v1" in (reply.error or "")
    assert len(heads) == 1
    assert heads[0].startswith("POST http://models.example/v1/chat/completions HTTP/1.1\r\n")
    assert f"Proxy-Authorization: Basic {base64.b64encode(b'me:secret').decode()}\r\n" in heads[0]


async def test_an_encrypted_endpoint_is_reached_through_the_proxy_in_a_tunnel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context, trusted = tls(tmp_path, "models.example")
    asked: list[str] = []

    async def tunnel(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(head.partition(" HTTP")[0])
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        try:
            await asyncio.gather(_pass_on(reader, back), _pass_on(there, writer))
        finally:
            back.close()

    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    pool._ssl_context.cache_clear()
    async with server(say_hello, context) as port, server(tunnel) as proxy:
        monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy}")
        reply = await ask("https://models.example/v1")
        await _close_connections()
    pool._ssl_context.cache_clear()
    assert (reply.content, reply.error) == ("Hello.", None)
    assert asked == ["CONNECT models.example:443"]


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def _close_connections() -> None:
    """As the loop's end does."""
    await pool._pools[asyncio.get_running_loop()]._keeper.aclose()


@pytest.mark.parametrize("proxy", ["http://127.0.0.1:9", "socks5://127.0.0.1:9", "nonsense"])
async def test_a_proxy_that_cannot_be_used_is_named_in_the_failure(
    monkeypatch: pytest.MonkeyPatch, proxy: str, stream: bool
) -> None:
    monkeypatch.setenv("http_proxy", proxy)
    reply = await ask("http://models.example/v1", stream)
    assert not reply.success
    assert "proxy" in (reply.error or "")


async def test_a_user_in_the_address_takes_the_place_of_the_key(stream: bool) -> None:
    with OpenAIStub() as stub:
        assert (await ask(stub.base_url.replace("http://", "http://me:secret@"), stream)).success
    expected = f"Basic {base64.b64encode(b'me:secret').decode()}"
    assert [request.headers["authorization"] for request in stub.requests] == [expected]


@pytest.mark.parametrize("url", ["http://127.0.0.1:port/v1", "ftp://127.0.0.1/v1", "http://", "127.0.0.1:80/v1"])
async def test_what_is_no_address_is_a_failure_that_says_so(url: str, stream: bool) -> None:
    reply = await ask(url, stream)
    assert not reply.success
    assert "not a URL" in (reply.error or "")


async def test_a_moved_endpoint_is_asked_again_with_the_same_words(stream: bool) -> None:
    with OpenAIStub() as stub:

        async def send_on(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await read_body(head, reader)
            to = f"{stub.base_url}/chat/completions"
            writer.write(f"HTTP/1.1 307 Moved\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())

        async with server(send_on) as port:
            assert (await ask(f"http://127.0.0.1:{port}/v1", stream)).success
    assert stub.posts[0]["messages"] == PROMPT


async def test_packed_answers_are_unpacked(stream: bool) -> None:
    async def pack(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        assert "gzip" in head
        streamed = json.loads(await read_body(head, reader)).get("stream")
        body = STREAM if streamed else json.dumps(ANSWER)
        writer.write(answer(gzip.compress(body.encode()), "Content-Encoding: gzip"))

    async with server(pack) as port:
        assert (await ask(f"http://127.0.0.1:{port}/v1", stream)).content == "Hello."


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{", b"SSH-2.0-no\r\n\r\n"])
async def test_an_answer_that_breaks_off_is_a_broken_connection(said: bytes, stream: bool) -> None:
    async def break_off(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_body(head, reader)
        writer.write(said)
        writer.close()

    async with server(break_off) as port:
        reply = await ask(f"http://127.0.0.1:{port}/v1", stream)
    assert not reply.success
    assert f"the connection to http://127.0.0.1:{port}/v1 broke" in (reply.error or "")
    assert reply.provenance["status"] == 0


async def test_an_endpoint_that_does_not_take_a_long_prompt_is_silent_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_SLOWEST_BYTES_A_SECOND", 2**30)

    async def take_nothing(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    async with server(take_nothing) as port:
        model = OpenAIModel("m", base_url=f"http://127.0.0.1:{port}/v1", timeout=0.05, retry=ONCE)
        reply = await model.complete([{"role": "user", "content": "x" * 2**24}])
    assert (reply.success, reply.stop_reason) == (False, "timeout")


def test_a_connection_that_was_closed_behind_a_busy_loop_is_not_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "_FRESH_SECONDS", -1.0)
    answered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def serve() -> None:
        for _ in range(2):
            connection, _ = listening.accept()
            with connection:
                received = b""
                while not received.endswith(b"}"):
                    received += connection.recv(65536)
                connection.sendall(answer(json.dumps(ANSWER).encode()))
                answered.set()
                leave.wait(10)
            left.set()

    async def ask_twice() -> list[str | None]:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        first = await ask(url)
        leave.set()
        assert left.wait(10), "the loop stands still meanwhile and cannot see that the server goes"
        return [first.error, (await ask(url)).error]

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert asyncio.run(ask_twice()) == [None, None]
        thread.join(10)


async def test_a_long_line_of_ollama_comes_whole() -> None:
    text = "long " * 400_000
    with OllamaStub([text]) as stub:
        reply = await OllamaModel("m", host=stub.url, retry=ONCE).complete(PROMPT, max_tokens=10**7)
    assert (len(reply.content), reply.error) == (len(text), None)


async def test_a_line_of_ollama_without_end_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ollama, "_LONGEST_LINE", 10)
    with OllamaStub() as stub:
        reply = await OllamaModel("m", host=stub.url, retry=ONCE).complete(PROMPT)
    assert not reply.success
    assert f"the connection to {stub.url} broke" in (reply.error or "")


def test_a_loop_that_was_closed_bare_leaves_nothing_behind() -> None:
    async def ask_and_wait() -> None:
        assert (await ask(stub.base_url)).provenance["status"] == 500
        for _ in range(3):
            await asyncio.sleep(0)  # until the connection is closed, as the stub said: there is no other to be left

    with OpenAIStub() as stub:
        for _ in range(3):
            stub.fail(500, headers={"connection": "close"})
            loop = asyncio.new_event_loop()
            loop.run_until_complete(ask_and_wait())
            loop.close()
        assert [loop] == [each for each in pool._pools if each.is_closed()], "the last one's"
        assert asyncio.run(ask(stub.base_url)).success
    assert not any(each.is_closed() for each in pool._pools)


@pytest.mark.system
def test_connections_close_with_their_loop_and_without_a_word(tmp_path: Path) -> None:
    script = """
import asyncio, sys, uvloop
from palaver.models.openai_api import OpenAIModel

async def main():
    models = [OpenAIModel("m", base_url=url, api_key="x") for url in sys.argv[1:]]
    replies = [await model.complete([{"role": "user", "content": "Hello"}]) for model in models for _ in range(2)]
    replies += [await model.complete([{"role": "user", "content": "Hello"}], on_text=len) for model in models]
    assert all(reply.success for reply in replies), replies

asyncio.run(main())
uvloop.run(main())
"""
    context, trusted = tls(tmp_path)

    async def run() -> tuple[bytes, int | None]:
        async with server(say_hello, context) as port:
            command = [sys.executable, "-W", "error", "-c", script, stub.base_url]
            process = await asyncio.create_subprocess_exec(
                *command,
                f"https://localhost:{port}/v1",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "SSL_CERT_FILE": str(trusted)},
            )
            said, _ = await asyncio.wait_for(process.communicate(), 60)
            return said, process.returncode

    with OpenAIStub() as stub:
        assert asyncio.run(run()) == (b"", 0)
