"""What goes wrong over HTTP, in words that say what to do, as `Refused` with its status and Retry-After."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from palaver.models import pool
from palaver.models.remote import Refused
from palaver.models.retry import retry_after_seconds

if TYPE_CHECKING:
    import httpx2

_LONGEST_REASON = 500


@asynccontextmanager
async def wire(where: str, seconds: float) -> AsyncIterator["httpx2.AsyncClient"]:
    """A pooled client for one request to `where`, whose failures are `Refused`."""
    async with pool.http_client() as http:
        import httpx2

        try:
            yield http
        except (httpx2.RequestError, httpx2.InvalidURL) as error:
            raise broken(error, where, seconds) from error


def refusal(response: "httpx2.Response", where: str, hint: str = "") -> Refused:
    """An answer with an error status; its body must have been read."""
    reason = f"{where} answered {response.status_code}: {_said(response.text) or response.reason_phrase}"
    if hint:
        reason = f"{reason} ({hint})"
    return Refused(response.status_code, reason, retry_after=retry_after_seconds(response.headers, time.time()))


def broken(error: BaseException | None, where: str, seconds: float) -> Refused:
    """A connection that was never made, broke or stayed silent too long."""
    import httpx2

    if isinstance(error, httpx2.ConnectTimeout | httpx2.ConnectError):
        return Refused(0, f"cannot connect to {where}: {error or 'no answer'}; is the server running there?")
    if isinstance(error, httpx2.TimeoutException):
        return Refused(0, f"{where} said nothing for {seconds:g} s (timeout)", timed_out=True)
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return Refused(400, f"{where!r} is not a URL of the form http://host:port: {error}")
    return Refused(0, f"the connection to {where} broke: {error or type(error).__name__}")


def unreadable(body: str, where: str, wanted: str) -> Refused:
    """An answer with a good status whose content is not what the protocol says."""
    return Refused(422, f"{where} did not answer with {wanted} but with {_short(body)!r}; is the URL right?")


def _said(body: str) -> str:
    """The message within an error document, or the document."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return _short(body)
    for key in ("error", "message", "detail"):
        if isinstance(document, dict) and document.get(key):
            document = document[key]
    return _short(document if isinstance(document, str) else json.dumps(document))


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST_REASON else f"{text[:_LONGEST_REASON]}…"
