"""What the hub's port answers besides the websocket: the live page, a few JSON pages, and whose pages may connect."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from http import HTTPStatus
from importlib.resources import files
from typing import Final
from urllib.parse import urlsplit

from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from palaver import __version__
from palaver.core.commands import COMMANDS
from palaver.core.message import timestamp
from palaver.core.policies import POLICIES
from palaver.hub.auth import Auth, Denied, is_loopback
from palaver.hub.host import RoomHost
from palaver.hub.hub import Hub

Pages = Callable[[ServerConnection, Request], Response | None]

_TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_GUARDS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every page. With Trusted Types no text becomes markup, also where a script of ours forgets itself."""
_TOKEN_IN_URL: Final = re.compile(r"[?&](access_)?token=|/eyJ")
_IN_URL: Final = "a token in a URL ends up in logs and histories: send it in the join frame, and get a new one\n"


def pages(hub: Hub, auth: Auth, origins: Sequence[str] = ()) -> Pages:
    """Answers `GET` for the live page (`/`), `/rooms`, `/commands`, `/health` and `/metrics`.

    Rooms and metrics are for those with a token where one is asked (`Authorization: Bearer TOKEN`). A websocket goes
    on to the handshake unless another site's page opens it (see `may_connect`), or its URL holds a token.
    """
    static = _static()
    vocabulary = _vocabulary()

    def process_request(connection: ServerConnection, request: Request) -> Response | None:
        if _header(request, "Upgrade").lower() == "websocket":
            if not may_connect(connection, request, origins):
                return _refusal(_header(request, "Origin"))
            return _text(HTTPStatus.BAD_REQUEST, _IN_URL) if _TOKEN_IN_URL.search(request.path) else None
        path = request.path.partition("?")[0]
        if path in static:
            return _unless_known(static[path], request)
        match path:
            case "/rooms" | "/metrics":
                if not auth.asks and not _is_called_rightly(connection, request, origins):
                    return _text(HTTPStatus.FORBIDDEN, "this hub is called by its address, or by a name of --origin\n")
                return _for_admitted(hub, auth, request, path)
            case "/commands":
                return _json(vocabulary)
            case "/health":
                return _json({"status": "ok", "version": __version__, "rooms": len(hub.rooms)})
        return _text(HTTPStatus.NOT_FOUND, "a Palaver hub: / (the page), /rooms, /commands, /health, /metrics\n")

    return process_request


def _for_admitted(hub: Hub, auth: Auth, request: Request, path: str) -> Response:
    """The rooms that a token opens, or the metrics for one that opens all of them."""
    scheme, _, token = _header(request, "Authorization").partition(" ")
    try:
        rights = auth.rights_of(token.strip() if scheme.lower() == "bearer" else None)
        if path == "/metrics" and rights.rooms is not None:
            raise Denied("room", "this token is for some rooms, and metrics are of all")
    except Denied as denied:
        if token:  # the page asks without one, too, to see whether it needs any
            hub.metrics.denied.labels(denied.why).inc()
        answer = _text(HTTPStatus.UNAUTHORIZED, f"{denied}; send it as 'Authorization: Bearer TOKEN'\n")
        answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    if path == "/metrics":
        return _answer(hub.metrics.text().encode(), "text/plain; version=0.0.4; charset=utf-8")
    return _json(
        [_room(host) for host in hub.rooms.values() if rights.rooms is None or host.state.name in rights.rooms]
    )


def may_connect(connection: ServerConnection, request: Request, origins: Sequence[str]) -> bool:
    """Whether the page that opens this websocket may: a listed one, or one of this very host and port.

    Programs send no `Origin` and pass. On a loopback address the host must also be called by a loopback name: a
    foreign name that resolves to this machine (DNS rebinding) makes another site's page look like ours.
    """
    origin = _header(request, "Origin")
    if not origin or origin in origins:
        return True
    host = _header(request, "Host").lower()
    scheme, _, place = origin.lower().partition("://")
    if scheme not in ("http", "https") or not host or place != host:
        return False
    return _is_called_rightly(connection, request, origins)


def _is_called_rightly(connection: ServerConnection, request: Request, origins: Sequence[str]) -> bool:
    """On a loopback address: whether the host is called by a loopback name, or one whose pages are listed."""
    host = _header(request, "Host").lower()
    if not is_loopback(str(connection.local_address[0])) or is_loopback(_hostname(host)):
        return True
    return any(origin.partition("://")[2] == host for origin in origins)


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _header(request: Request, name: str) -> str:
    """The header's value, empty where it is missing; one that is given twice is as good as none that we know."""
    values = request.headers.get_all(name)
    return values[0] if len(values) == 1 else ", ".join(values)


def _static() -> dict[str, Response]:
    """Path to answer of each file of the page: it is small, so it is read once."""
    found = {}
    for file in files("palaver.hub").joinpath("web").iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            path = "/" if file.name == "index.html" else f"/web/{file.name}"
            found[path] = _answer(file.read_bytes(), _TYPES[suffix])
    return found


def _unless_known(answer: Response, request: Request) -> Response:
    """The file, or 304 where the browser has it as it is. A copy: the server adds its own headers."""
    if answer.headers["ETag"] in _header(request, "If-None-Match"):
        headers = Headers(answer.headers)
        del headers["Content-Length"]
        return Response(HTTPStatus.NOT_MODIFIED.value, HTTPStatus.NOT_MODIFIED.phrase, headers)
    return Response(answer.status_code, answer.reason_phrase, Headers(answer.headers), answer.body)


def _vocabulary() -> dict[str, object]:
    """What a moderator can say to the hub, for pages and programs that offer it."""
    commands = [
        {
            "verb": spec.verb,
            "usage": spec.usage,
            "summary": spec.summary,
            "where": spec.where,
            "destructive": spec.destructive,
        }
        for spec in COMMANDS.values()
    ]
    return {"commands": commands, "policies": [{"name": it.name, "summary": it.summary} for it in POLICIES.values()]}


def _room(host: RoomHost) -> dict[str, object]:
    state = host.state
    return {
        "name": state.name,
        "members": len(state.members),
        "messages": state.seq,
        "paused": state.floor.paused,
        "policy": state.floor.policy,
        "topic": state.topic,
        "opened": timestamp(state.opened) if state.opened else None,
        **({"forked_from": state.forked_from} if state.forked_from else {}),
    }


def _refusal(origin: str) -> Response:
    return _text(HTTPStatus.FORBIDDEN, f"pages of {origin} may not connect; start the hub with --origin {origin}\n")


def _json(content: object) -> Response:
    return _answer(f"{json.dumps(content)}\n".encode(), "application/json")


def _text(status: HTTPStatus, text: str) -> Response:
    return _answer(text.encode(), "text/plain; charset=utf-8", status)


def _answer(body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK) -> Response:
    headers = Headers(
        {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Cache-Control": "no-cache",
            "ETag": f'"{hashlib.sha256(body).hexdigest()[:16]}"',
            "Connection": "close",
            **_GUARDS,
        }
    )
    return Response(status.value, status.phrase, headers, body)
