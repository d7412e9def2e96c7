"""TLS: what a hub and a client make of certificates, and of each other where only one of them speaks it."""

import asyncio
import json
import ssl
import struct
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Subprotocol

from palaver.cli.client import parser as client_flags
from palaver.cli.common import tls_of
from palaver.core.errors import AccessDenied, ConfigError
from palaver.core.protocol import Join, Welcome
from palaver.hub.auth import SharedSecret
from palaver.hub.hub import Hub
from palaver.hub.server import listening
from palaver.hub.sqlite_log import SqliteLog
from palaver.hub.tls import server_tls
from palaver.participants.link import Link, LinkDown
from tests.hubs import running
from tests.processes import hub_process, program
from tests.security.certificates import Pair, certificate


@asynccontextmanager
async def over_tls(pair: Pair) -> AsyncIterator[int]:
    """The port of a hub with that certificate."""
    log = SqliteLog(None)
    hub = Hub(log=log, archive=log)
    tls = server_tls(str(pair.certificate), str(pair.key))
    async with listening(hub, SharedSecret(), port=0, tls=tls) as server:
        yield int(next(iter(server.sockets)).getsockname()[1])


def trusting(pair: Pair) -> ssl.SSLContext:
    """What `--tls-ca` makes of a certificate."""
    context = tls_of(client_flags().parse_args(["--name", "x", "--tls-ca", str(pair.certificate)]))
    assert context is not None
    return context


async def outcome(url: str, tls: ssl.SSLContext | None = None) -> str:
    """`welcome`, or why there is no connection."""
    async with Link(url, Join(name="Ann", role="moderator"), tls=tls, wait=lambda attempt: 60.0) as link:
        async with asyncio.timeout(10):
            async for received in link:
                if isinstance(received, Welcome):
                    return "welcome"
                if isinstance(received, LinkDown):
                    return received.reason
    raise AssertionError("neither welcomed nor refused")


async def test_a_client_joins_over_tls_where_it_trusts_the_certificate_and_only_there(tmp_path: Path) -> None:
    pair, other = certificate(tmp_path), certificate(tmp_path, "other")
    async with over_tls(pair) as port:
        assert await outcome(f"wss://localhost:{port}", trusting(pair)) == "welcome"
        assert await outcome(f"wss://127.0.0.1:{port}", trusting(pair)) == "welcome"
        for context in (None, trusting(other)):
            reason = await outcome(f"wss://localhost:{port}", context)
            assert "its certificate is not trusted" in reason and "--tls-ca" in reason
    elsewhere = certificate(tmp_path, "elsewhere", host="elsewhere.example")
    async with over_tls(elsewhere) as port:
        for host, what in (("localhost", "Hostname"), ("127.0.0.1", "IP address")):
            reason = await outcome(f"wss://{host}:{port}", trusting(elsewhere))
            assert f"{what} mismatch" in reason
            assert reason.endswith("; call it by a name that its certificate is for")


async def test_ws_and_wss_at_the_wrong_port_are_told_apart(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    async with over_tls(pair) as port:
        assert "reached by wss://" in await outcome(f"ws://127.0.0.1:{port}")
    async with running() as hub:
        assert "reached by ws://" in await outcome(f"wss://127.0.0.1:{hub.port}", trusting(pair))


async def test_the_page_is_served_over_https(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    async with over_tls(pair) as port:

        def get() -> bytes:
            with urllib.request.urlopen(f"https://localhost:{port}/health", context=trusting(pair)) as answer:
                return bytes(answer.read())

        assert json.loads(await asyncio.to_thread(get))["status"] == "ok"


async def test_one_that_does_not_read_over_tls_is_cut_and_delays_nobody(tmp_path: Path) -> None:
    """Resetting, and counting what waits, work through TLS as they do without."""
    pair = certificate(tmp_path)
    async with over_tls(pair) as port:
        url, tls = f"wss://localhost:{port}", trusting(pair)
        reader, writer = await asyncio.open_connection("localhost", port, ssl=tls, limit=1024)
        writer.write(
            b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        await reader.readuntil(b"\r\n\r\n")
        body = json.dumps({"type": "join", "name": "Deaf", "role": "observer"}).encode()
        writer.write(struct.pack("!BB", 0x81, 0x80 | len(body)) + b"\0\0\0\0" + body)
        await reader.read(1)
        writer.transport.pause_reading()  # type: ignore[attr-defined]  # it is a reading transport as well
        async with Link(url, Join(name="Ann", role="moderator"), tls=tls) as link:
            speaking = asyncio.create_task(_speak(link))
            async with asyncio.timeout(30):
                async for frame in link:
                    if getattr(frame, "state", "") == "left" and getattr(frame, "name", "") == "Deaf":
                        break
            await speaking
        writer.transport.abort()


async def _speak(link: Link) -> None:
    for _ in range(300):
        await link.say("x" * 60_000)


BAD: dict[str, tuple[Callable[[Any, Any], tuple[Any, Any]], str]] = {
    "no certificate": (lambda pair, other: (pair.certificate.with_name("missing"), pair.key), "No such file"),
    "no key": (lambda pair, other: (pair.certificate, pair.key.with_name("missing")), "No such file"),
    "wrong pair": (lambda pair, other: (pair.certificate, other.key), "does not belong to the certificate"),
    "the same twice": (lambda pair, other: (pair.certificate, pair.certificate), "holds no private key"),
    "swapped": (lambda pair, other: (pair.key, pair.certificate), "holds no certificate"),
    "only one": (lambda pair, other: (pair.certificate, ""), "go together"),
}


@pytest.mark.parametrize("kind", BAD)
def test_files_that_cannot_be_used_are_told_in_one_line(kind: str, tmp_path: Path) -> None:
    choose, words = BAD[kind]
    chosen = choose(certificate(tmp_path), certificate(tmp_path, "other"))
    with pytest.raises(ConfigError, match=words) as refusal:
        server_tls(*map(str, chosen))
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"begins": -9, "ends": -2}, "has expired"),
        ({"begins": 2, "ends": 9}, "not valid yet"),
        ({"password": b"x"}, "locked with a password"),
    ],
)
def test_a_certificate_out_of_its_time_and_a_locked_key_are_refused(
    options: dict[str, int], words: str, tmp_path: Path
) -> None:
    pair = certificate(tmp_path, **options)  # type: ignore[arg-type]  # one of them is a password
    with pytest.raises(ConfigError, match=words):
        server_tls(str(pair.certificate), str(pair.key))


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), ("not a certificate", "holds no certificate")])
def test_an_authority_that_cannot_be_read_is_told(content: str | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConfigError, match=words):
        tls_of(client_flags().parse_args(["--name", "x", "--tls-ca", str(path)]))


@pytest.mark.system
async def test_the_programs_speak_tls_by_their_flags(tmp_path: Path) -> None:
    pair = certificate(tmp_path)
    flags = ("--tls-cert", str(pair.certificate), "--tls-key", str(pair.key))
    async with program(
        "server.py", "--port", "0", "--data-dir", str(tmp_path / "data"), "--no-transcripts", *flags
    ) as hub:
        url = (await hub.until(r"wss://[\d.]+:\d+"))[0]
        script = b"hello over tls\n/rooms\n"
        async with program(
            "moderator.py", "--server", url, "--tls-ca", str(pair.certificate), stdin=script
        ) as moderator:
            assert await moderator.exit() == 0
            assert "main" in moderator.output
    async with program("server.py", "--tls-cert", "nowhere.pem", "--tls-key", "nowhere.key") as hub:
        assert await hub.exit() == 2
        assert "error: --tls-cert nowhere.pem: No such file or directory" in hub.output


@pytest.mark.system
async def test_no_token_reaches_a_log_at_any_level(tmp_path: Path) -> None:
    log = tmp_path / "hub.log"
    async with hub_process(tmp_path, "--log-level", "DEBUG", "--log-file", str(log), "--token", "s3cret-of-all") as (
        url,
        hub,
    ):
        async with Link(url, Join(name="Ann", role="moderator", token="s3cret-of-all")) as link:
            assert isinstance(await anext(link), Welcome)
        async with Link(url, Join(name="Ann", role="moderator", token="s3cret-guess")) as link:
            with pytest.raises(AccessDenied, match="token is wrong"):
                async for _ in link:
                    pass
        offered = [Subprotocol("palaver"), Subprotocol("palaver.token.s3cret-of-all")]
        async with connect(url, proxy=None, subprotocols=offered) as one:
            await one.send('{"type":"join","name":"Bob","role":"observer","token":"s3cret-guess"}')
            assert "token is wrong" in str(await one.recv())
        assert "was not let in" in hub.output
        assert "s3cret" not in hub.output + log.read_text()
