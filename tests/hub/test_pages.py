"""The hub's own pages, and whose pages may open a websocket."""

import asyncio
import http.client
import json
from collections.abc import Sequence

import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import InvalidStatus
from websockets.http11 import Request

from palaver.core.commands import COMMANDS
from palaver.core.policies import POLICIES
from palaver.hub.auth import SharedSecret
from palaver.hub.hub import Hub
from palaver.hub.pages import may_connect
from palaver.hub.server import listening
from palaver.hub.sqlite_log import SqliteLog
from tests.hubs import running


class _Connected(ServerConnection):
    """Only the address at which somebody connected."""

    def __init__(self, address: str) -> None:
        self._address = address

    @property
    def local_address(self) -> tuple[str, int]:
        return self._address, 8765


def _may(origin: str | None, host: str, *, at: str = "127.0.0.1", listed: Sequence[str] = ()) -> bool:
    headers = Headers({"Host": host, **({} if origin is None else {"Origin": origin})})
    return may_connect(_Connected(at), Request("/", headers), listed)


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://localhost:8765", "LOCALHOST:8765"),
        ("http://[::1]:8765", "[::1]:8765"),
        ("http://palaver.localhost:8765", "palaver.localhost:8765"),
        (None, "127.0.0.1:8765"),
        (None, "anything.example"),
    ],
)
def test_the_hubs_own_page_and_programs_may_connect(origin: str | None, host: str) -> None:
    assert _may(origin, host)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://127.0.0.1:8766",
        "http://127.0.0.1",
        "http://evil.127.0.0.1:8765",
        "https://evil.example",
        "http://127.0.0.1:8765.evil.example",
        "http://127.0.0.1:8765@evil.example",
        "http://127.0.0.1:8765/",
        "ftp://127.0.0.1:8765",
        "127.0.0.1:8765",
        "http://127.0.0.1:8765, http://127.0.0.1:8765",
    ],
)
def test_pages_of_others_may_not(origin: str) -> None:
    assert not _may(origin, "127.0.0.1:8765")


def test_a_sub_domain_is_another_site_also_beyond_this_machine() -> None:
    assert _may("https://palaver.example", "palaver.example", at="10.0.0.5")
    assert not _may("https://evil.palaver.example", "palaver.example", at="10.0.0.5")
    assert not _may("https://palaver.example", "evil.palaver.example", at="10.0.0.5")


def test_a_foreign_name_for_this_machine_is_not_trusted_on_loopback() -> None:
    """DNS rebinding: the page is of the very host it names, but that name is the attacker's."""
    rebound = "http://evil.example:8765"
    assert not _may(rebound, "evil.example:8765")
    assert _may(rebound, "evil.example:8765", listed=[rebound])


def test_an_origin_without_a_host_header_is_refused() -> None:
    headers = Headers({"Origin": "http://"})
    assert not may_connect(_Connected("127.0.0.1"), Request("/", headers), [])


async def _connects(url: str, origin: str) -> bool:
    try:
        async with connect(url, proxy=None, origin=origin):  # type: ignore[arg-type]  # a plain string will do
            return True
    except InvalidStatus as error:
        assert error.response.status_code == 403
        assert origin in error.response.body.decode()
        return False


async def test_origins_are_told_apart_over_a_real_socket() -> None:
    log = SqliteLog(None)
    hub = Hub(log=log, archive=log)
    async with listening(hub, SharedSecret(), port=0, origins=["https://listed.example"]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        assert await _connects(url, f"http://127.0.0.1:{port}")
        assert await _connects(url, "https://listed.example")
        assert not await _connects(url, f"http://127.0.0.1:{port + 1}")
        assert not await _connects(url, "null")
        assert not await _connects(url, "https://sub.listed.example")


async def _get(port: int, path: str, **headers: str) -> tuple[http.client.HTTPResponse, bytes]:
    def ask() -> tuple[http.client.HTTPResponse, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", path, headers=headers)
            answer = connection.getresponse()
            return answer, answer.read()
        finally:
            connection.close()

    return await asyncio.to_thread(ask)


@pytest.mark.parametrize(
    ("path", "kind", "holds"),
    [
        ("/", "text/html; charset=utf-8", b"<title>Palaver</title>"),
        ("/?from=mail", "text/html; charset=utf-8", b"web/app.js"),
        ("/web/app.js", "text/javascript; charset=utf-8", b"import"),
        ("/web/style.css", "text/css; charset=utf-8", b"prefers-color-scheme"),
        ("/web/icon.svg", "image/svg+xml", b"<svg"),
    ],
)
async def test_the_page_is_served_with_its_guards(path: str, kind: str, holds: bytes) -> None:
    async with running() as hub:
        answer, body = await _get(hub.port, path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert holds in body
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_file_that_the_browser_has_is_not_sent_again() -> None:
    async with running() as hub:
        first, _ = await _get(hub.port, "/web/app.js")
        again, body = await _get(hub.port, "/web/app.js", **{"If-None-Match": first.headers["ETag"]})
        other, _ = await _get(hub.port, "/web/app.js", **{"If-None-Match": '"old"'})
    assert (first.status, again.status, body, other.status) == (200, 304, b"", 200)


@pytest.mark.parametrize("path", ["/web/", "/web/index.html", "/web/../pages.py", "/pages.py", "/web/%2e%2e/pages.py"])
async def test_nothing_else_is_served(path: str) -> None:
    async with running() as hub:
        answer, body = await _get(hub.port, path)
    assert answer.status == 404
    assert b"import" not in body


async def test_the_commands_and_policies_are_told() -> None:
    async with running() as hub:
        _, body = await _get(hub.port, "/commands")
    known = json.loads(body)
    assert [one["verb"] for one in known["commands"]] == list(COMMANDS)
    assert [one["name"] for one in known["policies"]] == list(POLICIES)
    assert next(one for one in known["commands"] if one["verb"] == "kick")["destructive"] is True
